"""Sampling with `Engine`: seeds, distributions, choices and the ends of completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from engines import EOS, LLAMA, check_logprobs, make_engine, random_ids, request_for
from hypothesis import assume, given
from hypothesis import strategies as st
from kintsugi.agents.models.core import Sampling
from kintsugi.agents.models.engine import ROUNDING, Engine, Request, truncate
from kintsugi.errors import UsageError
from transformers.generation.logits_process import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper


@given(prompt=st.integers(1, 20), others=st.lists(st.integers(1, 20), max_size=7), seed=st.integers(0, 5))
def test_completion_does_not_depend_on_its_batch(prompt, others, seed):
    """A completion does not depend on earlier requests either."""
    alone, batched, engine = request_for(random_ids(prompt), temperature=1.0, seed=seed), None, make_engine(slots=4)
    make_engine(slots=4).generate([alone])
    for rotation in range(2):
        batched = request_for(random_ids(prompt), temperature=1.0, seed=seed)
        batch = [request_for(random_ids(n, 1), temperature=1.0, seed=n) for n in others]
        engine.generate([*batch[rotation:], batched, *batch[:rotation]])
        assert batched.out == alone.out
        assert batched.logprobs == pytest.approx(alone.logprobs, abs=1e-4)
    check_logprobs(LLAMA, alone)


def test_seed_and_temperature_affect_samples():
    engine = make_engine(slots=64)
    batch = [
        request_for(random_ids(5), temperature=t, seed=s, max_tokens=8) for t in (0.0, 0.05, 1.0) for s in range(20)
    ]
    engine.generate(batch)
    distinct = [len({tuple(r.out) for r in batch[i : i + 20]}) for i in (0, 20, 40)]
    assert distinct[0] == 1
    assert distinct[1] < distinct[2]
    assert distinct[2] > 15


def test_samples_follow_the_distribution_of_the_model():
    engine, prompt = make_engine(slots=64), random_ids(6)
    batch = [request_for(prompt, temperature=0.7, seed=s, max_tokens=1) for s in range(4000)]
    engine.generate(batch)
    with torch.inference_mode():
        expected = torch.softmax(LLAMA(input_ids=torch.tensor([prompt])).logits[0, -1].double() / 0.7, -1)
    drawn = torch.bincount(torch.tensor([r.out[0] for r in batch]), minlength=300) / len(batch)
    assert float((drawn - expected).abs().max()) < 5 * (0.25 / len(batch)) ** 0.5


def trie(texts: Sequence[Sequence[int]]) -> dict[int, Any]:
    root: dict[int, Any] = {}
    for ids in texts:
        node = root
        for token in (*ids, EOS):
            node = node.setdefault(token, {})
    return root


@given(st.sets(st.lists(st.integers(0, 255), max_size=4).map(tuple), min_size=1, max_size=6), st.integers(0, 9))
def test_choices_constrain_tokens_but_not_logprobs(allowed, seed):
    request = request_for(random_ids(5), temperature=1.0, seed=seed, max_tokens=9)
    request.choices = trie(list(allowed))
    unconstrained = request_for(random_ids(9), temperature=1.0, seed=seed)
    alone = request_for(random_ids(9), temperature=1.0, seed=seed)
    make_engine().generate([request, unconstrained])
    make_engine().generate([alone])
    assert tuple(request.out[:-1]) in allowed
    assert request.out[-1] == EOS
    assert request.finish == "stop"
    assert unconstrained.out == alone.out
    check_logprobs(LLAMA, request)


def test_completion_ends_at_eos_limit_or_callback():
    seen: list[int] = []

    def stop_at_third(request: Request) -> bool:
        seen.append(len(request.out))
        return len(request.out) == 3

    watched, cut = request_for(random_ids(5)), request_for(random_ids(5), max_tokens=2)
    watched.on_token = stop_at_third
    ended = request_for(random_ids(5))
    ended.choices = trie([(7,)])
    make_engine().generate([watched, cut, ended])
    assert (len(watched.out), watched.finish, seen) == (3, "stop", [1, 2, 3])
    assert (len(cut.out), cut.finish) == (2, "length")
    assert (ended.out, ended.finish) == ([7, EOS], "stop")


class NoisyEngine(Engine):
    """Adds noise to the logits, different in each forward pass."""

    noise = 0.0
    generator = torch.Generator()

    def _forward(self, *args: Any) -> torch.Tensor:
        logits = super()._forward(*args)
        return logits + self.noise * torch.rand(logits.shape, generator=self.generator)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_exact_samples_do_not_depend_on_rounding(temperature):
    def samples(exact: bool, seed: int) -> list[list[int]]:
        # The noise is far larger than rounding errors, so samples differ without `exact`. `rounding` is scaled to it.
        engine = NoisyEngine(LLAMA, frozenset({EOS}), 32, exact=exact, rounding=2000 * ROUNDING)
        assert engine.reuse
        engine.noise, engine.generator = 0.02, torch.Generator().manual_seed(seed)
        requests = [request_for(random_ids(9, i), temperature=temperature, max_tokens=12, seed=i) for i in range(60)]
        engine.generate(requests)
        return [request.out for request in requests]

    assert samples(True, 1) == samples(True, 2) == samples(True, 3)
    assert samples(False, 1) != samples(False, 2) or temperature == 0.0


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        ({"top_k": 2}, [0.5, 0.2]),
        ({"top_k": 9}, [0.5, 0.2, 0.15, 0.1, 0.05]),
        ({"top_p": 0.49}, [0.5]),
        ({"top_p": 0.51}, [0.5, 0.2]),
        ({"top_p": 1e-9}, [0.5]),
        ({"min_p": 0.3}, [0.5, 0.2, 0.15]),
        ({"min_p": 1.0}, [0.5]),
        ({"top_k": 3, "top_p": 0.6}, [0.5, 0.2]),
        ({"top_k": 4, "min_p": 0.25}, [0.5, 0.2, 0.15]),
    ],
)
def test_unlikely_tokens_are_excluded(sampling, kept):
    probability = torch.tensor([0.1, 0.5, 0.05, 0.2, 0.15], dtype=torch.float64)
    found = truncate(probability, Sampling(**sampling))
    expected = torch.where(torch.isin(probability, torch.tensor(kept, dtype=torch.float64)), probability, 0.0)
    torch.testing.assert_close(found, expected)


@given(
    st.lists(st.floats(0.001, 1.0), min_size=1, max_size=20),
    st.integers(0, 25),
    st.floats(0.01, 1.0),
    st.floats(0.0, 1.0),
)
def test_truncation_agrees_with_transformers(weights, top_k, top_p, min_p):
    """On probabilities without ties, and away from the limits, where rounding decides."""
    distinct = torch.tensor(weights, dtype=torch.float64) + torch.arange(len(weights)) * 1e-6
    probability = distinct / distinct.sum()
    assume(len(set(probability.tolist())) == len(weights))
    scores = probability.log()[None]
    if top_k:
        scores = TopKLogitsWarper(top_k)(None, scores)
    ranked = scores.softmax(-1)[0].sort(descending=True).values
    assume(bool(((ranked.cumsum(0) - top_p).abs() > 1e-9).all()))
    if top_p < 1:
        scores = TopPLogitsWarper(top_p)(None, scores)
    ranked = scores.softmax(-1)[0]
    assume(bool(((ranked - min_p * ranked.max()).abs() > 1e-9).sum() >= len(weights) - 1))
    if 0 < min_p < 1:
        scores = MinPLogitsWarper(min_p)(None, scores)
    sampling = Sampling(top_k=top_k, top_p=top_p, min_p=min_p if min_p < 1 else 0.0)
    assert (truncate(probability, sampling) > 0).tolist() == torch.isfinite(scores[0]).tolist()


def test_only_likely_tokens_are_sampled():
    prompt = random_ids(12)
    alone = request_for(prompt, max_tokens=1)
    make_engine().generate([alone])
    drawn = [request_for(prompt, temperature=2.0, max_tokens=1, seed=seed, top_k=1) for seed in range(20)]
    free = [request_for(prompt, temperature=2.0, max_tokens=1, seed=seed) for seed in range(20)]
    make_engine(slots=64).generate([*drawn, *free])
    assert {tuple(r.out) for r in drawn} == {tuple(alone.out)}
    assert len({tuple(r.out) for r in free}) > 5


@pytest.mark.parametrize("wrong", [{"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.1}, {"min_p": -0.1}, {"min_p": 2.0}])
def test_impossible_limits_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Sampling(**wrong)
