"""How long it takes to keep an instant of the household and to go back to it."""

from __future__ import annotations

import statistics
import time

import gymnasium

from ...envs.core import AgentEnv, TaskSet


def snapshot_restore(env: gymnasium.Env[str, str], tasks: TaskSet, rounds: int = 2000) -> float:
    """Median seconds of a `snapshot` and a `restore`, ten steps into the first task."""
    _, info = env.reset(options={"task": tasks.tasks[0]})
    for number in range(10):
        *_, info = env.step(info["admissible"][number % len(info["admissible"])])
    world = env.unwrapped
    assert isinstance(world, AgentEnv)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        world.restore(world.snapshot())
        times.append(time.perf_counter() - start)
    return statistics.median(times)
