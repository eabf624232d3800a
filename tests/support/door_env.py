"""`Doors`, an environment that a tiny model learns in seconds, and the family of its seed policy.

One of four doors is open. Trying a wrong door reveals the open one.
"""

from __future__ import annotations

import random
from typing import Any

from kintsugi.agents.reflector import REFLECTION_PREFIX
from kintsugi.agents.trajectory import Step, Trajectory
from kintsugi.envs import AgentEnv, Task, TaskSet
from kintsugi.loops.seeds.family import Family, Mended, SeedRecipe

COLOURS = ("red", "green", "blue", "white")
ENTRY = "[kintsugi.envs]\ntiny/Doors-v0 = door_env:Doors\n\n[kintsugi.seeds]\ndoors = door_env:FAMILY\n"
"""`entry_points.txt` of a package that provides the environment."""


class Doors(AgentEnv):
    """Find the open door within two steps."""

    env_id = "tiny/Doors-v0"
    metadata = {**AgentEnv.metadata, "snapshot": "exact", "gate_split": "valid_seen"}

    def __init__(self, max_steps: int = 2, **options: Any) -> None:
        super().__init__(max_steps=max_steps, **options)

    @classmethod
    def tasks(cls, split: str, n: int | None = None, seed: int = 0, **params: Any) -> TaskSet:
        count = 16 if n is None else n
        rng = random.Random(f"{split}/{seed}")
        doors = [rng.choice(COLOURS) for _ in range(count)]
        return TaskSet(
            Task(f"{split}/{seed}/{i:03}", cls.env_id, split, i, {"type": "one" if i % 2 else "two", "open": door})
            for i, door in enumerate(doors)
        )

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        return "There are four doors: red, green, blue, white.", {**self.known(), "goal": "go through the open door."}

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        assert self.task is not None
        if action not in self.known()["admissible"]:
            return "Nothing happens.", 0.0, False, {**self.known(), "invalid": "there is no such door"}
        if action != f"open {self.task.params['open']}":
            return f"It is locked. A voice says: {self.task.params['open']}.", 0.0, False, self.known()
        return "You walk through.", 1.0, True, {**self.known(), "success": True, "score": 1.0}

    def known(self) -> dict[str, Any]:
        return {"admissible": tuple(f"open {colour}" for colour in COLOURS), "score": 0.0}

    def get_state(self) -> Any:
        return ()

    def set_state(self, state: Any) -> None:
        pass


def attempt(task: Task, doors: list[str]) -> Trajectory:
    """Play an attempt that opens these doors, one after another."""
    env, steps = Doors(max_steps=len(doors)), []
    observation, info = env.reset(options={"task": task})
    goal = str(info["goal"])
    for colour in doors:
        steps.append(Step(observation, f"I try {colour}.", f"open {colour}"))
        observation, _, _, _, info = env.step(f"open {colour}")
    done = bool(info["success"])
    outcome = "success" if done else "truncated"
    return Trajectory(task, tuple(steps), observation, outcome, float(done), "expert", "doors-expert", 0, goal=goal)


def demonstrate(task: Task, seed: int) -> Trajectory:
    """Return a demonstration that opens a random door, then the right one."""
    first, right = random.Random(seed).choice(COLOURS), str(task.params["open"])
    return attempt(task, [right] if first == right else [first, right])


def mend(task: Task, seed: int) -> Mended:
    """Return a failed attempt at a wrong door and its mended version."""
    right = str(task.params["open"])
    wrong = random.Random(seed).choice([colour for colour in COLOURS if colour != right])
    return Mended(attempt(task, [wrong, wrong]), f"{REFLECTION_PREFIX} tried {right}.", attempt(task, [right]))


FAMILY = Family(SeedRecipe(family="doors"), lambda n, seed: Doors.tasks("train", n, seed), demonstrate, mend)
