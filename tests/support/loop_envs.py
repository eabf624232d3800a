"""Worlds that differ from others in what loops ask of any world; tests name them as `loop_envs:Class`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from door_env import Doors
from kintsugi.errors import InfraError
from tiny_envs import Echo


class Painted(Echo):
    """Can be seen, and says what it ran in."""

    def versions(self) -> dict[str, str]:
        return {"Easel": "1.2"}

    def picture(self) -> bytes:
        return b"\x89PNG\r\n\x1a\n" + str(self.steps).encode()


class Rewritten(Echo):
    """Whatever was done at first was done over later, if `x` was."""

    env_id = "tiny/Rewritten-v0"

    @staticmethod
    def overwritten(actions: Sequence[str]) -> set[int]:
        return {actions.index("x")} if "x" in actions else set()


class Ungated(Doors):
    """Doors without a split for the gate."""

    metadata = {**Doors.metadata, "gate_split": None}


class Sparse(Doors):
    """Says of itself what Gymnasium asks for, and no more."""

    metadata = {"render_modes": ["ansi"]}


class Greenhouse(Doors):
    """Doors that are measured by what they return: each turn multiplies what there is, and a wrong door halves it."""

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
    """Breaks down whenever a white door is tried."""

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        if action == "open white":
            raise InfraError("the handle came off")
        return super().act(action)
