"""Speed of the household environment: `python -m kintsugi.benchmarks.speed.household`.

Everything goes through `gymnasium.make` and every step returns `info["admissible"]`. The actions are drawn from it, so
the time of drawing them is in the figures.
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
    """What one run measured, on one core."""

    size: str
    """Size of the worlds."""
    steps_per_second: float
    """Random admissible actions, four attempts at every task; wall time."""
    steps_per_cpu_second: float
    """The same in CPU time, which other programs on the machine disturb less."""
    steps_per_second_new: float
    """The same for the first attempts alone, when nothing is remembered of the world yet."""
    reset_ms: float
    """Median `reset` to a task that this process never met: the world is generated and laid out."""
    reset_again_ms: float
    """Median `reset` to a task that was just played."""
    snapshot_restore_us: float
    """Median `snapshot` and `restore` in the middle of an episode."""


def measure(size: str, tasks: int = 100, attempts: int = 4, seed: int = 0) -> Speed:
    """Play `attempts` random episodes of each of `tasks` tasks and time them."""
    register_all()
    env = gymnasium.make("kintsugi/Household-v0")
    rng = random.Random(seed)
    resets: list[float] = []
    again: list[float] = []
    times, steps, cpu = [0.0] * attempts, [0] * attempts, 0.0
    todo = HouseholdEnv.tasks("train", tasks + 1, seed=seed, size=size)
    # The layouts of a size are drawn once in a process; that is no part of a reset.
    env.reset(options={"task": todo.tasks[-1]})
    for task in todo.tasks[:tasks]:
        for attempt in range(attempts):
            start = time.perf_counter()
            _, info = env.reset(options={"task": task})
            middle, cpu_start = time.perf_counter(), time.process_time()
            steps[attempt] += _episode(env, info["admissible"], rng.random)
            times[attempt] += time.perf_counter() - middle
            cpu += time.process_time() - cpu_start
            (again if attempt else resets).append(middle - start)
    return Speed(
        size=size,
        steps_per_second=sum(steps) / sum(times),
        steps_per_cpu_second=sum(steps) / cpu,
        steps_per_second_new=steps[0] / times[0],
        reset_ms=statistics.median(resets) * 1e3,
        reset_again_ms=statistics.median(again) * 1e3,
        snapshot_restore_us=snapshot_restore(env, todo) * 1e6,
    )


def _episode(env: gymnasium.Env[str, str], admissible: tuple[str, ...], draw: Callable[[], float]) -> int:
    steps, over = 0, False
    while not over:
        _, _, terminated, truncated, info = env.step(admissible[int(draw() * len(admissible))])
        admissible, over, steps = info["admissible"], terminated or truncated, steps + 1
    return steps


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", choices=("textworld",), help="compare with ALFWorld's own engine")
    parser.add_argument("--size", choices=("small", "medium", "kitchen"), default="kitchen")
    parser.add_argument("--tasks", type=positive, default=100)
    parser.add_argument("--seed", type=natural, default=0)
    parser.add_argument("--games", type=positive, default=3, help="games to compare on")
    parser.add_argument("--copies", type=positive, default=1000, help="live copies whose memory is measured")
    arguments = parser.parse_args()
    if arguments.against:
        from .against_textworld import report

        print(report(arguments.size, arguments.games, arguments.seed, arguments.copies))
        return
    speed = measure(arguments.size, arguments.tasks, seed=arguments.seed)
    print(f"household, size {speed.size}, one core, gymnasium.make, admissible commands included")
    print(f"  steps/s                {speed.steps_per_second:12,.0f}   (at least 50,000)")
    print(f"  steps/s of CPU time    {speed.steps_per_cpu_second:12,.0f}")
    print(f"  steps/s, first attempt {speed.steps_per_second_new:12,.0f}")
    print(f"  reset, new task        {speed.reset_ms:12.3f} ms (at most 1)")
    print(f"  reset, same task       {speed.reset_again_ms:12.3f} ms")
    print(f"  snapshot + restore     {speed.snapshot_restore_us:12.1f} µs (at most 50)")


if __name__ == "__main__":
    run(main)
