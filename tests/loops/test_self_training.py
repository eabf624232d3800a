"""Self-training with scripted models: what passed is learnt, always from the base, round after round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from doors import COLOURS, attempt
from kintsugi.agents.models import ScriptedModel
from kintsugi.errors import UsageError
from kintsugi.loops import self_training as module
from kintsugi.loops.learning import practice as practice_module
from kintsugi.loops.learning.learner import Example, FitConfig
from kintsugi.loops.learning.practice import Practice
from kintsugi.loops.measuring.gate import Gate
from kintsugi.loops.runs.store import RunStore
from kintsugi.loops.self_training import SelfTraining, self_training


def says(door: str) -> str:
    return f"Thought: hm\nAction: open {door}"


@dataclass
class World:
    """Stands in for models and training; a model of round i opens the i-th door."""

    loaded: list[str] = field(default_factory=list)
    fitted: dict[str, list[Example]] = field(default_factory=dict)

    def load(self, base: Path, adapter: Path | None = None, **_: Any) -> ScriptedModel:
        name = adapter.name if adapter else "base"
        self.loaded.append(name)
        return ScriptedModel([says(COLOURS[int(name.partition("@")[2] or 0)])], version=name)

    def fit(
        self, base: Path, examples: Sequence[Example], config: FitConfig, out: Path, *, name: str, **_: Any
    ) -> None:
        assert base == Path("base")
        self.fitted[name] = list(examples)
        (out / "adapter_config.json").write_text("{}")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, doors_world: str) -> World:
    world = World()
    monkeypatch.setattr(module, "LocalModel", world)
    monkeypatch.setattr(practice_module, "fit", world.fit)
    return world


@pytest.fixture
def store(tmp_path: Path):
    with RunStore.open(tmp_path / "run", {}) as store:
        yield store


PRACTICE = Practice(env="doors", tasks=16, k=2, max_tokens=60, replay=0.0)


def opened(door: str) -> int:
    return sum(task.params["open"] == door for task in PRACTICE.task_set())


def said(examples: Sequence[Example]) -> Counter[str]:
    return Counter(e.messages[-1].content for e in examples)


def test_what_passed_is_learnt_and_what_failed_is_not(world, store):
    found = self_training(store, Path("base"), [], SelfTraining(PRACTICE))
    assert found == store.folder / "adapters" / "self_training@1"
    assert said(world.fitted["self_training@1"]) == {says("red"): opened("red")}
    assert store.results() == {
        "self_training/round1": {"attempts": 32, "passed": 2 * opened("red"), "examples": opened("red")}
    }
    assert len(store.trajectories("collect/policy")) == 32


def test_each_round_samples_with_the_last_and_trains_from_the_base(world, store):
    self_training(store, Path("base"), [], SelfTraining(PRACTICE, rounds=3))
    assert world.loaded == ["base", "self_training@1", "self_training@2"]
    for number, stage in enumerate(("collect/policy", "collect/policy@2", "collect/policy@3")):
        assert {t.task.params["open"] for t in store.trajectories(stage) if t.success} == {COLOURS[number]}
        assert said(world.fitted[f"self_training@{number + 1}"]) == {says(COLOURS[number]): opened(COLOURS[number])}
    seeds = [t.seed for stage in store.trajectory_stages() for t in store.trajectories(stage)]
    assert len(set(seeds)) == len(seeds)


def test_a_round_that_does_not_help_is_not_sampled_with(world, store, monkeypatch):
    verdicts = iter([False, True, False])
    monkeypatch.setattr(Gate, "admits", lambda *_: next(verdicts))
    found = self_training(store, Path("base"), [], SelfTraining(PRACTICE, rounds=3))
    assert world.loaded == ["base", "base", "self_training@2"]
    assert found == store.folder / "adapters" / "self_training@2"


def test_none_is_returned_when_no_round_helped(world, store, monkeypatch):
    monkeypatch.setattr(Gate, "admits", lambda *_: False)
    assert self_training(store, Path("base"), [], SelfTraining(PRACTICE)) is None


def test_demonstrations_are_mixed_in(world, store):
    shown = [attempt(task, [str(task.params["open"])]) for task in PRACTICE.task_set()]
    self_training(store, Path("base"), shown, SelfTraining(replace(PRACTICE, replay=1.0)))
    examples = world.fitted["self_training@1"]
    assert len(examples) == 2 * opened("red")
    assert sum("I try" in e.messages[-1].content for e in examples) == opened("red")


def test_nothing_to_learn_from_is_said(world, store, monkeypatch, tiny_model):
    monkeypatch.undo()
    monkeypatch.setattr(module, "LocalModel", world)
    world.load = lambda *_, **__: ScriptedModel(["I do not know."])
    with pytest.raises(UsageError, match="nothing to train 'self_training@1' on"):
        self_training(store, tiny_model, [], SelfTraining(replace(PRACTICE, env="household", tasks=2)))
    assert len(store.trajectories("collect/policy")) == 4
    assert not (store.folder / "adapters" / "self_training@1").exists()
