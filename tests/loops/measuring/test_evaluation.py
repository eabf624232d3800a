"""Scores and comparisons: which attempts count, which inputs are refused, and JSON round trips."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kintsugi.agents.trajectory import Step, Trajectory
from kintsugi.envs.core import Task, TaskSet, canonical_json
from kintsugi.errors import InfraError, UsageError
from kintsugi.loops.measuring.evaluation import AttemptSummary, Comparison, Score, compare, score

TASKS = TaskSet(Task(f"t{i:02}", "test/Env-v0", "valid", i, {"type": "heat" if i % 2 else "cool"}) for i in range(20))
STEPS = (
    Step("a room", "", "look", text="look", token_ids=(1, 2), logprobs=(-1.0, -1.0)),
    Step("a room", "", "fly", invalid="Nothing happens."),
)


def attempt(task: Task, outcome: str, sample: int = 0, seed: int = 0, **fields: object) -> Trajectory:
    success = float(outcome == "success")
    made = Trajectory(task, STEPS, "the end", outcome, success, "policy", "m@1", seed, sample, prompt_tokens=10)
    return replace(made, **fields)


def attempts(successes: int, infra: int = 0, **fields: object) -> list[Trajectory]:
    """The first tasks succeed, the last ones end in an infrastructure failure, the others fail."""
    outcomes = ["success"] * successes + ["failure"] * (len(TASKS) - successes - infra) + ["infra_error"] * infra
    return [attempt(task, end, **fields) for task, end in zip(TASKS, outcomes, strict=True)]


def test_score_fields():
    found = score("base", TASKS, attempts(8), seconds=3.5, decoding="free", step_limit=50, settings={"size": "small"})
    assert (found.n, found.infra_errors, found.success.value) == (20, 0, 0.4)
    assert found.taskset == TASKS.hash
    assert {kind: (r.value, r.n) for kind, r in found.by_type.items()} == {"cool": (0.4, 10), "heat": (0.4, 10)}
    assert (found.mean_steps, found.invalid_share) == (2.0, 0.5)
    assert (found.sampled_tokens, found.read_tokens) == (40, 200)
    assert (found.models, found.seeds, found.seconds) == (("m@1",), (0,), 3.5)
    assert (found.decoding, found.step_limit, found.settings) == ("free", 50, {"size": "small"})
    assert (found.agents, found.repeatable) == ((), None)


def test_score_has_agents_and_repeatability():
    both = [*attempts(8, agent="react-1@m", seed=0), *attempts(9, agent="react-2@m", seed=1)]
    found = score("base", TASKS, both, repeatable=False)
    assert (found.agents, found.repeatable) == (("react-1@m", "react-2@m"), False)
    assert Score.from_json(json.loads(canonical_json(found.to_json()))) == found


def test_infra_failures_are_counted_apart_and_not_as_failures():
    found = score("base", TASKS, attempts(8, infra=4))
    assert (found.n, found.infra_errors, found.success.value) == (16, 4, 0.5)
    assert (found.sampled_tokens, found.outcomes["infra_error"]) == (32, 4)
    with pytest.raises(InfraError, match="nothing was measured"):
        score("base", TASKS, attempts(0, infra=20))


@given(st.integers(0, 20), st.integers(0, 19))
@settings(max_examples=25)
def test_score_json_round_trip(successes, infra):
    found = score("base", TASKS, attempts(min(successes, 20 - infra), infra))
    assert Score.from_json(json.loads(canonical_json(found.to_json()))) == found


def test_score_refuses_missing_and_foreign_tasks():
    with pytest.raises(UsageError, match="1 of the 20 tasks"):
        score("base", TASKS, attempts(3)[:-1])
    with pytest.raises(UsageError, match="unknown task id"):
        score("base", TASKS, [*attempts(3), attempt(replace(TASKS.tasks[0], id="zz"), "success")])
    with pytest.raises(UsageError, match="was made on another task than that with this id"):
        score("base", TASKS, [*attempts(3)[1:], attempt(replace(TASKS.tasks[0], seed=99), "success")])
    with pytest.raises(UsageError, match="no attempt"):
        score("base", TaskSet([]), [])


def test_several_seeds_are_clustered_by_task():
    one = score("base", TASKS, attempts(8))
    three = score("base", TASKS, [t for seed in range(3) for t in attempts(8, seed=seed)])
    assert (three.n, three.success.tasks, three.seeds) == (60, 20, (0, 1, 2))
    assert (three.success.low, three.success.high) == (one.success.low, one.success.high)


def test_score_accepts_attempt_summaries():
    made = attempts(8, infra=2)
    assert score("base", TASKS, map(AttemptSummary.from_trajectory, made)) == score("base", TASKS, made)


def test_compare_pairs_by_task_in_any_order():
    found = compare(attempts(4), attempts(10)[::-1], names=("base", "mended"))
    assert (found.a, found.b, found.taskset, found.n) == ("base", "mended", TASKS.hash, 20)
    assert (found.only_a, found.only_b, found.rate_a, found.rate_b) == (0, 6, 0.2, 0.5)
    assert (found.difference, found.test, found.p) == (0.3, "exact McNemar", pytest.approx(2 / 2**6))
    assert 0 < found.low <= 0.3 <= found.high < 1


@given(st.integers(0, 20), st.integers(0, 20))
@settings(max_examples=25)
def test_compare_is_antisymmetric(a, b):
    forward, backward = compare(attempts(a), attempts(b)), compare(attempts(b), attempts(a))
    assert forward.difference == -backward.difference
    assert forward.p == pytest.approx(backward.p)
    assert (forward.only_a, forward.only_b) == (backward.only_b, backward.only_a)
    assert Comparison.from_json(json.loads(canonical_json(forward.to_json()))) == forward


def test_compare_drops_pairs_with_an_infra_failure():
    found = compare(attempts(4, infra=3), attempts(10))
    assert (found.n, found.dropped, found.only_a, found.only_b) == (17, 3, 0, 6)
    with pytest.raises(InfraError, match="ended all 20 pairs"):
        compare(attempts(0, infra=20), attempts(10))


def test_compare_of_pooled_seeds_flips_whole_tasks():
    one, two = attempts(4), attempts(10)
    found = compare(one * 3, two * 3)
    assert (found.n, found.test, found.difference) == (60, "exact sign-flip by task", pytest.approx(0.3))
    assert found.p == pytest.approx(compare(one, two).p)


def test_compare_refuses_different_tasks_and_samples():
    with pytest.raises(UsageError, match="which share 19"):
        compare(attempts(4), attempts(4)[1:])
    with pytest.raises(UsageError, match="'two' has sample 1 of task 't00'"):
        compare(attempts(4), attempts(4) + attempts(4, sample=1), names=("one", "two"))
