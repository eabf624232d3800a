"""A seed family: a small model made from an expert's demonstrations. `kintsugi seed opposites` makes it."""

from __future__ import annotations

import random
from collections.abc import Iterable

from kintsugi.agents import Step, Trajectory
from kintsugi.agents.reflector import OPENING
from kintsugi.agents.trajectory import Outcome
from kintsugi.envs import Task
from kintsugi.loops.seeds.config import Architecture, PretrainConfig
from kintsugi.loops.seeds.family import Family, Mended, SeedRecipe

from .env import PAIRS, Opposites


def played(task: Task, words: Iterable[str]) -> Trajectory:
    """The attempt that says these words."""
    env, steps = Opposites(), []
    observation, info = env.reset(options={"task": task})
    goal = str(info["goal"])
    for word in words:
        steps.append(Step(observation, f"I say {word}.", word))
        observation, _, _, _, info = env.step(word)
    end: Outcome = "success" if info.get("success") else "truncated"
    score = float(end == "success")
    return Trajectory(task, tuple(steps), observation, end, score, "expert", "opposites-expert", 0, goal=goal)


def demonstrate(task: Task, seed: int) -> Trajectory:
    """Right at once, or at the second try."""
    first = random.Random(seed).choice(list(PAIRS.values()))
    right = PAIRS[task.params["word"]]
    return played(task, [right] if first == right else [first, right])


def mend(task: Task, seed: int) -> Mended:
    """Three wrong words, what should have been said, and that."""
    right = PAIRS[task.params["word"]]
    wrong = random.Random(seed).choice([word for word in PAIRS.values() if word != right])
    return Mended(played(task, [wrong] * 3), f"{OPENING} said {right}.", played(task, [right]))


FAMILY = Family(
    SeedRecipe(
        family="opposites",
        demonstrations=120,
        reflections=60,
        architecture=Architecture(32, 2, 2, 1, 64, 256),
        pretrain=PretrainConfig(tokens=40_000, batch_tokens=512, warmup=10),
    ),
    lambda n, seed: Opposites.tasks("train", n, seed),
    demonstrate,
    mend,
    practice=24,
)
