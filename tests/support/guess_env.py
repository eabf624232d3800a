"""`Guess`, an environment that accepts every action and whose tasks pass, fail, or depend on what is said.

A model that knows nothing of it gives a loop passed attempts, failed ones, and tasks with both. Tests name it as
`guess_env:Guess`.
"""

from __future__ import annotations

import zlib
from typing import Any

from kintsugi.envs import AgentEnv, Task, TaskSet

KINDS = ("won", "lost", "drawn")
"""The first action passes; none does; each passes or not, by a checksum of its text."""


class Guess(AgentEnv):
    """Say anything, at most twice. The parameter `kinds` names the kinds of tasks, separated by plus signs."""

    env_id = "tiny/Guess-v0"
    metadata = {**AgentEnv.metadata, "snapshot": "exact", "gate_split": "valid_seen"}

    def __init__(self, max_steps: int = 2, **options: Any) -> None:
        super().__init__(max_steps=max_steps, **options)

    @classmethod
    def tasks(cls, split: str, n: int | None = None, seed: int = 0, **params: Any) -> TaskSet:
        kinds = str(params.get("kinds", "+".join(KINDS))).split("+")
        count = len(kinds) if n is None else n
        return TaskSet(
            Task(f"{split}/{i}", cls.env_id, split, seed + i, {"type": kinds[i % len(kinds)]}) for i in range(count)
        )

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        return "Guess a word.", {"goal": "guess the word", "score": 0.0}

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        assert self.task is not None
        kind = self.task.params["type"]
        passed = kind == "won" or (kind == "drawn" and zlib.crc32(action.encode()) % 2 == 0)
        return ("Right." if passed else "Wrong."), float(passed), passed, {"success": passed, "score": float(passed)}

    def get_state(self) -> Any:
        return ()

    def set_state(self, state: Any) -> None:
        pass
