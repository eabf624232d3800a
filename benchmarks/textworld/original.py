"""ALFWorld's games in ALFWorld's own engine, as an environment: what a search has to do where nothing can be copied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...envs.core import Task
from ...envs.household import HouseholdEnv
from ...envs.household.env import engine_of_task
from ...envs.household.wording import BANNER
from .peer import Peer, Seen


class OriginalEnv(HouseholdEnv):
    """The household with TextWorld underneath, for tasks of ALFWorld's game files; its snapshots are replays.

    Observations, admissible commands and rewards are those of `HouseholdEnv`; why an action is refused is not told.
    """

    metadata = {**HouseholdEnv.metadata, "snapshot": "replay"}

    def __init__(self, *, max_steps: int = 50, render_mode: str | None = None) -> None:
        super().__init__(max_steps=max_steps, render_mode=render_mode)
        self._peer: tuple[Task, Peer] | None = None

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        """Reset the engine, which is started once for a game."""
        if self._peer is None or self._peer[0] != task:
            self._stop()
            self._peer = task, Peer(json.loads(Path(task.source).read_text(encoding="utf-8")))
        seen = self._peer[1].reset()
        return seen.text.removeprefix(BANNER), {**_told(seen), "goal": f"{engine_of_task(task).game.task}."}

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        """Play one command."""
        assert self._peer is not None
        seen = self._peer[1].step(action)
        return seen.text, seen.reward, seen.done, _told(seen) | ({"success": True} if seen.won else {})

    def close(self) -> None:
        """Free the engine."""
        self._stop()
        super().close()

    def _stop(self) -> None:
        if self._peer is not None:
            self._peer[1].close()
            self._peer = None


def _told(seen: Seen) -> dict[str, Any]:
    return {"admissible": seen.admissible, "score": float(seen.won)}
