"""Environments that override optional parts of `AgentEnv`. Tests name them as `loop_envs:Class`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from door_env import Doors
from kintsugi.errors import InfraError
from tiny_envs import Echo


class Painted(Echo):
    """Has pictures and versions of external programs."""

    def versions(self) -> dict[str, str]:
        return {"Easel": "1.2"}

    def picture(self) -> bytes:
        return b"\x89PNG\r\n\x1a\n" + str(self.steps).encode()


class Rewritten(Echo):
    """Marks the first action `x` as overwritten."""

    env_id = "tiny/Rewritten-v0"

    @staticmethod
    def overwritten(actions: Sequence[str]) -> set[int]:
        return {actions.index("x")} if "x" in actions else set()


class Ungated(Doors):
    """Doors without a split for the gate."""

    metadata = {**Doors.metadata, "gate_split": None}


class Sparse(Doors):
    """Has only the metadata that Gymnasium requires."""

    metadata = {"render_modes": ["ansi"]}


class Greenhouse(Doors):
    """Doors with a return as metric: the product of the rewards minus 1. The open door gives 1.5, any other 0.5."""

    metric = "return"

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        observation, reward, done, info = super().act(action)
        return observation, 1.5 if reward else 0.5, done, info

    @staticmethod
    def metric_value(success: bool, score: float, rewards: Sequence[float]) -> float:
        product = 1.0
        for reward in rewards:
            product *= reward
        return product - 1.0


class WhiteDoorsJam(Doors):
    """Fails whenever a white door is tried."""

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        if action == "open white":
            raise InfraError("the handle came off")
        return super().act(action)
