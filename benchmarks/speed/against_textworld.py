"""Speed of the household environment compared with ALFWorld's engine, TextWorld.

Both play the same game files with the same actions on one core. TextWorld is measured with and without a memoised
parser. All times are CPU times, which depend less on other programs. TextWorld's planner library runs in the same
process, so its time is included.
"""

from __future__ import annotations

import functools
import json
import random
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium

from ...envs.core import AgentEnv, Task, TaskSet
from ...envs.household import HouseholdEnv
from ...envs.household.alfworld.export import write_game
from ...envs.household.env import clear_engine_cache, engine_of_task
from ...envs.household.planner import shortest_plan
from ...envs.registry import register_all
from ..textworld.textworld_game import TextWorldGame, memoised
from .snapshots import snapshot_restore

REPEATS = 40
"""Number of times that Kintsugi plays each episode, since a single one is too short to measure."""


@dataclass(frozen=True)
class EngineTimes:
    """CPU times of one engine, in seconds."""

    step: float
    """Mean time of one step, including the admissible commands."""
    reset: float
    """Median time of a reset to a loaded game."""
    load: float
    """Median time to load a game file and reset."""


def walk_of(task: Task, actions: int, rng: random.Random) -> list[str]:
    """Return random admissible actions that do not end the episode."""
    env = HouseholdEnv(max_steps=actions + 1)
    _, info = env.reset(options={"task": task})
    walk: list[str] = []
    while len(walk) < actions:
        before = env.snapshot()
        action = rng.choice(info["admissible"])
        *_, terminated, _, after = env.step(action)
        if terminated:
            env.restore(before)
        else:
            walk.append(action)
            info = after
    return walk


def time_textworld(games: Sequence[Mapping[str, Any]], walks: Sequence[Sequence[str]]) -> EngineTimes:
    """Measure TextWorld, configured as in ALFWorld, with admissible commands."""
    steps, resets, loads = [], [], []
    for game, walk in zip(games, walks, strict=True):
        start = time.process_time()
        with TextWorldGame(game) as textworld_game:
            textworld_game.reset()
            loads.append(time.process_time() - start)
            resets.append(_cpu(textworld_game.reset))
            start = time.process_time()
            for action in walk:
                textworld_game.step(action)
            steps.append((time.process_time() - start) / len(walk))
    return EngineTimes(statistics.mean(steps), statistics.median(resets), statistics.median(loads))


def time_kintsugi(tasks: TaskSet, walks: Sequence[Sequence[str]]) -> EngineTimes:
    """Measure Kintsugi, created with `gymnasium.make`."""
    register_all()
    env = gymnasium.make("kintsugi/Household-v0")
    steps, resets, loads = [], [], []
    for task, walk in zip(tasks, walks, strict=True):
        loads.append(_cpu(functools.partial(env.reset, options={"task": task})))
        took = 0.0
        for _ in range(REPEATS):
            resets.append(_cpu(functools.partial(env.reset, options={"task": task})))
            start = time.process_time()
            for action in walk:
                env.step(action)
            took += time.process_time() - start
        steps.append(took / REPEATS / len(walk))
    return EngineTimes(statistics.mean(steps), statistics.median(resets), statistics.median(loads))


def _cpu(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def megabytes_of_copies(task: Task, copies: int, rng: random.Random) -> float:
    """Return the memory of `copies` environments in different states of one game, in megabytes."""
    first = HouseholdEnv()
    first.reset(options={"task": task})
    beginning = first.snapshot()
    tracemalloc.start()
    environments: list[AgentEnv] = []
    for _ in range(copies):
        env = HouseholdEnv()
        env.restore(beginning)
        *_, info = env.step("look")
        for _ in range(rng.randrange(8)):
            *_, info = env.step(rng.choice([action for action in info["admissible"] if not action.startswith("move")]))
        environments.append(env)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / 1e6


def report(size: str, games: int, seed: int, copies: int, actions: int = 50) -> str:
    """Return a table that compares both engines on generated games, written as game files."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="kintsugi-") as folder:
        root = Path(folder)
        for task in HouseholdEnv.tasks("valid_unseen", games, seed=seed, size=size):
            engine = engine_of_task(task)
            write_game(root / "valid_unseen" / task.id.replace("/", "-"), engine.game, shortest_plan(engine) or ())
        tasks = HouseholdEnv.tasks("valid_unseen", source="alfworld", path=root)
        files = [json.loads(Path(task.source).read_text(encoding="utf-8")) for task in tasks]
        walks = [walk_of(task, actions - 1, rng) for task in tasks]
        clear_engine_cache()
        ours = time_kintsugi(tasks, walks)
        theirs = time_textworld(files, walks)
        with memoised():
            theirs_memoised = time_textworld(files, walks)
        env = gymnasium.make("kintsugi/Household-v0")
        snapshot = snapshot_restore(env, tasks) * 1e6
        memory = megabytes_of_copies(tasks.tasks[0], copies, rng)
    rows = [
        f"{games} games of size {size}, {len(walks[0])} actions each, CPU time on one core",
        "                   Kintsugi        TextWorld      memoised   ratio   to memoised",
    ]
    for name, unit, scale in (("step", "µs", 1e6), ("reset", "µs", 1e6), ("load", "ms", 1e3)):
        a, b, c = (getattr(timed, name) for timed in (ours, theirs, theirs_memoised))
        rows.append(
            f"  {name:8} {scale * a:12,.2f} {unit} {scale * b:12,.0f} {unit} {scale * c:10,.0f} {unit}"
            f" {b / a:9,.0f} {c / a:9,.0f}"
        )
    rows.append(f"  snapshot + restore {snapshot:12.1f} µs (at most 50)")
    rows.append(f"  {copies:,} environments {memory:12.1f} MB (at most 100)")
    return "\n".join(rows)
