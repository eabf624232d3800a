"""Recovery: every model goes on from the same bad beginnings, which are the base's own failures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from kintsugi.envs.core import TaskSet
from kintsugi.errors import UsageError
from kintsugi.loops.measuring.evaluation import Score, compare
from kintsugi.loops.measuring.measure import Measure
from kintsugi.loops.measuring.recovery import (
    TASKS,
    Recovery,
    bad_beginnings,
    behaviour_table,
    behaviours,
    measure_recovery,
    rounds_table,
)
from kintsugi.loops.runs.store import RunStore
from rich.console import Console

ON = Measure(env="doors", splits=("valid_seen", "valid_unseen"), tasks=12, at_once=5)
CONFIG = Recovery(steps=1, most=8, temperature=1.0)


@pytest.fixture
def store(tmp_path: Path, doors_world: str):
    with RunStore.open(tmp_path / "run", {}) as store:
        yield store


def test_beginnings_are_failures_of_the_base_spread_over_the_tasks(store, doors_seed):
    failed = bad_beginnings(store, doors_seed, ON, CONFIG)
    attempts = [t for split in ON.splits for t in store.trajectories(f"collect/beginnings/{split}")]
    assert len(attempts) == 24
    assert len(failed) == 8
    assert all(not t.success and t in attempts for t in failed)
    assert {t.task.split for t in failed} == {"valid_seen", "valid_unseen"}
    everything = bad_beginnings(store, doors_seed, ON, replace(CONFIG, most=999))
    assert everything == [t for t in attempts if not t.success]


def test_every_model_goes_on_from_the_same_turns(store, doors_seed):
    failed = bad_beginnings(store, doors_seed, ON, CONFIG)
    greedy = measure_recovery(store, "greedy", doors_seed, None, ON, CONFIG, failed)
    bound = measure_recovery(store, "bound", doors_seed, None, replace(ON, decoding="constrained"), CONFIG, failed)
    for attempts in (greedy, bound):
        for begun, attempt in zip(failed, attempts, strict=True):
            assert attempt.task == begun.task
            assert attempt.parents == (begun.key,)
            assert attempt.steps[0] == replace(begun.steps[0], trainable=False)
            assert all(step.trainable for step in attempt.steps[1:])
            assert len(attempt.steps) == 2
    score = Score.from_json(store.results()["score/greedy/recovery"])
    assert score.taskset == TaskSet({t.task for t in failed}).hash
    assert score.n == 8
    assert compare(greedy, bound).n == 8
    assert store.trajectories(f"eval/greedy/{TASKS}") == greedy


def test_a_base_that_does_not_fail_so_late_is_said(store, doors_seed):
    with pytest.raises(UsageError, match="no attempt of the base failed after more than 2 turns"):
        bad_beginnings(store, doors_seed, ON, replace(CONFIG, steps=2))


def test_it_is_played_once(store, doors_seed, monkeypatch):
    failed = bad_beginnings(store, doors_seed, ON, CONFIG)
    first = measure_recovery(store, "base", doors_seed, None, ON, CONFIG, failed)
    monkeypatch.setattr("kintsugi.agents.models.local.LocalModel.load", lambda *_, **__: pytest.fail("loaded again"))
    assert bad_beginnings(store, doors_seed, ON, CONFIG) == failed
    assert measure_recovery(store, "base", doors_seed, None, ON, CONFIG, failed) == first


def printed(table) -> str:
    console = Console(record=True, width=140, force_terminal=False)
    console.print(table)
    return console.export_text()


def test_tables(store, doors_seed):
    failed = bad_beginnings(store, doors_seed, ON, CONFIG)
    found = measure_recovery(store, "base", doors_seed, None, ON, CONFIG, failed)
    measured = behaviours({"base": {TASKS: found}, "other": {}}, (TASKS,), ("That was a mistake.",))
    assert list(measured) == ["base"]
    text = printed(behaviour_table(measured, "From bad beginnings"))
    assert "base" in text
    assert "1.0" in text
    counts = {"trees": 12, "trees_without_a_pair": 3, "good_paths": 30, "splices": 9, "bad_steps": 2.5}
    shares = {"verified": 0.75, "searched": 0.125, "counterfactual": 0.125, "unparsed_share": None}
    text = printed(rounds_table({"agent_r/round1": {**counts, **shares}, "self_training/round1": {"passed": 1}}))
    for expected in ("agent_r @1", "75.0 %", "12.5 %", "2.5", "30"):
        assert expected in text
    assert "self_training" not in text
