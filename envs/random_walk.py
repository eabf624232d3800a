"""Random walks through an environment: record calls, replay them, and find the first difference."""

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

NONSENSE_ACTIONS = (
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
"""Bad actions: empty, unknown, control characters, other scripts, broken encodings, 100 kB."""


class Call(NamedTuple):
    """One call of `reset` or `step`, with a deep copy of what it returned."""

    action: str | None
    """None for `reset`."""
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
        return "reset" if self.action is None else f"action {short_repr(self.action)}"


class RandomActions:
    """A seeded stream of actions: half of them admissible if the environment lists any, the others nonsense."""

    def __init__(self, *seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def __call__(self, info: dict[str, Any]) -> str:
        """Return the next action, given the `info` of the last call."""
        nonsense = self._rng.random() < 0.5 or not info.get("admissible")
        options = NONSENSE_ACTIONS if nonsense else info["admissible"]
        return str(options[int(self._rng.integers(len(options)))])


def record_reset(env: AgentEnv, task: Task | None, seed: int | None = None) -> Call:
    """Reset to `task`, or to a task that the environment draws, and return the call."""
    observation, info = env.reset(seed=seed, options=None if task is None else {"task": task})
    return Call(None, observation, None, False, False, copy.deepcopy(info))


def record_call(env: AgentEnv, task: Task, action: str | None) -> Call:
    """Step, or reset to `task` if the action is None, and return the call."""
    if action is None:
        return record_reset(env, task)
    observation, reward, terminated, truncated, info = env.step(action)
    return Call(action, observation, reward, terminated, truncated, copy.deepcopy(info))


def random_walk(env: AgentEnv, task: Task, actions: RandomActions, steps: int, last: Call | None = None) -> list[Call]:
    """Play `steps` random actions and return the calls; an episode that ends is followed by a reset.

    Without `last`, the walk starts with a reset, which is the first call returned. With `last`, it continues after that
    call.
    """
    calls = [last or record_reset(env, task)]
    for _ in range(steps):
        calls.append(record_call(env, task, None if calls[-1].over else actions(calls[-1].info)))
    return calls[1:] if last else calls


def replay_calls(env: AgentEnv, task: Task, calls: Sequence[Call]) -> list[Call]:
    """Make the same calls in `env` and return the new records."""
    return [record_call(env, task, call.action) for call in calls]


def first_difference(first: Sequence[Call], second: Sequence[Call]) -> str | None:
    """Describe the first difference in type or value, without tolerance. Return None if there is none."""
    for number, (a, b) in enumerate(zip_longest(first, second)):
        if a is None or b is None:
            return f"one has {len(first)} calls and the other {len(second)}"
        for field, one, two in zip(Call._fields, a, b, strict=True):
            if not data_equivalence(one, two, exact=True):
                return f"at call {number} ({a}) {_describe_difference(field, one, two)}"
    return None


def _describe_difference(field: str, one: Any, two: Any) -> str:
    if isinstance(one, dict) and isinstance(two, dict):
        for key in sorted(one.keys() | two.keys(), key=str):
            if key not in one or key not in two:
                return f"{field}[{key!r}] is absent from one and {short_repr(one.get(key, two.get(key)))} in the other"
            if not data_equivalence(one[key], two[key], exact=True):
                return f"{field}[{key!r}] is {short_repr(one[key])} in one and {short_repr(two[key])} in the other"
    return f"{field} is {short_repr(one)} in one and {short_repr(two)} in the other"


def process_digests(cls: type[AgentEnv], task: Task, calls: Sequence[Call], hash_seeds: Sequence[int]) -> set[str]:
    """Replay the actions of `calls` in one new process for each `PYTHONHASHSEED` and return the digests of the results.

    The set has one element if all processes agree. It is empty without hash seeds, and if new processes cannot make the
    environment: its module cannot be imported there, or its class needs arguments.
    """
    root = cls.__module__.partition(".")[0]
    if not hash_seeds or root == "__main__" or not any(finder.find_spec(root, None) for finder in sys.meta_path):
        return set()
    actions = [call.action for call in calls if call.action is not None]
    request = json.dumps([cls.__module__, cls.__qualname__, asdict(task), actions])

    def digest_of_child(hash_seed: int) -> str:
        path = os.pathsep.join(filter(None, sys.path))
        done = subprocess.run(
            [sys.executable, "-c", f"from {__name__} import _child_main; _child_main()"],
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": str(hash_seed)},
            input=request,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.rpartition("\n")[2] if done.returncode == 0 else ""

    with ThreadPoolExecutor(len(hash_seeds)) as threads:
        found = set(threads.map(digest_of_child, hash_seeds))
    return found if any(found) else set()


def _child_main() -> None:
    """Play the actions that are given as JSON on standard input, and print the digest of all calls."""
    module, name, task_fields, actions = json.load(sys.stdin)
    cls: Any = functools.reduce(getattr, name.split("."), importlib.import_module(module))
    env, task = cls(), Task(**task_fields)
    calls = [record_reset(env, task)]
    for action in actions:
        calls.append(record_call(env, task, None if calls[-1].over else action))
    sys.stdout.write("\n" + hashlib.sha256(repr(calls).encode("utf-8", "backslashreplace")).hexdigest())


def short_repr(value: Any) -> str:
    """Return `repr(value)`. If it exceeds 160 characters, return its first 120 and its length."""
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:120]}... ({len(text)} characters)"
