"""Copying: what is said twice, and heads that look back."""

from __future__ import annotations

import random

import pytest
import torch
from kintsugi.errors import UsageError
from kintsugi.loops.learning.core import Text
from kintsugi.loops.seeds.config import Architecture
from kintsugi.loops.seeds.copying import said_twice
from kintsugi.loops.seeds.pretrain import build
from kintsugi.loops.seeds.tokenizer import learn_tokenizer

TOKENIZER = learn_tokenizer(["a b"], phrases=False)
WORDS = range(6, 70)


def lesson(tokens: int, seed: int) -> list[Text]:
    return [Text(*said) for said in said_twice(tokens, WORDS, random.Random(seed))]


def test_what_is_weighed_was_said_before_after_the_same_token():
    for text in lesson(2000, 0):
        assert len(text.ids) == len(text.weight)
        assert set(text.ids) <= set(WORDS)
        half = len(text.ids) // 2
        assert not any(text.weight[:half])
        assert sorted(text.ids[:half]) == sorted(text.ids[half:])
        pairs = set(zip(text.ids[:half], text.ids[1:half], strict=False))
        for place in range(half, len(text.ids)):
            assert not text.weight[place] or (text.ids[place - 1], text.ids[place]) in pairs
    assert [text.ids for text in lesson(2000, 0)] == [text.ids for text in lesson(2000, 0)]


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_heads_begin_by_looking_back(kv_heads):
    model = build(TOKENIZER, Architecture(layers=2, kv_heads=kv_heads, rope_theta=1e6, previous_token_heads=3), 0)
    model.set_attn_implementation("eager")
    ids = torch.randint(6, len(TOKENIZER), (2, 60), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        seen = model(input_ids=ids, output_attentions=True).attentions[0]
    places = torch.arange(10, 60)
    for head in range(3):
        assert (seen[:, head].argmax(-1)[:, 10:] == places - head - 1).all()
        assert seen[:, head, places, places - head - 1].mean() > 0.8
    assert seen[:, 3, 20:].max(-1).values.mean() < 0.5


def test_no_more_heads_look_back_than_there_are():
    with pytest.raises(UsageError, match="looking_back is 5; the first layer has 4 heads"):
        Architecture(heads=4, previous_token_heads=5)
