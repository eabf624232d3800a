"""`check_agent_env`: correct environments pass, and each fault fails the check that is meant for it."""

from __future__ import annotations

import itertools
import random
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from kintsugi.envs import AgentEnv, Snapshot, Task, TaskSet, UnicodeText
from kintsugi.envs.checks import EnvCheckError, check_agent_env
from kintsugi.envs.conformance import CHECKS
from kintsugi.envs.registry import BUILTIN
from kintsugi.errors import UsageError
from tiny_envs import Echo, Lamps


@pytest.fixture
def echo_id() -> Iterator[str]:
    """Gymnasium id of `Echo`, which is registered for this test."""
    gymnasium.register("tiny/Echo-v0", "tiny_envs:Echo")
    yield "tiny/Echo-v0"
    del gymnasium.registry["tiny/Echo-v0"]


def test_a_correct_environment_passes():
    check_agent_env(Lamps)


NEEDS = {"code": ["sandbox"], "web": ["chromium"]}
SHORTER = {"web": {"steps": 4, "copies": 2}}
"""Shorter walks for environments with slow steps and replay snapshots."""


@pytest.mark.parametrize(
    "entry",
    [pytest.param(entry, marks=[pytest.mark.requires(n) for n in NEEDS.get(entry.name, ())]) for entry in BUILTIN],
    ids=lambda entry: entry.name,
)
def test_builtin_environments_pass(entry):
    check_agent_env(entry.id, **SHORTER.get(entry.name, {}))


def test_instances_factories_and_names_are_accepted(echo_id):
    made = gymnasium.make(echo_id)
    made.reset()
    for env in (Echo, lambda: Lamps(max_steps=7), Lamps(max_steps=7), echo_id, made):
        # New processes take seconds; other tests start them.
        check_agent_env(env, hash_seeds=())


def test_a_given_task_is_played():
    check_agent_env(Echo, task=Echo.tasks("valid")["valid/3"], steps=10, copies=2, seed=3, hash_seeds=())


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("kintsugi/Householt-v0", "did you mean 'kintsugi/Household-v0'"),
        (lambda: gymnasium.make("CartPole-v1"), "expected a subclass of kintsugi.envs.AgentEnv"),
    ],
)
def test_other_objects_are_refused(env, message):
    with pytest.raises(UsageError, match=message):
        check_agent_env(env)


def test_shared_or_used_instances_are_refused():
    env = Lamps()
    with pytest.raises(UsageError, match="same instance twice"):
        check_agent_env(lambda: env)
    env.reset(seed=0)
    with pytest.raises(UsageError, match="started an episode"):
        check_agent_env(env)
    with pytest.raises(UsageError, match="expected at least 4 steps and 2 copies"):
        check_agent_env(Lamps, steps=1)


# -- Faulty environments ----------------------------------------------------------------------------------------------


class NoRenderFps(Lamps):
    metadata = {"render_modes": ["ansi"], "snapshot": "exact"}


class SharesInfo(Echo):
    returned_info: dict[str, Any]

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        self.returned_info = {}
        return super().begin(task)[0], self.returned_info

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        observation, reward, done, info = super().act(action)
        self.returned_info.update(info)
        return observation, reward, done, self.returned_info


class SnapshotUndeclared(Echo):
    metadata = {"render_modes": ["ansi"], "render_fps": 1}


class StateUndefined(Echo):
    metadata = {**AgentEnv.metadata, "snapshot": "exact"}


class TasksDiffer(Lamps):
    @classmethod
    def tasks(cls, split: str, n: int | None = None, seed: int = 0, **params: Any) -> TaskSet:
        return super().tasks(split, n, random.randrange(10**9))


class TasksOfOthers(Lamps):
    @classmethod
    def tasks(cls, split: str, n: int | None = None, seed: int = 0, **params: Any) -> TaskSet:
        return TaskSet(
            Task(task.id, "tiny/Other-v0", split, task.seed, task.params) for task in super().tasks(split, n)
        )


class ScoreTooHigh(Lamps):
    def known(self) -> dict[str, Any]:
        return {**super().known(), "score": len(self.lit)}


class AdmissibleList(Lamps):
    def known(self) -> dict[str, Any]:
        return {**super().known(), "admissible": [*self.options()]}


class SuccessAsNumber(Echo):
    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        *rest, info = super().act(action)
        return *rest, {**info, "success": 0}  # type: ignore[return-value]


class ObservationTooLong(Echo):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.observation_space = UnicodeText(1000)

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        _, *rest = super().act(action)
        return f"You said {action}", *rest  # type: ignore[return-value]


class GlobalGenerator(Lamps):
    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        observation, *rest = super().act(action)
        return f"{observation} {random.random()}", *rest  # type: ignore[return-value]


class TimeInInfo(Lamps):
    def known(self) -> dict[str, Any]:
        return {**super().known(), "seconds": time.perf_counter()}


class SeedIgnored(Lamps):
    def default_task(self) -> Task:
        return self.tasks("train").tasks[0]


class TaskSeedIgnored(Lamps):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        if seed is None and options:
            seed = 0
        return super().reset(seed=seed, options=options)


class HeardNotReset(Echo):
    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        before = getattr(self, "heard", 0)
        found = super().begin(task)
        self.heard = before
        return found


class SharedByClass(Echo):
    world: dict[str, int] = {}

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        self.world["turns"] = 0
        return super().begin(task)

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        self.world["turns"] += 1
        _, *rest = super().act(action)
        return f"turn {self.world['turns']}", *rest  # type: ignore[return-value]


class CounterForgotten(Lamps):
    def get_state(self) -> Any:
        return self.lit

    def set_state(self, state: Any) -> None:
        self.lit = state


class MutableState(Lamps):
    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        self.log: list[str] = []
        return super().begin(task)

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        self.log.append(action)
        _, *rest = super().act(action)
        return f"{len(self.log)} turns", *rest  # type: ignore[return-value]

    def get_state(self) -> Any:
        return self.log, super().get_state()

    def set_state(self, state: Any) -> None:
        self.log, rest = state
        super().set_state(rest)


class StepsForgotten(Lamps):
    def restore(self, snapshot: Snapshot) -> None:
        steps = self.steps
        super().restore(snapshot)
        self.steps = steps


class SnapshotDrawsRandomly(Lamps):
    def snapshot(self) -> Snapshot:
        self.np_random.random()
        return super().snapshot()


class ReplaysFromSeed(Echo):
    def _replay(self, task: Task, initial_rng: Mapping[str, Any], actions: tuple[str, ...]) -> None:
        self.reset(options={"task": task})
        for action in actions:
            self.step(action)


class NeedsBegin(Lamps):
    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        self.room = "attic"
        return super().begin(task)

    def known(self) -> dict[str, Any]:
        return {**super().known(), "room": self.room}


class HoldsALock(Lamps):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.lock = threading.Lock()


class PicklingResetsAge(Lamps):
    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "age": 0}


class RefusesListed(Lamps):
    def known(self) -> dict[str, Any]:
        return {**super().known(), "admissible": tuple(f"light {name}" for name in ("red", "green", "blue"))}


class NonsenseRaises(Lamps):
    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        if not action.split():
            raise IndexError("no word")
        return super().act(action)


class NonsenseAccepted(Lamps):
    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        observation, reward, done, info = super().act(action)
        info.pop("invalid", None)
        return observation, reward, done, info


class ResetsByItself(Lamps):
    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if self.task is None:
            self.reset(seed=0)
        return super().step(action)


class TakesAnyTask(Lamps):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        return super().reset(seed=seed)


class NeverEnds(Echo):
    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, _, info = super().step(action)
        self._finished = terminated
        return observation, reward, terminated, False, info


class SuccessMissing(Echo):
    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        *rest, info = super().step(action)
        return *rest, {key: value for key, value in info.items() if key != "success"}  # type: ignore[return-value]


class ClosesOnce(Echo):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.handles = [1]

    def close(self) -> None:
        self.handles.pop()


BROKEN: dict[str, list[type[AgentEnv]]] = {
    "gymnasium": [NoRenderFps, SharesInfo],
    "declarations": [SnapshotUndeclared, StateUndefined, TasksDiffer, TasksOfOthers],
    "info": [ScoreTooHigh, AdmissibleList, SuccessAsNumber, ObservationTooLong],
    "determinism": [GlobalGenerator, TimeInInfo],
    "seeds": [SeedIgnored, TaskSeedIgnored],
    "reuse": [HeardNotReset],
    "isolation": [SharedByClass],
    "snapshots": [CounterForgotten, MutableState, StepsForgotten, SnapshotDrawsRandomly, ReplaysFromSeed, NeedsBegin],
    "pickling": [HoldsALock, PicklingResetsAge],
    "admissible": [RefusesListed],
    "nonsense": [NonsenseRaises, NonsenseAccepted],
    "misuse": [ResetsByItself, TakesAnyTask],
    "ending": [NeverEnds, SuccessMissing],
    "closing": [ClosesOnce],
}


@pytest.mark.parametrize(("check", "env"), [(check, env) for check, envs in BROKEN.items() for env in envs])
def test_each_fault_fails_its_check(check, env):
    with pytest.raises(EnvCheckError) as caught:
        check_agent_env(env, steps=30)
    assert check in caught.value.failures
    assert f"{env.__name__} fails" in str(caught.value)
    rule = " ".join((CHECKS[check].__doc__ or "").split())
    assert caught.value.failures[check].endswith(rule)


def test_a_single_fault_fails_no_other_check():
    clean = {NoRenderFps, ScoreTooHigh, SnapshotDrawsRandomly, HoldsALock, NonsenseAccepted, SuccessMissing}
    for check, env in ((check, env) for check, envs in BROKEN.items() for env in envs if env in clean):
        with pytest.raises(EnvCheckError) as caught:
            check_agent_env(env, steps=30)
        assert [*caught.value.failures] == [check]


def test_every_check_is_tested_with_a_fault():
    assert {*BROKEN, "processes"} == {*CHECKS}


def test_iteration_over_a_set_of_strings_fails(tmp_path: Path, monkeypatch):
    names = [f"word{i}" for i in range(20)]
    code = f"""
from tiny_envs import Echo

class Unordered(Echo):
    def begin(self, task):
        _, info = super().begin(task)
        return " ".join(set({names})), info
"""
    (tmp_path / "unordered_world.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    unordered = __import__("unordered_world").Unordered
    with pytest.raises(EnvCheckError, match="in 3 processes gave 3 different results") as caught:
        check_agent_env(unordered)
    assert [*caught.value.failures] == ["processes"]
    check_agent_env(unordered, hash_seeds=())
    del sys.modules["unordered_world"]


def test_errors_name_the_place_and_the_rule():
    with pytest.raises(EnvCheckError) as caught:
        check_agent_env(StepsForgotten)
    text = caught.value.failures["snapshots"]
    assert "restored after the end of the episode, the step counter or the random generator differs" in text
    assert "get_state returns everything that later steps depend on" in text
    assert all(len(line) < 2000 for line in str(caught.value).splitlines())
    assert len(set(itertools.chain(*BROKEN.values()))) == sum(map(len, BROKEN.values()))
