"""Speed of the household environment: `python -m kintsugi.benchmarks.speed.household`.

The environment is created with `gymnasium.make`, and each step returns `info["admissible"]`. Actions are drawn from
that list, so the time to draw them is included.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import gymnasium

from ...envs.household import HouseholdEnv
from ...envs.registry import register_all
from ..scripts import natural, positive, run
from .snapshots import snapshot_restore


@dataclass(frozen=True)
class Speed:
    """Speed of the environment on one core."""

    size: str
    """Size of the worlds."""
    steps_per_second: float
    """Random admissible actions per second of wall time, over all attempts."""
    steps_per_cpu_second: float
    """The same per second of CPU time, which depends less on other programs."""
    steps_per_second_new: float
    """Steps per second of wall time in first attempts, before anything is cached."""
    reset_ms: float
    """Median time of `reset` to a new task, whose world must be generated, in milliseconds."""
    reset_again_ms: float
    """Median time of `reset` to the previous task, in milliseconds."""
    snapshot_restore_us: float
    """Median time of `snapshot` and `restore` in the middle of an episode, in microseconds."""


def measure(size: str, tasks: int = 100, attempts: int = 4, seed: int = 0) -> Speed:
    """Play `attempts` random episodes of each of `tasks` tasks, and measure the speed."""
    register_all()
    env = gymnasium.make("kintsugi/Household-v0")
    rng = random.Random(seed)
    resets: list[float] = []
    repeated_resets: list[float] = []
    times, steps, cpu = [0.0] * attempts, [0] * attempts, 0.0
    task_set = HouseholdEnv.tasks("train", tasks + 1, seed=seed, size=size)
    # Layouts are drawn once per process. This reset keeps their time out of the measurement.
    env.reset(options={"task": task_set.tasks[-1]})
    for task in task_set.tasks[:tasks]:
        for attempt in range(attempts):
            start = time.perf_counter()
            _, info = env.reset(options={"task": task})
            middle, cpu_start = time.perf_counter(), time.process_time()
            steps[attempt] += _episode(env, info["admissible"], rng.random)
            times[attempt] += time.perf_counter() - middle
            cpu += time.process_time() - cpu_start
            (repeated_resets if attempt else resets).append(middle - start)
    return Speed(
        size=size,
        steps_per_second=sum(steps) / sum(times),
        steps_per_cpu_second=sum(steps) / cpu,
        steps_per_second_new=steps[0] / times[0],
        reset_ms=statistics.median(resets) * 1e3,
        reset_again_ms=statistics.median(repeated_resets) * 1e3,
        snapshot_restore_us=snapshot_restore(env, task_set) * 1e6,
    )


def _episode(env: gymnasium.Env[str, str], admissible: tuple[str, ...], draw: Callable[[], float]) -> int:
    steps, over = 0, False
    while not over:
        _, _, terminated, truncated, info = env.step(admissible[int(draw() * len(admissible))])
        admissible, over, steps = info["admissible"], terminated or truncated, steps + 1
    return steps


def main() -> None:
    """Print the results, one per line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", choices=("textworld",), help="compare with ALFWorld's engine")
    parser.add_argument("--size", choices=("small", "medium", "kitchen"), default="kitchen", help="size of the worlds")
    parser.add_argument("--tasks", type=positive, default=100, help="number of tasks")
    parser.add_argument("--seed", type=natural, default=0, help="seed of tasks and actions")
    parser.add_argument("--games", type=positive, default=3, help="number of games in the comparison")
    parser.add_argument("--copies", type=positive, default=1000, help="number of environments whose memory is measured")
    arguments = parser.parse_args()
    if arguments.against:
        from .against_textworld import report

        print(report(arguments.size, arguments.games, arguments.seed, arguments.copies))
        return
    speed = measure(arguments.size, arguments.tasks, seed=arguments.seed)
    print(f"household, size {speed.size}, one core, gymnasium.make, with admissible commands")
    print(f"  steps/s                {speed.steps_per_second:12,.0f}   (at least 50,000)")
    print(f"  steps/s of CPU time    {speed.steps_per_cpu_second:12,.0f}")
    print(f"  steps/s, first attempt {speed.steps_per_second_new:12,.0f}")
    print(f"  reset, new task        {speed.reset_ms:12.3f} ms (at most 1)")
    print(f"  reset, same task       {speed.reset_again_ms:12.3f} ms")
    print(f"  snapshot + restore     {speed.snapshot_restore_us:12.1f} µs (at most 50)")


if __name__ == "__main__":
    run(main)
