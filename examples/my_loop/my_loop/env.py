"""An environment in which the agent names the opposite of a word within three attempts."""

from __future__ import annotations

import random
from typing import Any

from kintsugi.envs import AgentEnv, Task, TaskSet

PAIRS = {"hot": "cold", "up": "down", "big": "small", "wet": "dry", "fast": "slow", "old": "young"}


class Opposites(AgentEnv):
    """Each action is a word. The episode ends with the right word or after `max_steps` actions."""

    env_id = "mine/Opposites-v0"
    metadata = {**AgentEnv.metadata, "gate_split": "valid"}

    def __init__(self, *, max_steps: int = 3, **options: Any) -> None:
        super().__init__(max_steps=max_steps, **options)

    @classmethod
    def tasks(cls, split: str, n: int | None = None, seed: int = 0, **params: Any) -> TaskSet:
        """Return tasks with random words, which depend on split and seed."""
        rng = random.Random(f"{split}/{seed}")
        words = [rng.choice(list(PAIRS)) for _ in range(24 if n is None else n)]
        return TaskSet(Task(f"{split}/{seed}/{i:03}", cls.env_id, split, i, {"word": w}) for i, w in enumerate(words))

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        """Ask for the opposite of the task's word."""
        words = tuple(PAIRS.values())
        return f"What is the opposite of {task.params['word']}?", {"admissible": words, "goal": "say the opposite."}

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        """Check a word. The right word ends the episode."""
        assert self.task is not None
        if action not in PAIRS.values():
            return "That is no word of this game.", 0.0, False, {"invalid": "unknown word"}
        if action != PAIRS[self.task.params["word"]]:
            return f"No, not {action}.", 0.0, False, {}
        return "Right.", 1.0, True, {"success": True, "score": 1.0}
