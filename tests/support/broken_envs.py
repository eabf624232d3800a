"""Variants of `Doors` and `Vault` that fail or have changed. Tests name them as `broken_envs:Class`."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, ClassVar

from door_env import Doors
from kintsugi.envs import Task
from kintsugi.errors import InfraError
from vault_env import Vault


class WhiteDoorsBreak(Doors):
    """Fails in every task whose open door is white."""

    def act(self, action: str) -> Any:
        assert self.task is not None
        if self.task.params["open"] == "white":
            raise InfraError("the browser is gone")
        return super().act(action)


class DoorsNeverBegin(Doors):
    """Fails at the start of every episode."""

    def begin(self, task: Task) -> Any:
        raise InfraError("the browser is gone")


class BlueDoorsBreakLater(Doors):
    """Fails from the second episode of each task whose open door is blue. Tests clear the counter `begun`."""

    begun: ClassVar[Counter[str]] = Counter()

    def begin(self, task: Task) -> Any:
        self.begun[task.id] += 1
        if task.params["open"] == "blue" and self.begun[task.id] > 1:
            raise InfraError("the browser is gone")
        return super().begin(task)


class SlowDoors(Doors):
    """Doors with slow steps."""

    def act(self, action: str) -> Any:
        time.sleep(0.05)
        return super().act(action)


class PaintedVault(Vault):
    """A vault with another first observation than `Vault`."""

    def begin(self, task: Task) -> Any:
        observation, info = super().begin(task)
        return f"Freshly painted! {observation}", info


class BreakingVault(Vault):
    """Fails at the next `left` actions in this process."""

    left: ClassVar[int] = 0

    def act(self, action: str) -> Any:
        if type(self).left:
            type(self).left -= 1
            raise InfraError("the house is on fire")
        return super().act(action)
