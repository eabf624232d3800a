"""`LocalLearner` and `Sft`: losses, weights, determinism, refusals, continued training and custom objectives."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from kintsugi.agents.models import Message
from kintsugi.agents.models.chat import ChatEncoder
from kintsugi.agents.models.core import MANIFEST
from kintsugi.agents.models.local import LocalModel
from kintsugi.agents.models.value import HEAD
from kintsugi.agents.models.weights import base_hash, load_base
from kintsugi.errors import TooLongError, UsageError
from kintsugi.loops.learning.batching import padded, weighted_loss
from kintsugi.loops.learning.core import Example, FitConfig, FitResult, LoraShape, Objective, Policy, Row
from kintsugi.loops.learning.learner import LocalLearner
from kintsugi.loops.learning.objectives import Sft
from peft import PeftModel
from safetensors.torch import load_file
from tiny_models import network, save_tiny_model

PROMPT = [Message("system", "s"), Message("user", "which?")]
SMALL = LoraShape(rank=4, alpha=8)


def example(answer: str, weight: float = 1.0, prompt: Sequence[Message] = PROMPT) -> Example:
    return Example([*prompt, Message("assistant", answer)], weight)


EXAMPLES = [example(answer) for answer in ("the red door", "the red hat", "a red door")]


def fit(base: Path, examples: Sequence[Example], config: FitConfig, out: Path, **options: Any) -> FitResult:
    """Train an adapter named like its folder."""
    return LocalLearner(base).fit(examples, out, name=out.name, config=config, **options)


def weights(adapter: Path) -> bytes:
    return (adapter / "adapter_model.safetensors").read_bytes()


def scores(base: Path, adapter: Path | None, answers: Sequence[str]) -> list[float]:
    return asyncio.run(LocalModel.load(base, adapter).score(PROMPT, list(answers)))


def test_training_raises_the_likelihood_of_answers_and_leaves_the_base_unchanged(tiny_model, tmp_path):
    files = sorted(tiny_model.iterdir())
    before = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    shares: list[float] = []
    result = fit(tiny_model, EXAMPLES, FitConfig(SMALL, lr=0.02, epochs=8), tmp_path / "a@1", progress=shares.append)
    short = fit(tiny_model, EXAMPLES, FitConfig(SMALL, lr=0.02, epochs=1), tmp_path / "b@1")
    assert result.loss < 0.8 * short.loss
    assert (result.examples, result.steps, short.steps) == (3, 8, 1)
    assert result.trained_tokens == sum(len(e.messages[-1].content) + 1 for e in EXAMPLES)
    assert shares == [(i + 1) / 8 for i in range(8)]
    untrained, trained = (scores(tiny_model, adapter, ["the red door"]) for adapter in (None, tmp_path / "a@1"))
    assert trained[0] > untrained[0] + 5
    assert sorted(tiny_model.iterdir()) == files
    assert [hashlib.sha256(file.read_bytes()).hexdigest() for file in files] == before


def test_an_adapter_loads_in_stock_peft_and_changes_the_logits(tiny_model, tmp_path):
    fit(tiny_model, EXAMPLES, FitConfig(SMALL, lr=0.05), tmp_path / "a@1")
    ids = torch.tensor([list(range(12))])
    base, _ = load_base(tiny_model)
    with torch.inference_mode():
        plain = base(input_ids=ids).logits
        stock = PeftModel.from_pretrained(base, str(tmp_path / "a@1")).eval()(input_ids=ids).logits
        ours = LocalModel.load(tiny_model, tmp_path / "a@1", device="cpu").network(input_ids=ids).logits
    torch.testing.assert_close(stock, ours, rtol=1e-3, atol=1e-3)
    assert float((stock - plain).abs().max()) > 0.1
    manifest = json.loads((tmp_path / "a@1" / MANIFEST).read_text())
    assert manifest["name"] == "a@1"
    assert manifest["base_hash"] == base_hash(tiny_model)
    assert manifest["fit"]["lora"] == {"rank": 4, "alpha": 8, "dropout": 0.0, "targets": "all-linear"}
    assert manifest["result"]["examples"] == 3


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_equal_arguments_give_equal_bytes(tiny_model, tmp_path, dropout):
    config = FitConfig(LoraShape(rank=4, dropout=dropout), batch_tokens=60)
    one, two, other = (tmp_path / name / "a@1" for name in ("one", "two", "other"))
    for out in (one, two):
        # Advance torch's global generator between the two trainings.
        torch.rand(7)
        fit(tiny_model, EXAMPLES, config, out)
    assert weights(one) == weights(two)
    assert (one / MANIFEST).read_bytes() == (two / MANIFEST).read_bytes()
    fit(tiny_model, EXAMPLES, replace(config, seed=1), other)
    assert weights(one) != weights(other)


def test_the_example_with_more_weight_prevails(tiny_model, tmp_path):
    answers = ["left", "east"]
    for heavy, name in ((0, "a"), (1, "b")):
        examples = [example(text, 1.0 if i == heavy else 0.05) for i, text in enumerate(answers)]
        fit(tiny_model, examples, FitConfig(SMALL, lr=0.03, epochs=15), tmp_path / name)
        found = scores(tiny_model, tmp_path / name, answers)
        assert found[heavy] > found[1 - heavy] + 1


def test_sampled_token_ids_are_trained_on(tiny_model):
    _, tokenizer = load_base(tiny_model)
    end = tokenizer.eos_token_id
    chat = [
        *PROMPT,
        Message("assistant", "left", (7, 8, 9, end)),
        Message("user", "and?"),
        Message("assistant", "masked", (5, 6, end), trainable=False),
        Message("user", "and?"),
        Message("assistant", "cut", (1, 2)),
    ]
    [text] = Sft().rows([Example(chat, 0.5)], ChatEncoder(tokenizer), 256)
    assert [token for token, weight in zip(text.ids, text.weight, strict=True) if weight] == [7, 8, 9, end, 1, 2]
    assert set(text.weight) == {0.0, 0.5}


def test_an_example_without_a_token_to_train_on_is_refused(tiny_model, tmp_path):
    masked = Example([*PROMPT, Message("assistant", "no", trainable=False)])
    empty = Example([*PROMPT, Message("assistant", "", ())])
    for bad in (masked, example("no", 0.0), Example(PROMPT), empty):
        with pytest.raises(UsageError, match=r"example 1 has no token to train on \(its mask sums to 0\)"):
            fit(tiny_model, [example("yes"), bad], FitConfig(SMALL), tmp_path / "a@1")
        assert not (tmp_path / "a@1").exists()


@pytest.mark.parametrize(
    ("examples", "config", "expected"),
    [
        ([], FitConfig(), "nothing to train 'a@1' on: no example was collected"),
        (EXAMPLES, FitConfig(epochs=0), "epochs is 0; expected more than 0"),
        (EXAMPLES, FitConfig(steps=0), "steps is 0; expected at least 1"),
        (EXAMPLES, FitConfig(LoraShape(targets="q_prj,v_prj")), "LoRA targets 'q_prj,v_prj' do not fit "),
    ],
)
def test_invalid_examples_and_settings_are_refused(tiny_model, tmp_path, examples, config, expected):
    with pytest.raises(UsageError, match=expected):
        fit(tiny_model, examples, config, tmp_path / "a@1")


def test_selected_modules_and_fractional_epochs(tiny_model, tmp_path):
    config = FitConfig(LoraShape(rank=2, targets="q_proj,v_proj"), epochs=1.5, batch_tokens=40)
    result = fit(tiny_model, EXAMPLES + EXAMPLES[:1], config, tmp_path / "a@1")
    assert result.steps == 4 + 2
    targets = json.loads((tmp_path / "a@1" / "adapter_config.json").read_text())["target_modules"]
    assert sorted(targets) == ["q_proj", "v_proj"]


def test_a_number_of_steps_replaces_epochs(tiny_model, tmp_path):
    """The first steps are those of whole epochs."""
    config = FitConfig(SMALL, epochs=2, batch_tokens=40)
    whole = fit(tiny_model, EXAMPLES, config, tmp_path / "a@1")
    for steps in (whole.steps, whole.steps + 1, 1):
        assert fit(tiny_model, EXAMPLES, replace(config, steps=steps), tmp_path / f"b{steps}@1").steps == steps
    weights = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("a@1", f"b{whole.steps}@1")]
    assert weights[0] == weights[1]


def test_examples_longer_than_the_window_are_left_out_and_counted(tiny_model, tmp_path):
    too_long = Example([*PROMPT, Message("assistant", "u" * 3000)])
    result = fit(tiny_model, [too_long, *EXAMPLES, too_long], FitConfig(SMALL), tmp_path / "a@1")
    assert (result.examples, result.too_long) == (len(EXAMPLES), 2)
    with pytest.raises(TooLongError, match=r"allows \d+ tokens"):
        fit(tiny_model, [too_long], FitConfig(SMALL), tmp_path / "b@1")


def test_long_chats_lose_their_oldest_turns(tiny_model, tmp_path):
    _, tokenizer = load_base(tiny_model)
    turns = [m for i in range(9) for m in (Message("assistant", f"said {i}"), Message("user", "u" * 30))]
    [text] = Sft().rows([Example([*PROMPT, *turns, Message("assistant", "last")])], ChatEncoder(tokenizer), 256)
    assert len(text.ids) <= 256
    trained = tokenizer.decode([t for t, w in zip(text.ids, text.weight, strict=True) if w])
    assert trained.startswith("said ")
    assert not trained.startswith("said 0")
    assert trained.endswith("last<|end|>")


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3", "gemma2", "cohere", "granite"])
def test_the_loss_equals_that_of_transformers(name):
    """Also for networks that scale or cap their logits; weights are those of a weighted mean."""
    model = network(name)
    rows = [Row([1, 2, 3, 4, 5, 6], [0, 0, 1.0, 0, 1.0, 1.0]), Row([9, 8, 7], [1.0, 0, 1.0])]
    ids, weights = padded(rows, 0)
    labels = ids.masked_fill(weights == 0, -100)
    with torch.inference_mode():
        torch.testing.assert_close(weighted_loss(model, ids, weights), model(input_ids=ids, labels=labels).loss)
        parts = [weighted_loss(model, *padded([row], 0)) for row in rows]
        rows[1] = Row(rows[1].ids, [3 * w for w in rows[1].weight])
        heavy = weighted_loss(model, *padded(rows, 0))
    torch.testing.assert_close(heavy, (3 * parts[0] + 3 * parts[1]) / 6)


def test_other_architectures_can_be_trained(tmp_path):
    for name in ("gpt2", "gemma2"):
        base = save_tiny_model(tmp_path / name, name)
        result = fit(base, EXAMPLES, FitConfig(SMALL, lr=0.02, epochs=6), tmp_path / f"{name}@1")
        trained, untrained = (scores(base, a, ["the red hat"])[0] for a in (tmp_path / f"{name}@1", None))
        assert trained > untrained + 1
        assert result.steps == 6


def test_training_continues_from_an_earlier_adapter(tiny_model, tmp_path):
    first = fit(tiny_model, EXAMPLES, FitConfig(SMALL, lr=0.02, epochs=4), tmp_path / "a@1")
    before_second = weights(tmp_path / "a@1")
    config = FitConfig(LoraShape(rank=16), lr=0.02, epochs=2)
    second = fit(tiny_model, EXAMPLES, config, tmp_path / "a@2", start=tmp_path / "a@1")
    from_base = fit(tiny_model, EXAMPLES, FitConfig(SMALL, lr=0.02, epochs=2), tmp_path / "b@1")
    assert second.loss < first.loss < from_base.loss
    assert weights(tmp_path / "a@1") == before_second != weights(tmp_path / "a@2")
    # The LoRA shape of the first adapter is kept.
    assert len(weights(tmp_path / "a@2")) == len(before_second)
    assert json.loads((tmp_path / "a@2" / MANIFEST).read_text())["start"] == "a@1"
    assert "start" not in json.loads((tmp_path / "a@1" / MANIFEST).read_text())
    answers = ["the red door"]
    before, after = (scores(tiny_model, tmp_path / name, answers)[0] for name in ("a@1", "a@2"))
    assert after > before


def test_training_refuses_to_continue_from_an_adapter_of_another_base(tiny_model, tmp_path):
    other = save_tiny_model(tmp_path / "other", seed=1)
    fit(other, EXAMPLES, FitConfig(SMALL, epochs=1), tmp_path / "a@1")
    with pytest.raises(UsageError, match="a@1 was trained on base"):
        fit(tiny_model, EXAMPLES, FitConfig(SMALL, epochs=1), tmp_path / "a@2", start=tmp_path / "a@1")
    with pytest.raises(UsageError, match="has no adapter_config.json"):
        fit(tiny_model, EXAMPLES, FitConfig(SMALL, epochs=1), tmp_path / "a@2", start=tmp_path / "a@0")


@dataclass(frozen=True)
class ProbingObjective(Objective[Example, Row]):
    """Adds the mean square of a head's output to the loss of `Sft`, and records logits of a probe at each step."""

    base_logits: list[torch.Tensor] = field(default_factory=list)
    """Logits inside `Policy.reference`."""
    distances: list[float] = field(default_factory=list)
    """Largest difference between the logits with and without the adapter."""

    def rows(self, examples: Sequence[Example], chat: ChatEncoder, window: int) -> list[Row]:
        return Sft().rows(examples, chat, window)

    def head(self, network: Any, rows: Sequence[Row]) -> Any:
        assert len(rows) == len(EXAMPLES)
        head = torch.nn.Linear(network.config.hidden_size, 3)
        torch.nn.init.ones_(head.weight)
        return head

    def loss(self, policy: Policy, batch: Sequence[Row]) -> torch.Tensor:
        probe = torch.tensor([list(range(12))], device=policy.device)
        with policy.reference(), torch.no_grad():
            base = policy.network(input_ids=probe).logits
        adapted = policy.network(input_ids=probe, output_hidden_states=True)
        self.base_logits.append(base)
        self.distances.append(float((adapted.logits.detach() - base).abs().max()))
        penalty = policy.head(adapted.hidden_states[-1].float()).square().mean()
        return Sft().loss(policy, batch) + penalty

    def metrics(self, rows: Sequence[Row]) -> dict[str, float]:
        return {"probes": float(len(self.base_logits))}


def test_an_objective_can_have_a_head_and_use_the_base_as_reference(tiny_model, tmp_path):
    """Training changes the logits of the network, but not those inside `Policy.reference`."""
    objective = ProbingObjective()
    config = FitConfig(SMALL, lr=0.02, epochs=6)
    result = fit(tiny_model, EXAMPLES, config, tmp_path / "a@1", objective=objective)
    network, _ = load_base(tiny_model)
    with torch.inference_mode():
        expected = network.to(objective.base_logits[0].device)(input_ids=torch.tensor([list(range(12))])).logits
    for logits in objective.base_logits:
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
    assert objective.distances[0] < 1e-5 < 0.1 < objective.distances[-1]
    assert (result.steps, result.metrics) == (6, {"probes": 6.0})
    assert json.loads((tmp_path / "a@1" / MANIFEST).read_text())["result"]["metrics"] == {"probes": 6.0}
    head = load_file(tmp_path / "a@1" / HEAD)
    assert {name: tuple(value.shape) for name, value in head.items()} == {"weight": (3, 32), "bias": (3,)}
    assert float((head["weight"] - 1).abs().max()) > 0.05
    assert scores(tiny_model, tmp_path / "a@1", ["the red door"]) > scores(tiny_model, None, ["the red door"])


def test_an_objective_without_a_head_saves_none(tiny_model, tmp_path):
    fit(tiny_model, EXAMPLES, FitConfig(SMALL, epochs=1), tmp_path / "a@1")
    assert not (tmp_path / "a@1" / HEAD).exists()


def test_threads_share_the_batches_of_a_step(tiny_model, tmp_path):
    config = FitConfig(SMALL, lr=0.02, epochs=2, batch_tokens=40)
    examples = [example(f"the red door {n}") for n in range(5)]
    alone = fit(tiny_model, examples, config, tmp_path / "alone@1")
    together = [fit(tiny_model, examples, replace(config, threads=2), tmp_path / f"{name}@1") for name in "ab"]
    assert alone.steps == 2 * 5
    assert together[0] == together[1]
    assert together[0].steps == 2 * 3
    assert weights(tmp_path / "a@1") == weights(tmp_path / "b@1") != weights(tmp_path / "alone@1")


def test_a_step_of_two_threads_has_the_mean_gradient_of_its_batches(tiny_model, tmp_path):
    """Two equal batches have the gradient of one."""
    config = FitConfig(SMALL, lr=0.02, epochs=1, batch_tokens=40)
    fit(tiny_model, [example("the red door")], config, tmp_path / "one@1")
    fit(tiny_model, [example("the red door")] * 2, replace(config, threads=2), tmp_path / "two@1")
    one, two = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("one@1", "two@1"))
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (FitConfig(threads=0), "threads is 0; expected at least 1"),
        (FitConfig(LoraShape(dropout=0.1), threads=2), "expected one of them alone"),
    ],
)
def test_impossible_threads_are_refused(tiny_model, tmp_path, config, message):
    with pytest.raises(UsageError, match=message):
        fit(tiny_model, EXAMPLES, config, tmp_path / "a@1")
