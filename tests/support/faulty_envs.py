"""Environments and an agent for tests of the command line, which name them as `faulty_envs:Class`."""

from __future__ import annotations

import os
import signal
import warnings
from typing import Any

from door_env import Doors
from kintsugi.agents.core import Episode, RuleAgent
from kintsugi.agents.trajectory import Step
from kintsugi.envs import Task, TaskSet
from kintsugi.errors import InfraError, UsageError
from tiny_envs import Echo, Lamps


class Troubled(Echo):
    """Raises the error that the task parameter `trouble` selects when tasks are requested."""

    @classmethod
    def tasks(cls, split: str, n: int | None = None, seed: int = 0, trouble: str = "", **params: Any) -> TaskSet:
        raised: dict[str, BaseException] = {
            "usage": UsageError("k is 0;\nask for more"),
            "infra": InfraError("the browser died"),
            "interrupt": KeyboardInterrupt(),
            "bug": IndexError("pop from empty list"),
        }
        if trouble == "terminate":
            signal.raise_signal(signal.SIGTERM)
        if trouble in raised:
            raise raised[trouble]
        if trouble == "warning":
            warnings.warn("two games were [left] out", stacklevel=1)
        return super().tasks(split, n, seed)


class Windowed(Echo):
    """Has a `headless` argument and shows its value in the first observation."""

    def __init__(self, *, headless: bool = True) -> None:
        super().__init__()
        self.headless = headless

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        observation, info = super().begin(task)
        return f"The window is {'shut' if self.headless else 'open'}. {observation}", info


class Reading(RuleAgent):
    """An agent without a model that plays the number in the hint, which solves `Echo` in one step."""

    name = "reading"

    async def act(self, episode: Episode) -> Step:
        return Step(episode.observation, "", episode.observation.rpartition(": ")[2].rstrip("."))


class Painted(Echo):
    """Has a different picture at each of two steps."""

    def __init__(self, max_steps: int = 2) -> None:
        super().__init__(max_steps=max_steps)

    def picture(self) -> bytes:
        return b"\x89PNG" + bytes([self.steps])


class Quitting(Lamps):
    """An environment whose process is killed."""

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().begin(task)


class Refusing(Doors):
    """An environment that cannot start an episode."""

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        raise UsageError("there is no engine; install one")
