"""The decoder: with its cache it says what the model says without one, whatever was asked before and beside it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kintsugi.agents.models.core import Sampling
from kintsugi.agents.models.engine import ROUNDING, Engine, Request
from tiny_models import NETWORKS, network

EOS = 257
CACHED = ("llama", "qwen2", "qwen3", "gemma", "gemma2", "mistral", "cohere", "granite", "gpt2")
"""Networks that follow positions; the others of `NETWORKS` have to be read anew for each token."""
LLAMA = network("llama")


def engine(name: str = "llama", slots: int = 4, *, reuse: bool | None = None, **changes: Any) -> Engine:
    made = Engine(network(name, **changes) if name != "llama" or changes else LLAMA, frozenset({EOS}), slots)
    if reuse is not None:
        made.reuse = reuse
    return made


def asked(ids: Sequence[int], turn_ends: Sequence[int] = (), **sampling: Any) -> Request:
    return Request(list(ids), list(turn_ends), Sampling(**{"temperature": 0.0, "max_tokens": 6, **sampling}))


def text(length: int, seed: int = 0) -> list[int]:
    rng = random.Random(f"{seed}/{length}")
    return [rng.randrange(256) for _ in range(length)]


def generated(model: Any, prompt: Sequence[int], tokens: int) -> list[int]:
    """What `transformers` says, greedily."""
    ids = torch.tensor([list(prompt)])
    more = {"do_sample": False, "max_new_tokens": tokens, "eos_token_id": EOS, "pad_token_id": 258}
    return model.generate(ids, attention_mask=torch.ones_like(ids), **more)[0, len(prompt) :].tolist()


def check_logprobs(model: Any, request: Request) -> None:
    """The log-probabilities are those of one pass over the whole text."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([request.ids + request.out]), use_cache=False).logits[0]
    start = len(request.ids) - 1
    wanted = torch.log_softmax(logits[start : start + len(request.out)].float(), -1)
    said = torch.tensor(request.out)[:, None]
    torch.testing.assert_close(torch.tensor(request.logprobs), wanted.gather(-1, said)[:, 0], rtol=1e-4, atol=1e-4)


class Talk:
    """Conversations that grow and fork; the same ones can be had with and without a cache."""

    def __init__(self, decoder: Engine) -> None:
        self.engine = decoder
        self.chats: list[tuple[list[int], list[int]]] = []

    def say(self, turns: Sequence[tuple[int | None, list[int], Sampling]]) -> list[Request]:
        """Continue chats (None begins one) by what a user says and a completion; a chat continued twice is forked."""
        requests = []
        for number, said, sampling in turns:
            ids, ends = ([], []) if number is None or number >= len(self.chats) else self.chats[number]
            requests.append(Request([*ids, *said], list(ends), sampling))
        self.engine.generate(requests)
        for request in requests:
            ids = request.ids + request.out
            self.chats.append((ids, [*request.turn_ends, len(ids)]))
        return requests


# -- Every architecture -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_growing_conversations_are_what_transformers_generates(name):
    decoder = engine(name)
    assert decoder.reuse == (name in CACHED)
    talk = Talk(decoder)
    first = talk.say([(None, text(n), Sampling(0.0, 8)) for n in (5, 21, 12)])
    second = talk.say([(i, text(3, i), Sampling(0.0, 8)) for i in (2, 0, 1)])
    for request in first + second:
        assert request.out == generated(decoder.model, request.ids, 8)
        check_logprobs(decoder.model, request)


def test_half_precision_is_cached_too():
    assert Engine(network("llama", seed=5).bfloat16(), frozenset({EOS}), 4).reuse


def test_positions_behind_the_models_last_one_are_only_padding():
    """Beside a long new prompt, or in a slot that is full, padding lies where a table of positions has no row."""
    decoder = engine("gpt2", slots=3, n_positions=32)
    talk = Talk(decoder)
    talk.say([(None, text(26), Sampling(0.0, 6)), (None, text(4), Sampling(0.0, 4))])
    assert len(talk.chats[0][0]) == 32
    beside = talk.say([(1, text(2), Sampling(0.0, 4)), (None, text(28), Sampling(0.0, 4))])
    for request in beside:
        assert request.out == generated(decoder.model, request.ids, 4)


class IgnoresPositions(torch.nn.Module):
    """A network that counts positions by itself, from 0 in every call."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.base_model, self.config, self.dtype = inner.base_model, inner.config, inner.dtype
        self.inner = inner
        inner.base_model.register_forward_pre_hook(self._count_anew, with_kwargs=True)

    @staticmethod
    def _count_anew(_: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        length = kwargs["input_ids"].shape[1]
        return args, {**kwargs, "position_ids": torch.arange(length).expand(kwargs["input_ids"].shape)}

    def forward(self, **given: Any) -> Any:
        return self.inner(**given)

    def get_output_embeddings(self) -> Any:
        return self.inner.get_output_embeddings()


def test_a_network_that_ignores_positions_is_read_anew_for_each_token():
    model = IgnoresPositions(network("llama", seed=1)).eval()
    decoder = Engine(model, frozenset({EOS}), 4)
    assert not decoder.reuse
    talk = Talk(decoder)
    talk.say([(None, text(n), Sampling(0.0, 4)) for n in (5, 9)])
    for request in talk.say([(0, text(3), Sampling(0.0, 4)), (1, text(7), Sampling(0.0, 4))]):
        check_logprobs(model.inner, request)


# -- With the cache as without ----------------------------------------------------------------------------------------

turns = st.tuples(
    st.one_of(st.none(), st.integers(0, 7)),
    st.integers(1, 9),
    st.sampled_from((0.0, 0.7, 1.5)),
    st.integers(1, 5),
    st.integers(0, 3),
)


@settings(max_examples=40)
@given(
    calls=st.lists(st.lists(turns, min_size=1, max_size=6), min_size=1, max_size=6), slots=st.sampled_from((2, 3, 9))
)
def test_with_the_cache_as_without(calls, slots):
    """Any calls: chats that grow, fork, are evicted and come back, in batches of any size."""
    kept, fresh = Talk(engine(slots=slots)), Talk(engine(slots=slots, reuse=False))
    assert kept.engine.reuse
    for number, call in enumerate(calls):
        asked_for = [
            (chat, text(length, number), Sampling(temperature, tokens, seed))
            for chat, length, temperature, tokens, seed in call
        ]
        for ours, theirs in zip(kept.say(asked_for), fresh.say(asked_for), strict=True):
            assert (ours.ids, ours.out, ours.finish) == (theirs.ids, theirs.out, theirs.finish)
            torch.testing.assert_close(torch.tensor(ours.logprobs), torch.tensor(theirs.logprobs), rtol=1e-4, atol=1e-4)


@dataclass
class Pass:
    """One forward pass."""

    rows: tuple[int, ...]
    starts: tuple[int, ...]
    width: int
    ranged: bool
    """Whether it ran on a range of the cache, without gathering rows."""


class Watched(Engine):
    """Keeps a record of what it does."""

    passes: list[Pass]
    copies: list[tuple[int, int]]

    def __init__(self, slots: int, **options: Any) -> None:
        self.passes, self.copies = [], []
        super().__init__(LLAMA, frozenset({EOS}), slots, **options)

    def _forward(self, rows: Any, starts: Any, ids: Any, last: Any) -> Any:
        logits = super()._forward(rows, starts, ids, last)
        self.passes.append(Pass(tuple(rows), tuple(starts), ids.shape[1], self._plan.first is not None))
        return logits

    def _copy(self, source: int, target: int, length: int) -> None:
        self.copies.append((source, target))
        super()._copy(source, target, length)


@pytest.mark.parametrize(
    ("chosen", "rows", "ranged"),
    [
        (range(40), range(40), True),
        ((0, 39), (0, 39), False),
        ((3, 5, 7), (3, 4, 5, 6, 7), True),
        (range(0, 40, 4), range(37), True),
        ((2, 6, 30), (2, 6, 30), False),
    ],
)
def test_a_batch_is_a_range_where_it_is_dense_and_gathered_where_not(chosen, rows, ranged):
    decoder = Watched(slots=400)
    talk, alone = Talk(decoder), Talk(engine(reuse=False))
    for one in (talk, alone):
        one.say([(None, text(4, i), Sampling(0.0, 3)) for i in range(40)])
    decoder.passes.clear()
    turn = [(i, text(2, i), Sampling(0.0, 3)) for i in chosen]
    for ours, theirs in zip(talk.say(turn), alone.say(turn), strict=True):
        assert ours.out == theirs.out
    assert [(p.rows, p.ranged) for p in decoder.passes if p.width == 1] == [(tuple(rows), ranged)] * 2


def test_a_large_batch_is_moved_together():
    """Conversations that lie far apart are copied down, and so is every fork but one."""
    decoder = Watched(slots=16)
    talk, alone = Talk(decoder), Talk(engine(reuse=False))
    for one in (talk, alone):
        one.say([(None, text(4, i), Sampling(0.0, 3)) for i in range(16)])
    for chosen, moved in (((15, 14, 1), [15, 14]), ((18, 18, 18, 3, 3), [1, 1, 3])):
        decoder.copies.clear()
        turn = [(i, text(2, n), Sampling(0.0, 3)) for n, i in enumerate(chosen)]
        assert [r.out for r in talk.say(turn)] == [r.out for r in alone.say(turn)]
        assert [source for source, _ in decoder.copies] == moved
        assert all(target < 2 * len(chosen) for _, target in decoder.copies)


def test_what_was_read_is_not_read_again():
    """Of a growing conversation, and of every fork, only what is new is fed."""
    decoder = Watched(slots=8)
    talk = Talk(decoder)
    [first] = talk.say([(None, text(30), Sampling(0.0, 4))])
    held = len(first.ids) + len(first.out) - 1
    decoder.passes.clear()
    talk.say([(0, text(3, i), Sampling(0.0, 1)) for i in range(3)])
    assert [(p.starts, p.width) for p in decoder.passes] == [((held,) * 3, 4)]
    decoder.forget()
    decoder.passes.clear()
    talk.say([(0, text(3, 9), Sampling(0.0, 1))])
    assert [(p.starts, p.width) for p in decoder.passes] == [((0,), held + 4)]


# -- Sampling ---------------------------------------------------------------------------------------------------------


@given(prompt=st.integers(1, 20), others=st.lists(st.integers(1, 20), max_size=7), seed=st.integers(0, 5))
def test_a_completion_does_not_depend_on_its_batch(prompt, others, seed):
    """Nor on what came before; its seed decides."""
    alone, beside, decoder = asked(text(prompt), temperature=1.0, seed=seed), None, engine(slots=4)
    engine(slots=4).generate([alone])
    for rotation in range(2):
        beside = asked(text(prompt), temperature=1.0, seed=seed)
        batch = [asked(text(n, 1), temperature=1.0, seed=n) for n in others]
        decoder.generate([*batch[rotation:], beside, *batch[:rotation]])
        assert beside.out == alone.out
        assert beside.logprobs == pytest.approx(alone.logprobs, abs=1e-4)
    check_logprobs(LLAMA, alone)


def test_seeds_and_temperatures_make_a_difference():
    decoder = engine(slots=64)
    batch = [asked(text(5), temperature=t, seed=s, max_tokens=8) for t in (0.0, 0.05, 1.0) for s in range(20)]
    decoder.generate(batch)
    distinct = [len({tuple(r.out) for r in batch[i : i + 20]}) for i in (0, 20, 40)]
    assert distinct[0] == 1
    assert distinct[1] < distinct[2]
    assert distinct[2] > 15


def test_samples_follow_the_models_distribution():
    decoder, prompt = engine(slots=64), text(6)
    batch = [asked(prompt, temperature=0.7, seed=s, max_tokens=1) for s in range(4000)]
    decoder.generate(batch)
    with torch.inference_mode():
        wanted = torch.softmax(LLAMA(input_ids=torch.tensor([prompt])).logits[0, -1].double() / 0.7, -1)
    drawn = torch.bincount(torch.tensor([r.out[0] for r in batch]), minlength=300) / len(batch)
    assert float((drawn - wanted).abs().max()) < 5 * (0.25 / len(batch)) ** 0.5


def trie(texts: Sequence[Sequence[int]]) -> dict[int, Any]:
    root: dict[int, Any] = {}
    for ids in texts:
        node = root
        for token in (*ids, EOS):
            node = node.setdefault(token, {})
    return root


@given(st.sets(st.lists(st.integers(0, 255), max_size=4).map(tuple), min_size=1, max_size=6), st.integers(0, 9))
def test_choices_bind_every_token_and_logprobs_are_the_raw_models(allowed, seed):
    request = asked(text(5), temperature=1.0, seed=seed, max_tokens=9)
    request.choices = trie(list(allowed))
    free = asked(text(9), temperature=1.0, seed=seed)
    unbound = asked(text(9), temperature=1.0, seed=seed)
    engine().generate([request, free])
    engine().generate([unbound])
    assert tuple(request.out[:-1]) in allowed
    assert request.out[-1] == EOS
    assert request.finish == "stop"
    assert free.out == unbound.out
    check_logprobs(LLAMA, request)


def test_a_completion_ends_at_its_end_its_limit_or_when_the_watch_says_so():
    seen: list[int] = []

    def third(request: Request) -> bool:
        seen.append(len(request.out))
        return len(request.out) == 3

    watched, cut = asked(text(5)), asked(text(5), max_tokens=2)
    watched.watch = third
    ended = asked(text(5))
    ended.choices = trie([(7,)])
    engine().generate([watched, cut, ended])
    assert (len(watched.out), watched.finish, seen) == (3, "stop", [1, 2, 3])
    assert (len(cut.out), cut.finish) == (2, "length")
    assert (ended.out, ended.finish) == ([7, EOS], "stop")


def test_a_failure_leaves_a_decoder_that_goes_on():
    decoder = engine(slots=2)

    def bad(request: Request) -> bool:
        raise ZeroDivisionError

    broken = asked(text(5))
    broken.watch = bad
    with pytest.raises(ZeroDivisionError):
        decoder.generate([asked(text(8)), broken])
    after, alone = asked(text(8)), asked(text(8))
    decoder.generate([after])
    engine(reuse=False).generate([alone])
    assert after.out == alone.out


def test_the_cache_grows_with_the_conversations():
    decoder = engine(slots=2, max_position_embeddings=2048)
    talk, alone = Talk(decoder), Talk(engine(reuse=False, max_position_embeddings=2048))
    for _ in range(3):
        for one in (talk, alone):
            one.say([(len(one.chats) - 1 if one.chats else None, text(300), Sampling(0.0, 2))])
    assert decoder._plan.capacity == 1024
    assert talk.chats == alone.chats


def test_long_prompts_are_read_in_several_passes():
    decoder = Watched(slots=8, prefill_tokens=40)
    decoder.passes.clear()
    batch = [asked(text(n)) for n in (60, 3, 19, 20, 21, 2)]
    decoder.generate(batch)
    assert [(len(p.rows), p.width) for p in decoder.passes if p.width > 1] == [(1, 60), (1, 21), (2, 20), (2, 3)]
    for request in batch:
        assert request.out == generated(LLAMA, request.ids, 6)


def test_one_slot_is_enough_for_a_growing_conversation():
    decoder = engine(slots=1)
    assert decoder.reuse
    talk, alone = Talk(decoder), Talk(engine(reuse=False))
    for number in itertools.chain([None], range(3)):
        for one in (talk, alone):
            one.say([(number, text(4), Sampling(0.0, 3))])
    assert talk.chats == alone.chats


class Shaky(Engine):
    """Its logits are off by some rounding, otherwise in each batch."""

    shake = 0.0
    generator = torch.Generator()

    def _forward(self, *pass_: Any) -> torch.Tensor:
        logits = super()._forward(*pass_)
        return logits + self.shake * torch.rand(logits.shape, generator=self.generator)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_exact_draws_do_not_depend_on_rounding(temperature):
    def drawn(exact: bool, seed: int) -> list[list[int]]:
        # Far more than rounding, so that draws that are not settled do differ; the margin grows with it.
        model = Shaky(LLAMA, frozenset({EOS}), 32, exact=exact, rounding=2000 * ROUNDING)
        assert model.reuse
        model.shake, model.generator = 0.02, torch.Generator().manual_seed(seed)
        requests = [asked(text(9, i), temperature=temperature, max_tokens=12, seed=i) for i in range(60)]
        model.generate(requests)
        return [request.out for request in requests]

    assert drawn(True, 1) == drawn(True, 2) == drawn(True, 3)
    assert drawn(False, 1) != drawn(False, 2) or temperature == 0.0
