"""Numbered attempts, and the stages in which tests store them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kintsugi.agents.trajectory import Step, Trajectory
from kintsugi.envs import Task
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore

CONFIG: dict[str, Any] = {"loop": "re_rest", "lora": {"rank": 8, "alpha": 16}, "tasks": ["a", "b"], "limit": None}
STAGE, OTHER = Stage("collect", "policy", "train", 1), Stage("collect", "policy", "train", 2)
COUNTS, SCORE = Stage("counts", "re_rest", "train", 1), Stage("score", "base", "valid_unseen")


def attempt(number: int, **fields: Any) -> Trajectory:
    task = Task(f"t{number}", "tiny/Echo-v0", "train", number, {"number": number})
    step = Step("o", "th", "a", text="th a", token_ids=(1, 2), logprobs=(-0.125, -3e-9))
    defaults = {"outcome": "failure", "score": 0.0, "source": "policy", "model": "m@1", "seed": 0}
    return Trajectory(**{"task": task, "steps": (step,), "final_observation": "end", **defaults, **fields})


def stored_attempts(folder: Path, stage: Stage = STAGE) -> list[Trajectory]:
    with RunStore.read(folder) as store:
        return store.trajectories(stage)
