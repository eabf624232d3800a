"""Playing an environment to compare it with itself: seeded walks, the same calls again, the first difference."""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
from gymnasium.utils.env_checker import data_equivalence

from .core import AgentEnv, Task

NONSENSE = (
    "",
    " ",
    "xyzzy",
    "go to",
    "42",
    "\x00\x1b[2J\r\n\t",
    "ход→手🙂",
    "Look!\nThen look again.",
    "\udcff",
    "ab" * 50_000,
)
"""Actions that agents and people come up with: empty, control characters, other scripts, broken encodings, 100 kB."""


class Call(NamedTuple):
    """One `reset` (then `action` is None) or `step`, and a copy of what it returned, which no later call can change."""

    action: str | None
    observation: str
    reward: Any
    terminated: Any
    truncated: Any
    info: dict[str, Any]

    @property
    def over(self) -> bool:
        """Whether the episode has ended."""
        return bool(self.terminated or self.truncated)

    def __str__(self) -> str:
        return "reset" if self.action is None else f"action {short(self.action)}"


class Actions:
    """Draws actions: half of them admissible where the environment lists them, the others nonsense."""

    def __init__(self, *seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def __call__(self, info: dict[str, Any]) -> str:
        """One action for what the last call's `info` says."""
        nonsense = self._rng.random() < 0.5 or not info.get("admissible")
        options = NONSENSE if nonsense else info["admissible"]
        return str(options[int(self._rng.integers(len(options)))])


def begin(env: AgentEnv, task: Task | None, seed: int | None = None) -> Call:
    """Reset, to a task that the environment draws when none is given."""
    observation, info = env.reset(seed=seed, options=None if task is None else {"task": task})
    return Call(None, observation, None, False, False, copy.deepcopy(info))


def play(env: AgentEnv, task: Task, action: str | None) -> Call:
    """One step, or a reset to `task` when the action is None."""
    if action is None:
        return begin(env, task)
    observation, reward, terminated, truncated, info = env.step(action)
    return Call(action, observation, reward, terminated, truncated, copy.deepcopy(info))


def walk(env: AgentEnv, task: Task, actions: Actions, steps: int, last: Call | None = None) -> list[Call]:
    """So many calls on from `last`, or a reset and so many; an episode that ends is followed by another."""
    calls = [last or begin(env, task)]
    for _ in range(steps):
        calls.append(play(env, task, None if calls[-1].over else actions(calls[-1].info)))
    return calls[1:] if last else calls


def follow(env: AgentEnv, task: Task, calls: Sequence[Call]) -> list[Call]:
    """Make the same calls again."""
    return [play(env, task, call.action) for call in calls]


def difference(first: Sequence[Call], second: Sequence[Call]) -> str | None:
    """Where the second differs from the first, in type or value and without any tolerance; None when it does not."""
    for number, (a, b) in enumerate(zip_longest(first, second)):
        if a is None or b is None:
            return f"one has {len(first)} calls and the other {len(second)}"
        for field, one, two in zip(Call._fields, a, b, strict=True):
            if not data_equivalence(one, two, exact=True):
                return f"at call {number} ({a}) {_differing(field, one, two)}"
    return None


def _differing(field: str, one: Any, two: Any) -> str:
    if isinstance(one, dict) and isinstance(two, dict):
        for key in sorted(one.keys() | two.keys(), key=str):
            if key not in one or key not in two:
                return f"{field}[{key!r}] is absent from one and {short(one.get(key, two.get(key)))} in the other"
            if not data_equivalence(one[key], two[key], exact=True):
                return f"{field}[{key!r}] is {short(one[key])} in one and {short(two[key])} in the other"
    return f"{field} is {short(one)} in one and {short(two)} in the other"


def digests(cls: type[AgentEnv], task: Task, calls: Sequence[Call], hash_seeds: Sequence[int]) -> set[str]:
    """What the actions of `calls` give in one new process for each PYTHONHASHSEED: one digest when all agree.

    Empty for no seed, and where no new process can make the environment: its module is no file there, or its class
    wants arguments.
    """
    root = cls.__module__.partition(".")[0]
    if not hash_seeds or root == "__main__" or not any(finder.find_spec(root, None) for finder in sys.meta_path):
        return set()
    actions = [call.action for call in calls if call.action is not None]
    asked = json.dumps([cls.__module__, cls.__qualname__, asdict(task), actions])

    def told(hash_seed: int) -> str:
        path = os.pathsep.join(filter(None, sys.path))
        done = subprocess.run(
            [sys.executable, "-c", f"from {__name__} import _child; _child()"],
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": str(hash_seed)},
            input=asked,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.rpartition("\n")[2] if done.returncode == 0 else ""

    with ThreadPoolExecutor(len(hash_seeds)) as threads:
        found = set(threads.map(told, hash_seeds))
    return found if any(found) else set()


def _child() -> None:
    module, name, task_fields, actions = json.load(sys.stdin)
    cls: Any = functools.reduce(getattr, name.split("."), importlib.import_module(module))
    env, task = cls(), Task(**task_fields)
    calls = [begin(env, task)]
    for action in actions:
        calls.append(play(env, task, None if calls[-1].over else action))
    sys.stdout.write("\n" + hashlib.sha256(repr(calls).encode("utf-8", "backslashreplace")).hexdigest())


def short(value: Any) -> str:
    """`repr`, cut where it gets long."""
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:120]}... ({len(text)} characters)"
