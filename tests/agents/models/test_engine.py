"""`Engine`: results with the cache equal those without it, regardless of earlier and concurrent requests."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from engines import EOS, LLAMA, check_logprobs, generated, make_engine, random_ids, request_for
from hypothesis import given, settings
from hypothesis import strategies as st
from kintsugi.agents.models.core import Sampling
from kintsugi.agents.models.engine import Engine, Request
from kintsugi.errors import UsageError
from tiny_models import NETWORKS, network

CACHED = ("llama", "qwen2", "qwen3", "gemma", "gemma2", "mistral", "cohere", "granite", "gpt2")
"""Networks that follow the given positions and masks. The others in `NETWORKS` run without the cache."""


class Conversations:
    """Conversations that grow and fork, sampled by an engine with or without the cache."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.chats: list[tuple[list[int], list[int]]] = []

    def extend(self, extensions: Sequence[tuple[int | None, list[int], Sampling]]) -> list[Request]:
        """Sample a completion after each (chat, user message), and append the extended chats to `chats`.

        A chat is given by its index in `chats`; None or an index beyond the end starts a new chat. The chat that was
        extended stays in `chats`, and extending it again forks it.
        """
        requests = []
        for number, message_ids, sampling in extensions:
            ids, ends = ([], []) if number is None or number >= len(self.chats) else self.chats[number]
            requests.append(Request([*ids, *message_ids], list(ends), sampling))
        self.engine.generate(requests)
        for request in requests:
            ids = request.ids + request.out
            self.chats.append((ids, [*request.turn_ends, len(ids)]))
        return requests


# -- Every architecture -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_growing_conversations_agree_with_transformers(name):
    engine = make_engine(name)
    assert engine.reuse == (name in CACHED)
    conversations = Conversations(engine)
    first = conversations.extend([(None, random_ids(n), Sampling(0.0, 8)) for n in (5, 21, 12)])
    second = conversations.extend([(i, random_ids(3, i), Sampling(0.0, 8)) for i in (2, 0, 1)])
    for request in first + second:
        assert request.out == generated(engine.model, request.ids, 8)
        check_logprobs(engine.model, request)


def test_half_precision_uses_the_cache():
    assert Engine(network("llama", seed=5).bfloat16(), frozenset({EOS}), 4).reuse


def test_padding_beyond_the_last_position():
    """Padding of a prompt next to a longer one, or in a full slot, may lie beyond the table of learned positions."""
    engine = make_engine("gpt2", slots=3, n_positions=32)
    conversations = Conversations(engine)
    conversations.extend([(None, random_ids(26), Sampling(0.0, 6)), (None, random_ids(4), Sampling(0.0, 4))])
    assert len(conversations.chats[0][0]) == 32
    second = conversations.extend([(1, random_ids(2), Sampling(0.0, 4)), (None, random_ids(28), Sampling(0.0, 4))])
    for request in second:
        assert request.out == generated(engine.model, request.ids, 4)


class IgnoresPositions(torch.nn.Module):
    """A network that ignores the given positions and counts from 0 in every call."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.base_model, self.config, self.dtype = inner.base_model, inner.config, inner.dtype
        self.inner = inner
        inner.base_model.register_forward_pre_hook(self._count_from_zero, with_kwargs=True)

    @staticmethod
    def _count_from_zero(_: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        length = kwargs["input_ids"].shape[1]
        return args, {**kwargs, "position_ids": torch.arange(length).expand(kwargs["input_ids"].shape)}

    def forward(self, **given: Any) -> Any:
        return self.inner(**given)

    def get_output_embeddings(self) -> Any:
        return self.inner.get_output_embeddings()


def test_network_that_ignores_positions_runs_without_cache():
    model = IgnoresPositions(network("llama", seed=1)).eval()
    engine = Engine(model, frozenset({EOS}), 4)
    assert not engine.reuse
    conversations = Conversations(engine)
    conversations.extend([(None, random_ids(n), Sampling(0.0, 4)) for n in (5, 9)])
    for request in conversations.extend([(0, random_ids(3), Sampling(0.0, 4)), (1, random_ids(7), Sampling(0.0, 4))]):
        check_logprobs(model.inner, request)


# -- Equal results with and without the cache -------------------------------------------------------------------------

extensions = st.tuples(
    st.one_of(st.none(), st.integers(0, 7)),
    st.integers(1, 9),
    st.sampled_from((0.0, 0.7, 1.5)),
    st.integers(1, 5),
    st.integers(0, 3),
)


@settings(max_examples=40)
@given(
    calls=st.lists(st.lists(extensions, min_size=1, max_size=6), min_size=1, max_size=6),
    slots=st.sampled_from((2, 3, 9)),
)
def test_cache_does_not_change_results(calls, slots):
    """Chats grow, fork, are evicted and are extended again, in batches of any size."""
    cached, uncached = Conversations(make_engine(slots=slots)), Conversations(make_engine(slots=slots, reuse=False))
    assert cached.engine.reuse
    for number, call in enumerate(calls):
        batch = [
            (chat, random_ids(length, number), Sampling(temperature, tokens, seed))
            for chat, length, temperature, tokens, seed in call
        ]
        for actual, expected in zip(cached.extend(batch), uncached.extend(batch), strict=True):
            assert (actual.ids, actual.out, actual.finish) == (expected.ids, expected.out, expected.finish)
            torch.testing.assert_close(
                torch.tensor(actual.logprobs), torch.tensor(expected.logprobs), rtol=1e-4, atol=1e-4
            )


@dataclass
class Pass:
    """One forward pass."""

    rows: tuple[int, ...]
    starts: tuple[int, ...]
    width: int
    ranged: bool
    """Whether the pass ran on a contiguous range of slots."""


class RecordingEngine(Engine):
    """An engine that records its forward passes."""

    passes: list[Pass]

    def __init__(self, slots: int, **options: Any) -> None:
        self.passes = []
        super().__init__(LLAMA, frozenset({EOS}), slots, **options)

    def _forward(self, rows: Any, starts: Any, ids: Any, last: Any) -> Any:
        logits = super()._forward(rows, starts, ids, last)
        self.passes.append(Pass(tuple(rows), tuple(starts), ids.shape[1], self._plan.first is not None))
        return logits


@pytest.mark.parametrize(
    ("unfinished", "rows", "ranged"),
    [
        (range(40), range(40), True),
        ((3, 5, 7), (3, 4, 5, 6, 7), True),
        (range(0, 40, 2), range(39), True),
        ((0, 39), (0, 39), False),
        (range(0, 40, 4), range(0, 40, 4), False),
    ],
)
def test_dense_rows_run_as_a_range_and_sparse_rows_are_gathered(unfinished, rows, ranged):
    engine = RecordingEngine(slots=400)
    batch = [(None, random_ids(4, i), Sampling(0.0, 3 if i in unfinished else 1)) for i in range(40)]
    actual, expected = (Conversations(each).extend(batch) for each in (engine, make_engine(reuse=False)))
    assert [r.out for r in actual] == [r.out for r in expected]
    assert [(p.rows, p.ranged) for p in engine.passes if p.width == 1] == [(tuple(rows), ranged)] * 2


def test_rows_of_a_batch_are_consecutive():
    """What is in the way is exchanged and stays cached. All forks of a conversation but one are copied."""
    engine = RecordingEngine(slots=16)
    conversations, uncached = Conversations(engine), Conversations(make_engine(reuse=False))
    for each in (conversations, uncached):
        each.extend([(None, random_ids(4, i), Sampling(0.0, 3)) for i in range(16)])
    for chosen in ((15, 14, 1), (0, 8, 2), (18, 18, 18, 3, 3)):
        engine.passes.clear()
        batch = [(i, random_ids(2, n), Sampling(0.0, 3)) for n, i in enumerate(chosen)]
        assert [r.out for r in conversations.extend(batch)] == [r.out for r in uncached.extend(batch)]
        assert all(p.ranged and len(p.rows) == len(chosen) for p in engine.passes)
        # Two new tokens, and the last one before them.
        assert engine.passes[0].width == 3


def test_cached_tokens_are_not_fed_again():
    """Only the new tokens of a growing or forked conversation are fed."""
    engine = RecordingEngine(slots=8)
    conversations = Conversations(engine)
    [first] = conversations.extend([(None, random_ids(30), Sampling(0.0, 4))])
    held = len(first.ids) + len(first.out) - 1
    engine.passes.clear()
    conversations.extend([(0, random_ids(3, i), Sampling(0.0, 1)) for i in range(3)])
    assert [(p.starts, p.width) for p in engine.passes] == [((held,) * 3, 4)]
    engine.forget()
    engine.passes.clear()
    conversations.extend([(0, random_ids(3, 9), Sampling(0.0, 1))])
    assert [(p.starts, p.width) for p in engine.passes] == [((0,), held + 4)]


def test_engine_works_after_a_failure():
    engine = make_engine(slots=2)

    def fail(request: Request) -> bool:
        raise ZeroDivisionError

    broken = request_for(random_ids(5))
    broken.on_token = fail
    with pytest.raises(ZeroDivisionError):
        engine.generate([request_for(random_ids(8)), broken])
    after, expected = request_for(random_ids(8)), request_for(random_ids(8))
    engine.generate([after])
    make_engine(reuse=False).generate([expected])
    assert after.out == expected.out


def held_tokens(engine: Engine) -> tuple[int, int]:
    """Return the number of rows of the cache, and their length."""
    rows, _, length, _ = engine._layers[0].keys.shape
    return rows, length


def test_memory_follows_the_conversations():
    engine = make_engine(slots=64, max_position_embeddings=2048)
    conversations = Conversations(engine)
    uncached = Conversations(make_engine(reuse=False, max_position_embeddings=2048))
    held = []
    for n in (300, 300, 20):
        for each in (conversations, uncached):
            each.extend([(len(each.chats) - 1 if each.chats else None, random_ids(n), Sampling(0.0, 2))])
        held.append(held_tokens(engine))
    # Of 64 slots, the test of the model holds two.
    assert held == [(2, 320), (2, 640), (2, 640)]
    assert conversations.chats == uncached.chats
    conversations.extend([(None, random_ids(4, i), Sampling(0.0, 2)) for i in range(5)])
    assert held_tokens(engine) == (6, 640)
    engine.forget()
    assert held_tokens(engine) == (0, 0)


def test_conversations_without_room_wait_until_others_have_ended():
    """The cache has room for three conversations: of eight, three are played to their end at a time."""
    engine, unlimited = make_engine(slots=64), make_engine(slots=64)
    per_token = sum(layer.bytes_per_token for layer in engine._layers)
    engine.memory = 3 * 64 * per_token
    waiting, expected = ([request_for(random_ids(8, i), max_tokens=3) for i in range(8)] for _ in range(2))
    unlimited.generate(expected)
    turns, order = dict.fromkeys(range(8), 0), []
    pending = dict(enumerate(waiting))
    while pending:
        numbers = list(pending)
        chosen = [numbers[i] for i in engine.choose([pending[n] for n in numbers])]
        order.append(chosen)
        engine.generate([pending[n] for n in chosen])
        assert held_tokens(engine)[0] <= 3
        for n in chosen:
            done, turns[n] = pending.pop(n), turns[n] + 1
            if turns[n] == 1:
                assert done.out == expected[n].out
                ids = [*done.ids, *done.out]
                pending[n] = request_for([*ids, 7, 8], turn_ends=[len(ids)], max_tokens=3)
    assert order == [[0, 1, 2], [0, 1, 2], [3, 4, 5], [3, 4, 5], [6, 7], [6, 7]]


def test_longer_conversations_leave_room_for_fewer():
    engine = make_engine(slots=64, max_position_embeddings=2048)
    per_token = sum(layer.bytes_per_token for layer in engine._layers)
    engine.memory = 4 * 64 * per_token
    engine.generate([request_for(random_ids(8, i), max_tokens=3) for i in range(4)])
    longer = [request_for(random_ids(100, i), max_tokens=3) for i in range(4)]
    assert engine.choose(longer) == [0, 1]
    engine.generate(longer[:2])
    assert held_tokens(engine) == (2, 128)
    assert [r.out for r in longer[:2]] == [generated(engine.model, r.ids, 3) for r in longer[:2]]
    with pytest.raises(
        UsageError, match=r"a conversation of 320 tokens does not fit into .* GB; allow more with --cache-gb"
    ):
        engine.choose([request_for(random_ids(300), max_tokens=3)])


def test_long_prompts_are_fed_in_several_passes():
    engine = RecordingEngine(slots=8, prefill_tokens=40)
    engine.passes.clear()
    batch = [request_for(random_ids(n)) for n in (60, 3, 19, 20, 21, 2)]
    engine.generate(batch)
    assert [(len(p.rows), p.width) for p in engine.passes if p.width > 1] == [(1, 60), (1, 21), (2, 20), (2, 3)]
    for request in batch:
        assert request.out == generated(LLAMA, request.ids, 6)


def test_one_slot_suffices_for_a_growing_conversation():
    engine = make_engine(slots=1)
    assert engine.reuse
    conversations, uncached = Conversations(engine), Conversations(make_engine(reuse=False))
    for number in itertools.chain([None], range(3)):
        for each in (conversations, uncached):
            each.extend([(number, random_ids(4), Sampling(0.0, 3))])
    assert conversations.chats == uncached.chats
