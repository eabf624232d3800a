"""Self-training with scripted models: data, rounds, gate, demonstrations and resuming."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from door_env import COLOURS, attempt
from fakes import attempts_at, backend_of, learner_of, results_of, scripted_gate, scripted_run, stages_of
from kintsugi.envs import EnvSpec
from kintsugi.errors import UsageError
from kintsugi.loops.learning.core import Example
from kintsugi.loops.learning.training_data import TrainingData
from kintsugi.loops.measuring.gate import Gate
from kintsugi.loops.run import Attempts, Practice, Run
from kintsugi.loops.runs.store import RunStore
from kintsugi.loops.self_training import SelfTraining, self_training

ENV = "door_env:Doors"
CONFIG = SelfTraining(Practice(tasks=16), Attempts(k=2, max_tokens=60), gate=Gate("off"), data=TrainingData(replay=0.0))


def answer(door: str) -> str:
    return f"Thought: hm\nAction: open {door}"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A run in which the adapter of round i opens the i-th door."""
    rounds = {f"self_training@{i}": lambda *_, i=i: answer(COLOURS[i]) for i in range(1, 4)}
    with RunStore.open(tmp_path / "run", {}) as store:
        yield scripted_run(store, ENV, [answer("red")], rounds)


def opened(door: str) -> int:
    return sum(task.params["open"] == door for task in CONFIG.practice.task_set(EnvSpec(ENV), 0))


def answers_in(examples: Sequence[Example]) -> Counter[str]:
    return Counter(e.messages[-1].content for e in examples)


def test_only_passed_attempts_are_trained_on(run):
    found = self_training(run, CONFIG)
    assert found == run.store.folder / "adapters" / "self_training@1"
    assert answers_in(learner_of(run).fitted["self_training@1"]) == {answer("red"): opened("red")}
    assert results_of(run.store, "counts") == {
        "self_training@1": {"attempts": 32, "passed": 2 * opened("red"), "examples": opened("red")}
    }
    assert len(attempts_at(run.store, "collect/policy@1/train")) == 32


def test_the_next_round_repeats_the_trained_answers(tmp_path):
    """The base opens doors at random; the table of passed answers then gives the first action of round 2."""
    with RunStore.open(tmp_path / "run", {}) as store:
        run = scripted_run(store, ENV, lambda messages, sampling: answer(COLOURS[sampling.seed % 4]))
        self_training(run, replace(CONFIG, rounds=2, attempts=replace(CONFIG.attempts, k=1)))
        second = attempts_at(store, "collect/policy@2/train")
        # All tasks start with the same observation, for which the table holds one answer.
        assert len({t.steps[0].action for t in second}) == 1
        assert backend_of(run).opened == ["base", "self_training@1"]


def test_each_round_samples_with_the_adopted_model_and_trains_from_the_base(run):
    self_training(run, replace(CONFIG, rounds=3))
    assert backend_of(run).opened == ["base", "self_training@1", "self_training@2"]
    assert set(learner_of(run).starts.values()) == {None}
    for number in range(3):
        stage = f"collect/policy@{number + 1}/train"
        passed = [t for t in attempts_at(run.store, stage) if t.success]
        assert {t.task.params["open"] for t in passed} == {COLOURS[number]}
        trained = answers_in(learner_of(run).fitted[f"self_training@{number + 1}"])
        assert trained == {answer(COLOURS[number]): opened(COLOURS[number])}
    seeds = [t.seed for stage in stages_of(run.store) for t in attempts_at(run.store, stage)]
    assert len(set(seeds)) == len(seeds)


def test_later_rounds_do_not_sample_with_a_rejected_model(run):
    found = self_training(run, replace(CONFIG, rounds=3, gate=scripted_gate(False, True, False)))
    assert backend_of(run).opened == ["base", "base", "self_training@2"]
    assert found == run.store.folder / "adapters" / "self_training@2"


def test_the_gate_compares_on_its_own_split_and_adopts_better_models(run):
    """Among the gate's tasks, red opens more doors than green, and fewer than blue."""
    gate = Gate("on", tasks=24, seed=3)
    shares = Counter(task.params["open"] for task in gate.task_set(EnvSpec(ENV), CONFIG.practice))
    found = self_training(run, replace(CONFIG, rounds=3, gate=gate))
    verdicts = results_of(run.store, "verdict")
    best = "red"
    for number, colour in enumerate(COLOURS[1:], start=1):
        verdict = verdicts[f"self_training@{number}"]
        assert verdict["gain"]["mean"] == pytest.approx((shares[colour] - shares[best]) / 24)
        assert verdict["adopted"] == (shares[colour] > shares[best])
        best = colour if verdict["adopted"] else best
    adopted = [name for name, verdict in verdicts.items() if verdict["adopted"]]
    assert (found.name if found else None) == (adopted[-1] if adopted else None)
    gates = [stage for stage in run.store.trajectory_stages() if stage.kind == "gate"]
    assert {stage.tasks for stage in gates} == {"valid_seen"}


def test_none_is_returned_if_no_round_was_adopted(run):
    assert self_training(run, replace(CONFIG, gate=scripted_gate(False))) is None


def test_demonstrations_are_mixed_in(run):
    shown = [attempt(task, [str(task.params["open"])]) for task in CONFIG.practice.task_set(EnvSpec(ENV), 0)]
    self_training(replace(run, demonstrations=shown), replace(CONFIG, data=TrainingData(replay=1.0)))
    examples = learner_of(run).fitted["self_training@1"]
    assert len(examples) == 2 * opened("red")
    assert sum("I try" in e.messages[-1].content for e in examples) == opened("red")


def test_models_are_freed_before_training_and_opened_only_when_called(run):
    self_training(run, CONFIG)
    assert (backend_of(run).opened, backend_of(run).freed) == (["base"], 1)
    learner_of(run).fitted.clear()
    assert self_training(run, CONFIG)
    assert (backend_of(run).opened, backend_of(run).freed, learner_of(run).fitted) == (["base"], 1, {})


def test_a_round_without_a_passed_attempt_is_refused(tmp_path):
    with RunStore.open(tmp_path / "run", {}) as store:
        run = scripted_run(store, "household", ["I do not know."])
        with pytest.raises(UsageError, match="nothing to train 'self_training@1' on"):
            self_training(run, replace(CONFIG, practice=Practice(tasks=2)))
        assert len(attempts_at(store, "collect/policy@1/train")) == 4
        assert not (store.folder / "adapters" / "self_training@1").exists()
