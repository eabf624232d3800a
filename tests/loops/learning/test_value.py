"""The regression behind value models, by hand: the head begins at the mean label, and the error is a weighted mean."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
import torch
from kintsugi.agents.models import Message
from kintsugi.agents.models.local import LocalBackend
from kintsugi.agents.models.value import GRID, last_hidden
from kintsugi.errors import TooLongError
from kintsugi.loops.learning.core import FitConfig, Judgement, LoraShape
from kintsugi.loops.learning.learner import LocalLearner
from kintsugi.loops.learning.value import ValueRegression
from tiny_models import family, network

OBJECTIVE = ValueRegression()
LEARNT = [
    Judgement([Message("user", "a red door")], 1.0, 0.5),
    Judgement([Message("user", "a green door"), Message("assistant", "no"), Message("user", "well?")], 0.25, 0.25),
    Judgement([Message("user", "no door at all")], 0.0, 1.0),
]
MEAN = (0.5 * 1.0 + 0.25 * 0.25) / 1.75
VARIANCE = (0.5 * (1.0 - MEAN) ** 2 + 0.25 * (0.25 - MEAN) ** 2 + 1.0 * MEAN**2) / 1.75


def policy_of(model, head) -> SimpleNamespace:
    return SimpleNamespace(network=model, head=head, pad_id=0, device=torch.device("cpu"))


def test_rows_end_where_the_answer_would_begin():
    chat = family("seed")
    rows = OBJECTIVE.rows(LEARNT, chat, 256)
    assert [row.ids for row in rows] == [chat.encode(each.messages, generate=True).ids for each in LEARNT]
    assert chat.tokenizer.decode(rows[1].ids).endswith("well?<|assistant|>")
    again = Message("assistant", "no"), Message("user", "b")
    [short] = OBJECTIVE.rows([Judgement([Message("user", "a"), *again, *again], 1.0)], chat, 12)
    assert short.ids == chat.encode([Message("user", "a"), *again], generate=True).ids
    with pytest.raises(TooLongError):
        OBJECTIVE.rows([Judgement([Message("user", "u" * 99)], 1.0)], chat, 20)


def test_the_head_begins_at_the_mean_label_and_the_error_at_the_variance():
    model, rows = network(), OBJECTIVE.rows(LEARNT, family("seed"), 256)
    head = OBJECTIVE.head(model, rows)
    assert (head.in_features, head.out_features) == (32, 1)
    assert head.bias.item() == pytest.approx(MEAN)
    loss = OBJECTIVE.loss(policy_of(model, head), rows)
    assert loss.item() == pytest.approx(VARIANCE)
    assert OBJECTIVE.facts(rows) == {"mean_error": pytest.approx(VARIANCE)}


def test_the_error_is_a_mean_of_squares_by_weight():
    model, rows = network(), OBJECTIVE.rows(LEARNT, family("seed"), 256)
    head = torch.nn.Linear(32, 1)
    with torch.inference_mode():
        said = [float(head(last_hidden(model, [row.ids], 0))) for row in rows]
        found = float(OBJECTIVE.loss(policy_of(model, head), rows))
    wanted = sum(each.weight * (v - each.label) ** 2 for each, v in zip(LEARNT, said, strict=True)) / 1.75
    assert found == pytest.approx(wanted, rel=1e-4)


def test_what_was_learnt_is_what_the_critic_says(tiny_model, tmp_path):
    config = FitConfig(LoraShape(rank=4, alpha=8), lr=0.02, epochs=30)
    result = LocalLearner(tiny_model).fit(LEARNT, tmp_path / "v@1", name="v@1", config=config, objective=OBJECTIVE)
    assert result.facts["mean_error"] == pytest.approx(VARIANCE)
    assert result.loss < 0.1 * VARIANCE
    assert (result.examples, result.trained_tokens) == (3, 0)
    critic = LocalBackend(tiny_model).critic(tmp_path / "v@1")
    said = [asyncio.run(critic.value(each.messages)) for each in LEARNT]
    assert said == pytest.approx([each.label for each in LEARNT], abs=0.15)
    assert all((value * GRID).is_integer() for value in said)
