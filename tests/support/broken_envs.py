"""Worlds of doors and vaults that break down or have changed, for tests that name them as `broken_envs:Class`."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, ClassVar

from door_env import Doors
from kintsugi.envs import Task
from kintsugi.errors import InfraError
from vault_env import Vault


class WhiteDoorsBreak(Doors):
    """Breaks down at every attempt at a white door."""

    def act(self, action: str) -> Any:
        assert self.task is not None
        if self.task.params["open"] == "white":
            raise InfraError("the browser is gone")
        return super().act(action)


class BlueDoorsBreakLater(Doors):
    """Breaks down at every attempt at a blue door but the first; `begun` counts and is emptied by the test."""

    begun: ClassVar[Counter[str]] = Counter()

    def begin(self, task: Task) -> Any:
        self.begun[task.id] += 1
        if task.params["open"] == "blue" and self.begun[task.id] > 1:
            raise InfraError("the browser is gone")
        return super().begin(task)


class SlowDoors(Doors):
    """Doors that take a moment to open."""

    def act(self, action: str) -> Any:
        time.sleep(0.05)
        return super().act(action)


class PaintedVault(Vault):
    """A vault that begins with other words than when trees were grown in it."""

    def begin(self, task: Task) -> Any:
        observation, info = super().begin(task)
        return f"Freshly painted! {observation}", info


class BreakingVault(Vault):
    """Breaks down at the first actions of a process: `left` says at how many more."""

    left: ClassVar[int] = 0

    def act(self, action: str) -> Any:
        if type(self).left:
            type(self).left -= 1
            raise InfraError("the house is on fire")
        return super().act(action)
