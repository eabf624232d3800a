"""Speed of tree search: `python -m kintsugi.benchmarks.speed.search`.

Compares exact snapshots with replay. Both search the same trees (UCT, depth 20) in turn, with a rule-based agent.
Replay plays all actions again from the start for each node, as Agent-R's code does.

The household environment needs microseconds per step, so the search itself dominates. The second comparison therefore
waits 1 ms per step, the least that game engines, sandboxes and browsers need. `--against textworld` also replays the
same games in ALFWorld's own engine, as Agent-R does (extra `alfworld`).

The last part measures the share of wall time outside the model for a search with the seed policy.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...agents.core import Episode, RuleAgent
from ...agents.models.local import LocalModel
from ...agents.react import ReActAgent, ReActConfig
from ...agents.rollout import Job
from ...agents.search import SearchStats, SearchTree, Uct, search
from ...agents.trajectory import Step
from ...envs.core import AgentEnv, Task
from ...envs.household import HouseholdEnv
from ...envs.household.alfworld.export import write_game
from ...envs.household.env import engine_of_task
from ...envs.household.planner import shortest_plan
from ..scripts import positive, run

MAX_DEPTH = 20
"""Depth limit of all searches, in turns."""
SLOW_STEP = 1e-3
"""Seconds per step of the slow environment."""


class ReplayHousehold(HouseholdEnv):
    """The household environment with replay snapshots."""

    metadata = {**HouseholdEnv.metadata, "snapshot": "replay"}


class SlowHousehold(HouseholdEnv):
    """The household environment with slow steps."""

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        """Wait, then play the action."""
        time.sleep(SLOW_STEP)
        return super().act(action)


class SlowReplayHousehold(SlowHousehold):
    """The household environment with slow steps and replay snapshots."""

    metadata = ReplayHousehold.metadata


class RandomAgent(RuleAgent):
    """An agent without a model, which plays an admissible action that depends on the seed."""

    name = "free"

    async def act(self, episode: Episode) -> Step:
        """Return the step at once."""
        actions = episode.info["admissible"]
        return Step(episode.observation, "", actions[episode.seed % len(actions)])


@dataclass(frozen=True)
class SpeedComparison:
    """Costs of the same searches with exact snapshots and with replay."""

    exact: SearchStats
    replayed: SearchStats
    depth: float
    """Mean depth of the nodes, without roots."""

    @property
    def ratio(self) -> float:
        """Nodes per second of wall time: exact snapshots divided by replay."""
        return (self.exact.nodes / self.exact.wall) / (self.replayed.nodes / self.replayed.wall)

    @property
    def env_ratio(self) -> float:
        """Nodes per second of environment time: exact snapshots divided by replay."""
        return (self.exact.nodes / self.exact.env) / (self.replayed.nodes / self.replayed.env)


def compare(
    exact: Callable[[], AgentEnv],
    replayed: Callable[[], AgentEnv],
    tasks: Iterable[Task],
    iterations: int,
    parts: int = 3,
) -> SpeedComparison:
    """Search the same trees with exact snapshots and with replay.

    Args:
        exact: Makes an environment with exact snapshots.
        replayed: Makes an environment with replay snapshots that gives the same episodes.
        tasks: One tree is searched for each task.
        iterations: Descents per tree.
        parts: Number of parts that the tasks are split into. Both searches take turns, part by part.

    Raises:
        AssertionError: If the trees differ.
    """
    jobs = [Job(task, RandomAgent(), 1) for task in tasks]
    config, exact_stats, replay_stats = Uct(iterations=iterations, max_depth=MAX_DEPTH), SearchStats(), SearchStats()
    trees: list[SearchTree] = []
    for part in range(parts):
        searched = search(exact, jobs[part::parts], config, stats=exact_stats)
        if search(replayed, jobs[part::parts], config, stats=replay_stats) != searched:
            raise AssertionError("exact snapshots and replay gave different trees")
        trees += searched
    depths = [tree.depth(number) for tree in trees for number in range(1, len(tree))]
    return SpeedComparison(exact_stats, replay_stats, sum(depths) / len(depths))


def against_textworld(games: int) -> SpeedComparison:
    """Compare Kintsugi's engine with snapshots to ALFWorld's own engine with replay, on games in ALFWorld's format."""
    from ..textworld.textworld_env import TextWorldEnv

    with tempfile.TemporaryDirectory(prefix="kintsugi-") as folder:
        for task in HouseholdEnv.tasks("train", games, seed=5):
            engine = engine_of_task(task)
            path = Path(folder) / "train" / task.id.replace("/", "-")
            write_game(path, engine.game, shortest_plan(engine) or ())
        return compare(
            HouseholdEnv, TextWorldEnv, HouseholdEnv.tasks("train", source="alfworld", path=folder), 1, parts=1
        )


def with_seed_policy(model: Path | str, trees: int) -> tuple[SearchStats, Sequence[SearchTree]]:
    """Search with the seed policy and return the cost and the trees."""
    agent = ReActAgent(LocalModel.load(model, slots=256, exact=True), ReActConfig(temperature=1.0, max_tokens=32))
    jobs, stats = [Job(task, agent, 1) for task in HouseholdEnv.tasks("train", trees, seed=5)], SearchStats()
    return stats, search(HouseholdEnv, jobs, Uct(iterations=2, max_depth=MAX_DEPTH), stats=stats, at_once=32)


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="model folder (default: the household seed policy)")
    parser.add_argument("--trees", type=positive, default=24, help="number of trees of each search without a model")
    parser.add_argument("--seed-trees", type=positive, default=32, help="number of trees searched with the seed policy")
    parser.add_argument("--against", choices=("textworld",), help="also replay in ALFWorld's own engine")
    arguments = parser.parse_args()
    if arguments.model is None:
        from ...loops.seeds.recipe import seed_model
        from ...loops.seeds.registry import recipe_of

        arguments.model = seed_model(recipe_of("household"))
    tasks = [*HouseholdEnv.tasks("train", arguments.trees, seed=5)]
    comparisons: dict[str, Callable[[], SpeedComparison]] = {
        "household": lambda: compare(HouseholdEnv, ReplayHousehold, tasks, 8),
        "1 ms per step": lambda: compare(SlowHousehold, SlowReplayHousehold, tasks[: max(3, arguments.trees // 8)], 2),
    }
    if arguments.against:
        comparisons["household, replay in ALFWorld's own engine"] = lambda: against_textworld(1)
    for name, measure in comparisons.items():
        found = measure()
        print(f"{name} (no model, {found.exact.nodes} nodes, mean depth {found.depth:.1f} of {MAX_DEPTH})")
        print(f"  nodes/s, snapshots           {found.exact.nodes / found.exact.wall:10.0f}")
        print(f"  nodes/s, replay              {found.replayed.nodes / found.replayed.wall:10.0f}")
        print(f"  ratio                        {found.ratio:10.1f}  (at least 5)")
        print(f"  ratio of environment time    {found.env_ratio:10.1f}")
        print(f"  replayed actions             {found.replayed.replayed_steps:10d}")
    stats, trees = with_seed_policy(arguments.model, arguments.seed_trees)
    print(f"household, seed policy: {stats}")
    print(f"  completions/s                {sum(t.usage.model_calls for t in trees) / stats.wall:10.0f}")
    print(f"  outside the model            {100 * (1 - stats.model / stats.wall):10.1f} % of wall time (at most 10)")


if __name__ == "__main__":
    run(main)
