"""Copying: repeated random sequences, and the initialisation of previous-token heads."""

from __future__ import annotations

import random

import pytest
import torch
from kintsugi.errors import UsageError
from kintsugi.loops.learning.core import Row
from kintsugi.loops.seeds.config import Architecture
from kintsugi.loops.seeds.copying import repeated_sequences
from kintsugi.loops.seeds.pretrain import build
from kintsugi.loops.seeds.tokenizer import learn_tokenizer

TOKENIZER = learn_tokenizer(["a b"], phrase_tokens=False)
WORDS = range(6, 70)


def sequences(tokens: int, seed: int) -> list[Row]:
    return [Row(*sequence) for sequence in repeated_sequences(tokens, WORDS, random.Random(seed))]


def test_weighted_tokens_follow_the_same_token_earlier():
    for text in sequences(2000, 0):
        assert len(text.ids) == len(text.weight)
        assert set(text.ids) <= set(WORDS)
        half = len(text.ids) // 2
        assert not any(text.weight[:half])
        assert sorted(text.ids[:half]) == sorted(text.ids[half:])
        pairs = set(zip(text.ids[:half], text.ids[1:half], strict=False))
        for position in range(half, len(text.ids)):
            assert not text.weight[position] or (text.ids[position - 1], text.ids[position]) in pairs
    assert [text.ids for text in sequences(2000, 0)] == [text.ids for text in sequences(2000, 0)]


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_previous_token_heads_attend_back_at_initialisation(kv_heads):
    model = build(TOKENIZER, Architecture(layers=2, kv_heads=kv_heads, rope_theta=1e6, previous_token_heads=3), 0)
    model.set_attn_implementation("eager")
    ids = torch.randint(6, len(TOKENIZER), (2, 60), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        seen = model(input_ids=ids, output_attentions=True).attentions[0]
    positions = torch.arange(10, 60)
    for head in range(3):
        assert (seen[:, head].argmax(-1)[:, 10:] == positions - head - 1).all()
        assert seen[:, head, positions, positions - head - 1].mean() > 0.8
    assert seen[:, 3, 20:].max(-1).values.mean() < 0.5


def test_more_previous_token_heads_than_heads_are_refused():
    with pytest.raises(UsageError, match="previous_token_heads is 5; expected 0 to 4"):
        Architecture(heads=4, previous_token_heads=5)
