"""The gate: a model is adopted if and only if it beats the previous one, and the stored verdict does not change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from door_env import COLOURS
from fakes import attempts_at, backend_of, results_of, scripted_run
from kintsugi.agents.models import Message
from kintsugi.envs import EnvSpec
from kintsugi.envs.core import TaskSet, canonical_json
from kintsugi.errors import InfraError, UsageError
from kintsugi.loops.learning.core import Example, FitConfig
from kintsugi.loops.measuring.gain import Gain
from kintsugi.loops.measuring.gate import Gate, Verdict, verdicts
from kintsugi.loops.run import Attempts, Practice, Run
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore

ENV = "door_env:Doors"
TASKS = 16
ATTEMPTS = Attempts(k=2, temperature=1.0, max_tokens=60, at_once=5)


def door_script(*doors: str):
    """A script that opens these doors, one after another."""
    turns = [f"Thought: hm\nAction: open {door}" for door in doors]
    return lambda messages, sampling: turns[min(len(turns), sum(m.role == "assistant" for m in messages) + 1) - 1]


def run_with_doors(store: RunStore, env: str = ENV, base: str = "red", **adapters: str) -> Run:
    """A run whose base model and adapters try one door, or several separated by `+`."""
    scripts = {name: door_script(*doors.split("+")) for name, doors in adapters.items()}
    return scripted_run(store, env, door_script(*base.split("+")), scripts)


def adapter(run: Run, name: str) -> Path:
    return run.train(name, [Example([Message("user", "u"), Message("assistant", "a")])], FitConfig(), seed=0)


def admits(run: Run, gate: Gate, new: str, old: str | None = None) -> bool:
    return gate.admits(
        run, adapter(run, old) if old else None, adapter(run, new), practice=Practice(), attempts=ATTEMPTS, seed=0
    )


def open_doors(gate: Gate, env: str = ENV) -> list[str]:
    """The open door of each of the gate's tasks."""
    return [str(task.params["open"]) for task in gate.task_set(EnvSpec(env), Practice())]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.open(tmp_path / "run", {}) as store:
        yield store


@pytest.mark.parametrize("seed", range(4))
def test_only_a_better_model_is_adopted(store, seed):
    gate = Gate(tasks=TASKS, seed=seed)
    run = run_with_doors(store, **{colour: colour for colour in COLOURS})
    doors = open_doors(gate)
    for colour in COLOURS:
        gain = (doors.count(colour) - doors.count("red")) / TASKS
        assert admits(run, gate, colour) == (gain > 0)
        verdict = results_of(store, "verdict")[colour]
        assert (verdict["adopted"], verdict["gain"]["mean"]) == (gain > 0, pytest.approx(gain))
        assert (verdict["gain"]["a"], verdict["gain"]["b"], verdict["gain"]["metric"]) == ("base", colour, "success")


def test_a_tie_is_not_adopted_but_one_more_success_is(store):
    gate = Gate(tasks=TASKS, seed=1)
    run = run_with_doors(store, same="red", more="red+blue", less="none")
    assert open_doors(gate).count("blue") > 0
    assert not admits(run, gate, "same")
    assert results_of(store, "verdict")["same"]["gain"]["mean"] == 0
    assert admits(run, gate, "more")
    assert not admits(run, gate, "less")
    assert not admits(run, gate, "same", old="more")


def test_equal_success_can_differ_in_return(store, tmp_path):
    """Both open the same doors in different orders: equal success, but different returns."""
    gate = Gate(tasks=TASKS, seed=2)
    first, second = open_doors(gate).count("red"), open_doors(gate).count("green")
    assert first != second
    best, other = ("red+green", "green+red") if first > second else ("green+red", "red+green")
    assert not admits(run_with_doors(store, base=other, best=best), gate, "best")
    with RunStore.open(tmp_path / "returns", {}) as returns:
        run = run_with_doors(returns, "loop_envs:Greenhouse", base=other, best=best, worst=other, lost="blue+white")
        assert admits(run, gate, "best")
        assert not admits(run, gate, "worst")
        assert not admits(run, gate, "lost", old="best")
        gain = results_of(returns, "verdict")["best"]["gain"]
    assert (gain["metric"], gain["n"]) == ("return", TASKS)
    # The return is 1.5 - 1 without a detour and 0.5 * 1.5 - 1 with one.
    assert gain["mean"] == pytest.approx(abs(first - second) * 0.75 / TASKS)


def test_each_model_attempts_the_gate_tasks_greedily_once(store):
    gate = Gate(tasks=TASKS)
    run = run_with_doors(store, more="red+blue", most="red+blue")
    admits(run, gate, "more")
    admits(run, gate, "most", old="more")
    admits(run, gate, "most", old="more")
    stages = [str(stage) for stage in store.trajectory_stages()]
    assert stages == ["gate/base/valid_seen", "gate/more/valid_seen", "gate/most/valid_seen"]
    assert backend_of(run).opened == ["base", "more", "most"]
    for stage in stages:
        attempts = attempts_at(store, stage)
        assert [t.task for t in attempts] == list(gate.task_set(EnvSpec(ENV), Practice()))
        assert {t.made_by and t.made_by.args["temperature"] for t in attempts} == {0.0}
        assert {t.made_by and t.made_by.args["max_tokens"] for t in attempts} == {60}


def test_a_stored_verdict_does_not_change(store, tmp_path):
    """Even if the previous model is now another one, against which the verdict would differ."""
    gate = Gate(tasks=TASKS)
    fewer, more = sorted(("blue", "green"), key=open_doors(gate).count)
    assert 0 < open_doors(gate).count(fewer) < open_doors(gate).count(more)
    models = {"new": f"red+{fewer}", "better": f"red+{more}", "none": "none"}
    run = run_with_doors(store, **models)
    assert admits(run, gate, "new")
    assert not admits(run, gate, "none")
    before = store.results()
    assert admits(run, gate, "new", old="better")
    assert not admits(run, gate, "none", old="none")
    assert store.results() == before
    with RunStore.open(tmp_path / "other", {}) as other:
        assert not admits(run_with_doors(other, **models), gate, "new", old="better"), (
            "without a stored verdict, the decision is reversed"
        )


def test_pairs_with_an_infra_failure_are_excluded(store):
    """The environment fails when a white door is tried, which says nothing about the agent."""
    gate = Gate(tasks=TASKS, seed=5)
    green = open_doors(gate).count("green")
    assert 0 < green < TASKS
    run = run_with_doors(
        store, "loop_envs:WhiteDoorsJam", base="green+white", both="green+blue", none="blue+red", jam="white"
    )
    assert not admits(run, gate, "both")
    assert not admits(run, gate, "none")
    gains = {name: verdict["gain"] for name, verdict in results_of(store, "verdict").items()}
    assert {name: (g["n"], g["dropped"], g["mean"]) for name, g in gains.items()} == {
        "both": (green, TASKS - green, 0.0),
        "none": (green, TASKS - green, -1.0),
    }
    with pytest.raises(InfraError, match=f"infrastructure failures ended all {TASKS} pairs"):
        admits(run, gate, "jam")
    assert "jam" not in results_of(store, "verdict")


def test_mode_off_adopts_every_round_without_a_comparison(store):
    run = run_with_doors(store, "loop_envs:Ungated", none="none")
    new = adapter(run, "none")
    assert Gate("off").admits(run, None, new, practice=Practice(), attempts=ATTEMPTS, seed=0)
    assert (backend_of(run).opened, store.results(), store.trajectory_stages()) == ([], {}, [])
    practice_tasks = run.env.tasks("train", 3)
    Gate("off").check(run.env, Practice(), practice_tasks, {"valid_seen": run.env.tasks("valid_seen", 3)})


# -- Tasks of the gate ------------------------------------------------------------------------------------------------


def test_an_environment_without_a_gate_split_needs_the_setting(store):
    ungated = EnvSpec("loop_envs:Ungated")
    run = run_with_doors(store, ungated.id, blue="blue")
    for call in (
        lambda: Gate().task_set(ungated, Practice()),
        lambda: Gate().check(ungated, Practice(), ungated.tasks("train", 3), {}),
        lambda: admits(run, Gate(), "blue"),
    ):
        with pytest.raises(UsageError) as refused:
            call()
        assert "'loop_envs:Ungated' has no default split for the gate" in str(refused.value)
        assert "pass --gate off" in str(refused.value)
        assert "--loop.gate.split" in str(refused.value)
    named = Gate(split="valid_seen", tasks=3)
    named.check(ungated, Practice(), ungated.tasks("train", 3), {"valid_unseen": ungated.tasks("valid_unseen", 9)})
    assert {task.split for task in named.task_set(ungated, Practice())} == {"valid_seen"}


def test_scored_tasks_are_refused_as_gate_tasks():
    env, gate = EnvSpec(ENV), Gate(tasks=TASKS)
    practice_tasks, own = env.tasks("train", TASKS), gate.task_set(env, Practice())
    scored_tasks = {
        "split": {"valid_seen": env.tasks("valid_seen", TASKS, seed=99)},
        "tasks": {"mine": TaskSet([*env.tasks("valid_unseen", 3), own.tasks[4]])},
        "tasks of another name": {"mine": TaskSet([replace(own.tasks[4], split="mine")])},
    }
    for sets in scored_tasks.values():
        with pytest.raises(UsageError, match="the gate's split 'valid_seen' is also scored"):
            gate.check(env, Practice(), practice_tasks, sets)
        with pytest.raises(UsageError, match="--loop.gate.split, or pass --gate off"):
            gate.check(env, Practice(), practice_tasks, {"valid_unseen": env.tasks("valid_unseen", 3), **sets})
    gate.check(env, Practice(), practice_tasks, {"valid_unseen": env.tasks("valid_unseen", TASKS)})
    gate.check(env, Practice(), practice_tasks, {})


def test_practice_tasks_are_refused_as_gate_tasks():
    env = EnvSpec(ENV)
    practice_tasks = TaskSet([*env.tasks("train", 3), Gate(tasks=TASKS).task_set(env, Practice()).tasks[0]])
    with pytest.raises(UsageError, match="1 of the gate's tasks, from split 'valid_seen', are also practised on"):
        Gate(tasks=TASKS).check(env, Practice(), practice_tasks, {})


def test_an_unknown_split_is_reported_with_a_remedy():
    """Published problem sets, for example, have only their own split."""
    with pytest.raises(UsageError, match="the gate has no tasks: unknown household split 'nowhere'.*pass --gate off"):
        Gate(split="nowhere").task_set(EnvSpec("household"), Practice())


def test_the_same_live_task_is_recognised_in_any_split(tmp_path):
    path = tmp_path / "tasks.jsonl"
    path.write_text('{"id": "A--1", "ques": "How much?", "web": "https://a.example/"}\n')
    env, practice = EnvSpec("web"), Practice(params={"world": "live", "path": str(path)})
    sets = {split: env.tasks(split, **practice.params) for split in ("train", "valid_unseen")}
    with pytest.raises(UsageError, match="is also scored"):
        Gate().check(env, practice, sets["train"], {"valid_unseen": sets["valid_unseen"]})


def test_gate_tasks_have_the_parameters_of_the_practice_tasks():
    env = EnvSpec("household")
    small, medium = (Gate(tasks=4).task_set(env, Practice(params={"size": size})) for size in ("small", "medium"))
    assert len(small) == len(medium) == 4
    assert small != medium
    assert small != Gate(tasks=4, seed=1).task_set(env, Practice(params={"size": "small"}))


# -- Verdicts ---------------------------------------------------------------------------------------------------------


def verdict(mean: float, adopted: bool) -> Verdict:
    return Verdict(Gain("a", "b", "success", "abc", 10, 1, mean, -0.1, 0.3, 0.95, 0.2, "exact McNemar"), adopted)


def test_verdicts_keep_their_order_in_a_json_round_trip(store):
    given = {Stage("verdict", "m", "valid_seen", i, "seed0"): verdict(i / 8, i % 2 == 0) for i in (2, 1, 3)}
    for stage, each in given.items():
        store.result(stage, each.to_json)
        store.result(stage.with_kind("counts"), lambda: {"passed": 1})
    assert verdicts(store.results()) == given
    assert list(verdicts(store.results())) == list(given)
    for each in given.values():
        assert Verdict.from_json(json.loads(canonical_json(each.to_json()))) == each
