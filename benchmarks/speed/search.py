"""Speed of tree search: `python -m kintsugi.benchmarks.speed.search`.

In one run and interleaved: the same trees (UCT, depth 20) grown from snapshots, and by playing every action again from
the beginning for each node, as Agent-R does; with a policy that costs nothing. Then the share of the wall time that is
not the model with the seed policy. Household plays a step in microseconds, so that what a search itself does outweighs
the world; a second world waits a millisecond a step, as game engines, sandboxes and browsers do at least. `--against
textworld` also replays the same games in ALFWorld's own engine, which is what Agent-R does (extra `alfworld`).
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

DEPTH = 20
SLOW_STEP = 1e-3
"""Seconds that a step of the slow world waits."""


class Replayed(HouseholdEnv):
    """The same world, brought back to an instant by playing it again."""

    metadata = {**HouseholdEnv.metadata, "snapshot": "replay"}


class Slow(HouseholdEnv):
    """The same world, slow to step."""

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        """Wait, then act."""
        time.sleep(SLOW_STEP)
        return super().act(action)


class SlowReplayed(Slow):
    """Both."""

    metadata = Replayed.metadata


class Free(RuleAgent):
    """A policy that costs nothing: an admissible action by seed."""

    name = "free"

    async def act(self, episode: Episode) -> Step:
        """At once."""
        actions = episode.info["admissible"]
        return Step(episode.observation, "", actions[episode.seed % len(actions)])


@dataclass(frozen=True)
class Compared:
    """One world, both ways."""

    exact: SearchStats
    replayed: SearchStats
    depth: float
    """Mean depth of the nodes."""

    @property
    def ratio(self) -> float:
        """Nodes a second from snapshots over nodes a second by replay."""
        return (self.exact.nodes / self.exact.wall) / (self.replayed.nodes / self.replayed.wall)

    @property
    def world_ratio(self) -> float:
        """The same of the time that the environment took alone."""
        return (self.exact.nodes / self.exact.env) / (self.replayed.nodes / self.replayed.env)


def compare(
    exact: Callable[[], AgentEnv],
    replayed: Callable[[], AgentEnv],
    tasks: Iterable[Task],
    iterations: int,
    rounds: int = 3,
) -> Compared:
    """The same trees from snapshots and by replay, in `rounds` alternating parts."""
    jobs = [Job(task, Free(), 1) for task in tasks]
    config, ours, theirs = Uct(iterations=iterations, max_depth=DEPTH), SearchStats(), SearchStats()
    grown: list[SearchTree] = []
    for part in range(rounds):
        mine = search(exact, jobs[part::rounds], config, stats=ours)
        if search(replayed, jobs[part::rounds], config, stats=theirs) != mine:
            raise AssertionError("snapshots and replay led to different trees")
        grown += mine
    depths = [tree.depth(number) for tree in grown for number in range(1, len(tree))]
    return Compared(ours, theirs, sum(depths) / len(depths))


def against_textworld(games: int) -> Compared:
    """Games of ALFWorld's format: our engine with snapshots, and ALFWorld's own by replay."""
    from ..textworld.original import OriginalEnv

    with tempfile.TemporaryDirectory(prefix="kintsugi-") as folder:
        for task in HouseholdEnv.tasks("train", games, seed=5):
            engine = engine_of_task(task)
            path = Path(folder) / "train" / task.id.replace("/", "-")
            write_game(path, engine.game, shortest_plan(engine) or ())
        return compare(
            HouseholdEnv, OriginalEnv, HouseholdEnv.tasks("train", source="alfworld", path=folder), 1, rounds=1
        )


def with_seed_policy(model: Path | str, trees: int) -> tuple[SearchStats, Sequence[SearchTree]]:
    """What a search by the seed policy costs."""
    acting = ReActAgent(LocalModel.load(model, slots=256, exact=True), ReActConfig(temperature=1.0, max_tokens=32))
    jobs, stats = [Job(task, acting, 1) for task in HouseholdEnv.tasks("train", trees, seed=5)], SearchStats()
    return stats, search(HouseholdEnv, jobs, Uct(iterations=2, max_depth=DEPTH), stats=stats, at_once=32)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a model folder; the household seed policy when not given")
    parser.add_argument("--trees", type=positive, default=24, help="trees of each search with the free policy")
    parser.add_argument("--seed-trees", type=positive, default=32, help="trees searched by the seed policy")
    parser.add_argument("--against", choices=("textworld",), help="also replay in ALFWorld's own engine")
    wanted = parser.parse_args()
    if wanted.model is None:
        from ...loops.seeds.recipe import seed_model
        from ...loops.seeds.registry import recipe_of

        wanted.model = seed_model(recipe_of("household"))
    tasks = [*HouseholdEnv.tasks("train", wanted.trees, seed=5)]
    worlds: dict[str, Callable[[], Compared]] = {
        "household": lambda: compare(HouseholdEnv, Replayed, tasks, 8),
        "1 ms a step": lambda: compare(Slow, SlowReplayed, tasks[: max(3, wanted.trees // 8)], 2),
    }
    if wanted.against:
        worlds["household, replay in ALFWorld's own engine"] = lambda: against_textworld(1)
    for name, made in worlds.items():
        found = made()
        print(f"{name} (free policy, {found.exact.nodes} nodes, mean depth {found.depth:.1f} of {DEPTH})")
        print(f"  nodes/s, snapshots           {found.exact.nodes / found.exact.wall:10.0f}")
        print(f"  nodes/s, replay              {found.replayed.nodes / found.replayed.wall:10.0f}")
        print(f"  ratio                        {found.ratio:10.1f}  (at least 5)")
        print(f"  ratio of the world's time    {found.world_ratio:10.1f}")
        print(f"  actions played again         {found.replayed.replayed_steps:10d}")
    stats, trees = with_seed_policy(wanted.model, wanted.seed_trees)
    print(f"household, seed policy: {stats}")
    print(f"  completions/s                {sum(t.usage.model_calls for t in trees) / stats.wall:10.0f}")
    print(f"  not model                    {100 * (1 - stats.model / stats.wall):10.1f} % of the wall (at most 10)")


if __name__ == "__main__":
    run(main)
