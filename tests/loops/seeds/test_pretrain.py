"""Pretraining: the optimiser, the batches, and the initial embeddings of instances."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.errors import UsageError
from kintsugi.loops.learning.batching import batches, padded, weighted_loss
from kintsugi.loops.learning.core import Row
from kintsugi.loops.seeds.config import Architecture, PretrainConfig
from kintsugi.loops.seeds.pretrain import Muon, build, orthogonalised, pretrain
from kintsugi.loops.seeds.tokenizer import learn_tokenizer

TINY = Architecture(32, 2, 2, 1, 64, 128)
TOKENIZER = learn_tokenizer(["I see a mug 1, a mug 2, a cup 1, and a cup 2."] * 20)


def text(length: int, first: int = 0) -> Row:
    return Row([(first + i) % 7 + 6 for i in range(length)], [1.0] * length)


TEXTS = [text(length, first) for length in (9, 12, 20) for first in range(7)]


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 4, 16), (2, 16, 4)])
def test_singular_values_are_moved_towards_one(shape):
    torch.manual_seed(0)
    given_ = torch.randn(shape) * 7
    found = orthogonalised(given_)
    assert found.shape == given_.shape
    before, after = torch.linalg.svdvals(given_), torch.linalg.svdvals(found)
    assert float(after.max()) < 1.3
    assert float((after[:, 0] / after[:, -1]).max()) < float((before[:, 0] / before[:, -1]).max())
    assert float(after.median()) > 0.6
    left, _, right = torch.linalg.svd(given_, full_matrices=False)
    assert float(torch.einsum("nri,nrc,nic->ni", left, found, right).min()) > 0


def test_muon_updates_batched_matrices_like_single_ones():
    def run(parts: list[list[torch.nn.Parameter]]) -> None:
        for group in parts:
            optimiser = Muon(group, lr=0.1)
            for _ in range(5):
                for p in group:
                    p.grad = p.detach() - 3.0
                optimiser.step()

    torch.manual_seed(0)
    start = [torch.randn(4, 6) for _ in range(3)] + [torch.randn(5, 5)]
    together, alone = ([torch.nn.Parameter(t.clone()) for t in start] for _ in range(2))
    run([together])
    run([[p] for p in alone])
    for one, other, initial in zip(together, alone, start, strict=True):
        torch.testing.assert_close(one, other)
        assert float((one.detach() - 3).norm()) < float((initial - 3).norm())


def test_muon_skips_parameters_without_gradient():
    parameter = torch.nn.Parameter(torch.ones(3, 3))
    Muon([parameter], lr=1.0).step()
    assert torch.equal(parameter, torch.ones(3, 3))


@given(st.lists(st.integers(1, 60), max_size=700), st.integers(1, 200), st.integers(0, 3))
def test_batches_have_every_text_once_and_fit_the_limit(lengths, tokens, seed):
    texts = [text(length) for length in lengths]
    made = list(batches(texts, tokens, random.Random(seed)))
    assert sorted(map(id, itertools.chain(*made))) == sorted(map(id, texts))
    for batch in made:
        assert batch
        assert len(batch) == 1 or len(batch) * max(len(t.ids) for t in batch) <= tokens
    again = list(batches(texts, tokens, random.Random(seed)))
    assert [[id(t) for t in batch] for batch in made] == [[id(t) for t in batch] for batch in again]


def test_padding_has_weight_0():
    ids, weights = padded([text(2), text(4)], 3)
    assert ids.tolist() == [[6, 7, 3, 3], [6, 7, 8, 9]]
    assert weights.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    model = build(TOKENIZER, TINY, 0)
    with torch.inference_mode():
        alone, long = (weighted_loss(model, *padded([t], 3)) for t in (text(2), text(4)))
        torch.testing.assert_close(weighted_loss(model, ids, weights), (alone + 3 * long) / 4)


def test_instance_embeddings_start_as_kind_plus_number():
    table = build(TOKENIZER, TINY, 0).get_input_embeddings().weight
    mug, mug1, mug2, cup, cup2 = (
        table[TOKENIZER(t)["input_ids"][0]] for t in (" mug", " mug 1", " mug 2", " cup", " cup 2")
    )
    torch.testing.assert_close(mug2 - mug, cup2 - cup)
    assert not torch.allclose(mug2, mug1)


def test_network_has_its_configured_shape_and_seed():
    model = build(TOKENIZER, TINY, 3)
    config = model.config
    assert (config.hidden_size, config.num_hidden_layers, config.max_position_embeddings) == (32, 2, 128)
    assert (config.num_attention_heads, config.num_key_value_heads, config.intermediate_size) == (2, 1, 64)
    assert (config.vocab_size, config.eos_token_id) == (len(TOKENIZER), TOKENIZER.eos_token_id)
    same, other = build(TOKENIZER, TINY, 3).state_dict(), build(TOKENIZER, TINY, 4).state_dict()
    assert all(torch.equal(value, same[name]) for name, value in model.state_dict().items())
    assert not all(torch.equal(value, other[name]) for name, value in same.items())


def trained(**changes: object) -> tuple[dict[str, torch.Tensor], float, list[int]]:
    model, done = build(TOKENIZER, TINY, 0), list[int]()
    config = PretrainConfig(**{"tokens": 6000, "batch_tokens": 120, "warmup": 5, **changes})
    loss = pretrain(model, TEXTS, config, 0, done.append)
    return model.state_dict(), loss, done


def test_training_learns_and_is_deterministic():
    state, loss, done = trained()
    again, same, _ = trained()
    other, _, _ = trained(seed=1)
    assert loss == same
    assert all(torch.equal(value, again[name]) for name, value in state.items())
    assert not all(torch.equal(value, other[name]) for name, value in state.items())
    assert loss < 1.2 < 1.8 < trained(tokens=600)[1]
    assert done == sorted(done)
    assert 6000 <= done[-1] < 6000 + 120


def test_parallel_batches_equal_one_large_batch():
    """The weighted mean over all tokens does not depend on how texts are split into batches."""
    texts = [Row(t.ids, [1.0, *(0.2 for _ in t.ids[1:])]) if i % 2 else t for i, t in enumerate(TEXTS[:4])]

    def state(**changes: int) -> dict[str, torch.Tensor]:
        model = build(TOKENIZER, TINY, 0)
        pretrain(model, texts, PretrainConfig(**{"tokens": 300, "warmup": 1, **changes}), 0)
        return model.state_dict()

    one = state(batch_tokens=1000)
    several = state(batch_tokens=1, threads=4)
    assert all(torch.allclose(value, several[name], atol=1e-4) for name, value in one.items())
    again = state(batch_tokens=1, threads=4)
    assert all(torch.equal(value, again[name]) for name, value in several.items())


@pytest.mark.parametrize("name", ["tokens", "batch_tokens", "threads"])
@pytest.mark.parametrize("number", [0, -1])
def test_numbers_must_be_at_least_1(name, number):
    with pytest.raises(UsageError, match=f"^{name} is {number}; expected at least 1"):
        PretrainConfig(**{name: number})


def test_tokens_of_weight_0_are_not_learned():
    """Only the first half of texts is learned if the second half has weight 0."""
    halves = [Row(t.ids, [1.0] * (len(t.ids) // 2) + [0.0] * (len(t.ids) - len(t.ids) // 2)) for t in TEXTS]
    corrupted = [Row([*t.ids[: len(t.ids) // 2], *(25 for _ in t.ids[len(t.ids) // 2 :])], t.weight) for t in halves]
    model = build(TOKENIZER, TINY, 0)
    pretrain(model, corrupted, PretrainConfig(tokens=4000, batch_tokens=120, warmup=5), 0)
    with torch.inference_mode():
        learned_loss = weighted_loss(model, *padded(halves, 0))
        ignored_loss = weighted_loss(model, *padded([Row(t.ids, [1.0 - w for w in t.weight]) for t in corrupted], 0))
    assert float(learned_loss) < 1 < float(ignored_loss)
