"""Time to take a snapshot of an environment and to restore it."""

from __future__ import annotations

import statistics
import time

import gymnasium

from ...envs.core import AgentEnv, TaskSet


def snapshot_restore(env: gymnasium.Env[str, str], tasks: TaskSet, repeats: int = 2000) -> float:
    """Return the median seconds of one `snapshot` and `restore`, after ten steps of the first task."""
    _, info = env.reset(options={"task": tasks.tasks[0]})
    for number in range(10):
        *_, info = env.step(info["admissible"][number % len(info["admissible"])])
    agent_env = env.unwrapped
    assert isinstance(agent_env, AgentEnv)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        agent_env.restore(agent_env.snapshot())
        times.append(time.perf_counter() - start)
    return statistics.median(times)
