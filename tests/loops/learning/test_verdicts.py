"""Verifier's chats as training examples: sampling, weights and masks."""

from __future__ import annotations

import json

import pytest
from kintsugi.agents.models import Message
from kintsugi.loops.learning.verdicts import chats_to_json, verdict_examples


def chat_of(step: str, answer: str = "Judgement: Good") -> list[Message]:
    turn = Message("assistant", answer, tuple(answer.encode()), trainable=answer.startswith("Judgement"))
    return [Message("system", "Judge."), Message("user", step), turn]


CHATS = [("a", chat_of("1")), ("a", chat_of("2")), ("b", chat_of("3")), ("a", chat_of("1")), ("b", chat_of("3", "Hm."))]


def test_examples_are_the_distinct_chats_with_their_tokens_and_masks():
    stored = json.loads(json.dumps(chats_to_json(CHATS)))
    examples = verdict_examples(stored, 99, 0)
    assert [e.messages for e in examples] == [chat for _, chat in (*CHATS[:3], CHATS[4])]
    assert [e.weight for e in examples] == [0.5] * 4
    assert [e.messages[-1].trainable for e in examples] == [True, True, True, False]


def test_a_sample_is_seeded_and_the_weights_of_its_tasks_sum_to_1():
    chats = chats_to_json((f"task {n % 3}", chat_of(str(n))) for n in range(30))
    drawn = [verdict_examples(chats, 10, seed) for seed in range(2)]
    assert verdict_examples(chats, 10, 1) == drawn[1] != drawn[0]
    for examples in drawn:
        assert len({e.messages[1].content for e in examples}) == len(examples) == 10
        weights: dict[int, float] = {}
        for example in examples:
            task = int(example.messages[1].content) % 3
            weights[task] = weights.get(task, 0) + example.weight
        assert all(total == pytest.approx(1) for total in weights.values())
    assert verdict_examples(chats, 0, 0) == verdict_examples({}, 5, 0) == []
