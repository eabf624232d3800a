"""A seed family: a small model trained on demonstrations. `kintsugi seed opposites` trains it."""

from __future__ import annotations

import random
from collections.abc import Iterable

from kintsugi.agents import Step, Trajectory
from kintsugi.agents.reflector import REFLECTION_PREFIX
from kintsugi.agents.trajectory import Outcome
from kintsugi.envs import Task
from kintsugi.loops.seeds.config import Architecture, PretrainConfig
from kintsugi.loops.seeds.family import Family, Mended, SeedRecipe

from .env import PAIRS, Opposites


def play_words(task: Task, words: Iterable[str]) -> Trajectory:
    """Return the attempt with these words as actions."""
    env, steps = Opposites(), []
    observation, info = env.reset(options={"task": task})
    goal = str(info["goal"])
    for word in words:
        steps.append(Step(observation, f"I say {word}.", word))
        observation, _, _, _, info = env.step(word)
    outcome: Outcome = "success" if info.get("success") else "truncated"
    score = float(outcome == "success")
    return Trajectory(task, tuple(steps), observation, outcome, score, "expert", "opposites-expert", 0, goal=goal)


def demonstrate(task: Task, seed: int) -> Trajectory:
    """Return a demonstration that gives the right word at the first or second step."""
    first = random.Random(seed).choice(list(PAIRS.values()))
    right = PAIRS[task.params["word"]]
    return play_words(task, [right] if first == right else [first, right])


def mend(task: Task, seed: int) -> Mended:
    """Return a failed attempt with three wrong words, a reflection on it, and an attempt with the right word."""
    right = PAIRS[task.params["word"]]
    wrong = random.Random(seed).choice([word for word in PAIRS.values() if word != right])
    return Mended(play_words(task, [wrong] * 3), f"{REFLECTION_PREFIX} said {right}.", play_words(task, [right]))


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
