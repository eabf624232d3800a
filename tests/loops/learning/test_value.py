"""`ValueRegression` against hand-computed numbers: initial head, loss, rows, and the trained value model."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
import torch
from kintsugi.agents.models import Message
from kintsugi.agents.models.local import LocalBackend
from kintsugi.agents.models.value import GRID, last_hidden
from kintsugi.errors import TooLongError
from kintsugi.loops.learning.core import FitConfig, LoraShape, ValueExample
from kintsugi.loops.learning.learner import LocalLearner
from kintsugi.loops.learning.value import ValueRegression
from tiny_models import encoder_of, network

OBJECTIVE = ValueRegression()
EXAMPLES = [
    ValueExample([Message("user", "a red door")], 1.0, 0.5),
    ValueExample([Message("user", "a green door"), Message("assistant", "no"), Message("user", "well?")], 0.25, 0.25),
    ValueExample([Message("user", "no door at all")], 0.0, 1.0),
]
MEAN = (0.5 * 1.0 + 0.25 * 0.25) / 1.75
VARIANCE = (0.5 * (1.0 - MEAN) ** 2 + 0.25 * (0.25 - MEAN) ** 2 + 1.0 * MEAN**2) / 1.75


def policy_of(model, head) -> SimpleNamespace:
    return SimpleNamespace(network=model, head=head, pad_id=0, device=torch.device("cpu"))


def test_rows_end_at_the_start_of_the_assistant_turn():
    chat = encoder_of("seed")
    rows = OBJECTIVE.rows(EXAMPLES, chat, 256)
    assert [row.ids for row in rows] == [chat.encode(each.messages, generate=True).ids for each in EXAMPLES]
    assert chat.tokenizer.decode(rows[1].ids).endswith("well?<|assistant|>")
    turns = Message("assistant", "no"), Message("user", "b")
    [short] = OBJECTIVE.rows([ValueExample([Message("user", "a"), *turns, *turns], 1.0)], chat, 12)
    assert short.ids == chat.encode([Message("user", "a"), *turns], generate=True).ids
    with pytest.raises(TooLongError):
        OBJECTIVE.rows([ValueExample([Message("user", "u" * 99)], 1.0)], chat, 20)


def test_the_head_starts_at_the_mean_label_and_the_loss_at_the_label_variance():
    model, rows = network(), OBJECTIVE.rows(EXAMPLES, encoder_of("seed"), 256)
    head = OBJECTIVE.head(model, rows)
    assert (head.in_features, head.out_features) == (32, 1)
    assert head.bias.item() == pytest.approx(MEAN)
    loss = OBJECTIVE.loss(policy_of(model, head), rows)
    assert loss.item() == pytest.approx(VARIANCE)
    assert OBJECTIVE.metrics(rows) == {"label_variance": pytest.approx(VARIANCE)}


def test_the_loss_is_a_weighted_mean_of_squared_errors():
    model, rows = network(), OBJECTIVE.rows(EXAMPLES, encoder_of("seed"), 256)
    head = torch.nn.Linear(32, 1)
    with torch.inference_mode():
        predicted = [float(head(last_hidden(model, [row.ids], 0))) for row in rows]
        found = float(OBJECTIVE.loss(policy_of(model, head), rows))
    expected = sum(each.weight * (v - each.label) ** 2 for each, v in zip(EXAMPLES, predicted, strict=True)) / 1.75
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_trained_value_model_predicts_its_labels(tiny_model, tmp_path):
    config = FitConfig(LoraShape(rank=4, alpha=8), lr=0.02, epochs=30)
    result = LocalLearner(tiny_model).fit(EXAMPLES, tmp_path / "v@1", name="v@1", config=config, objective=OBJECTIVE)
    assert result.metrics["label_variance"] == pytest.approx(VARIANCE)
    assert result.loss < 0.1 * VARIANCE
    assert (result.examples, result.trained_tokens) == (3, 0)
    critic = LocalBackend(tiny_model).critic(tmp_path / "v@1")
    values = [asyncio.run(critic.value(each.messages)) for each in EXAMPLES]
    assert values == pytest.approx([each.label for each in EXAMPLES], abs=0.15)
    assert all((value * GRID).is_integer() for value in values)
