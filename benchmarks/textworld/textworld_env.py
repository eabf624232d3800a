"""ALFWorld's games in ALFWorld's engine, as an environment without exact snapshots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...envs.core import Task
from ...envs.household import HouseholdEnv
from ...envs.household.env import engine_of_task
from ...envs.household.wording import BANNER
from .textworld_game import StepResult, TextWorldGame


class TextWorldEnv(HouseholdEnv):
    """The household environment with TextWorld as its engine.

    It plays tasks of game files only. Snapshots are replays of the actions. Observations, admissible commands and
    rewards equal those of `HouseholdEnv`, but `info` gives no reason for a refused action.

    Args:
        max_steps: Number of steps after which an episode is truncated.
        render_mode: A Gymnasium render mode of `AgentEnv`, or None.
    """

    metadata = {**HouseholdEnv.metadata, "snapshot": "replay"}

    def __init__(self, *, max_steps: int = 50, render_mode: str | None = None) -> None:
        super().__init__(max_steps=max_steps, render_mode=render_mode)
        self._textworld: tuple[Task, TextWorldGame] | None = None

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        """Reset the engine, which is started once per game."""
        if self._textworld is None or self._textworld[0] != task:
            self._stop()
            self._textworld = task, TextWorldGame(json.loads(Path(task.source).read_text(encoding="utf-8")))
        seen = self._textworld[1].reset()
        return seen.text.removeprefix(BANNER), {**_info(seen), "goal": f"{engine_of_task(task).game.task}."}

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        """Execute one command."""
        assert self._textworld is not None
        seen = self._textworld[1].step(action)
        return seen.text, seen.reward, seen.done, _info(seen) | ({"success": True} if seen.won else {})

    def close(self) -> None:
        """Close the engine."""
        self._stop()
        super().close()

    def _stop(self) -> None:
        if self._textworld is not None:
            self._textworld[1].close()
            self._textworld = None


def _info(seen: StepResult) -> dict[str, Any]:
    return {"admissible": seen.admissible, "score": float(seen.won)}
