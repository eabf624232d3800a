"""Recovery: every model continues from the same bad beginnings, which are failures of the base model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from door_env import COLOURS
from fakes import attempts_at, backend_of, results_of, scripted_run
from kintsugi.agents.models import Message
from kintsugi.envs.core import TaskSet
from kintsugi.errors import UsageError
from kintsugi.loops.learning.core import Example, FitConfig
from kintsugi.loops.measuring.evaluation import Score, compare
from kintsugi.loops.measuring.measure import Measure
from kintsugi.loops.measuring.recovery import (
    RECOVERY_TASKS,
    Recovery,
    bad_beginnings,
    behaviour_by_model,
    behaviour_table,
    measure_recovery,
)
from kintsugi.loops.measuring.splice_rounds import rounds_table
from kintsugi.loops.run import Run
from kintsugi.loops.runs.stages import Stage, split_key
from kintsugi.loops.runs.store import RunStore
from rich.console import Console

ENV = "door_env:Doors"
ON = Measure(splits=("valid_seen", "valid_unseen"), tasks=12, at_once=5)
CONFIG = Recovery(steps=1, max_beginnings=8, temperature=1.0)


def guess(messages: Any, sampling: Any) -> str:
    return f"Thought: hm\nAction: open {COLOURS[sampling.seed % 4]}"


def listen(messages: Any, sampling: Any) -> str:
    """Open the door that the voice named, or the red door before that."""
    _, said, named = messages[-1].content.partition("A voice says: ")
    return f"Thought: hm\nAction: open {named.partition('.')[0] if said else 'red'}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.open(tmp_path / "run", {}) as store:
        yield store


@pytest.fixture
def run(store: RunStore) -> Run:
    """A run whose base model opens random doors; the adapter `listens` follows the voice."""
    return scripted_run(store, ENV, guess, {"listens": listen})


@pytest.fixture
def listens(run: Run) -> Path:
    return run.train("listens", [Example([Message("user", "u"), Message("assistant", "a")])], FitConfig(), seed=0)


def test_bad_beginnings_are_failures_of_the_base_spread_over_the_tasks(run):
    failed = bad_beginnings(run, ON, CONFIG)
    by_key = {
        run.store.key(Stage("beginnings", "base", split), t.key): t
        for split in ON.splits
        for t in attempts_at(run.store, f"beginnings/base/{split}")
    }
    assert len(by_key) == 24
    assert len(failed) == 8
    assert all(not t.success and by_key[key] == t for key, t in failed.items())
    assert {t.task.split for t in failed.values()} == {"valid_seen", "valid_unseen"}
    assert {t.made_by and t.made_by.args["temperature"] for t in failed.values()} == {1.0}
    everything = bad_beginnings(run, ON, replace(CONFIG, max_beginnings=999))
    assert everything == {key: t for key, t in by_key.items() if not t.success}
    assert len(everything) > 8
    assert failed.keys() < everything.keys()


def test_every_model_continues_from_the_same_steps(run, listens):
    failed = bad_beginnings(run, ON, CONFIG)
    base = measure_recovery(run, "base", None, ON, CONFIG, failed)
    better = measure_recovery(run, "listens", listens, ON, CONFIG, failed)
    constrained = measure_recovery(run, "bound", None, replace(ON, decoding="constrained"), CONFIG, failed)
    for attempts in (base, better, constrained):
        for (key, begun), attempt in zip(failed.items(), attempts, strict=True):
            assert attempt.task == begun.task
            assert attempt.parents == (key,)
            assert attempt.steps[0] == replace(begun.steps[0], trainable=False)
            assert all(step.trainable for step in attempt.steps[1:])
            assert len(attempt.steps) == 2
    assert all(t.success for t in better)
    assert not all(t.success for t in base)
    assert {t.agent.partition("@")[2] for t in base} != {t.agent.partition("@")[2] for t in better}
    score = Score.from_json(results_of(run.store, "score")["listens"])
    assert score.taskset == TaskSet({t.task for t in failed.values()}).hash
    assert (score.n, score.success.value) == (8, 1.0)
    assert compare(base, better).n == 8
    assert attempts_at(run.store, f"eval/base/{RECOVERY_TASKS}") == base
    stage, name = split_key(base[0].parents[0])
    assert name in {t.key for t in run.store.trajectories(stage)}


def test_training_seeds_have_their_own_bad_beginnings(run):
    for scope in ("seed0", "seed1"):
        view = run.with_scope(scope)
        failed = bad_beginnings(view, ON, CONFIG)
        assert all(key.startswith(f"beginnings/{scope}/base/valid_") for key in failed)
        attempts = measure_recovery(view, "base", None, ON, CONFIG, failed)
        assert [t.parents for t in attempts] == [(key,) for key in failed]


def test_no_late_failure_of_the_base_is_an_error(run):
    with pytest.raises(UsageError, match="no attempt of the base model failed after more than 2 turns"):
        bad_beginnings(run, ON, replace(CONFIG, steps=2))


def test_recovery_is_played_once_without_reopening_models(run, listens):
    failed = bad_beginnings(run, ON, CONFIG)
    first = measure_recovery(run, "listens", listens, ON, CONFIG, failed)
    assert backend_of(run).opened == ["base", "listens"]
    assert bad_beginnings(run, ON, CONFIG) == failed
    assert measure_recovery(run, "listens", listens, ON, CONFIG, failed) == first
    assert backend_of(run).opened == ["base", "listens"]


def printed(table) -> str:
    console = Console(record=True, width=140, force_terminal=False)
    console.print(table)
    return console.export_text()


def test_tables(run):
    failed = bad_beginnings(run, ON, CONFIG)
    found = measure_recovery(run, "base", None, ON, CONFIG, failed)
    measured = behaviour_by_model(
        {"base": {RECOVERY_TASKS: found}, "other": {}}, (RECOVERY_TASKS,), ("That was a mistake.",)
    )
    assert list(measured) == ["base"]
    assert measured["base"].own_steps == 1.0
    text = printed(behaviour_table(measured, "From bad beginnings"))
    [line] = [line for line in text.splitlines() if "base" in line]
    assert "1.0" in line
    counts = {"trees": 12, "trees_without_a_pair": 3, "good_paths": 30, "splices": 9, "bad_steps": 2.5}
    shares = {"verified": 0.75, "searched": 0.125, "counterfactual": 0.125, "unparsed_share": None}
    results = {
        Stage("counts", "agent_r", "train", 1, "seed0"): {**counts, **shares},
        Stage("counts", "self_training", "train", 1): {"passed": 1},
        Stage("score", "agent_r", "train", 2): {"splices": 77},
    }
    text = printed(rounds_table(results))
    for expected in ("seed0 agent_r@1", "75.0 %", "12.5 %", "2.5", "30"):
        assert expected in text
    assert "self_training" not in text
    assert "77" not in text
