"""Tree search in the built-in environments, with exact and with replay snapshots."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from kintsugi.agents.core import Episode, RuleAgent
from kintsugi.agents.rollout import Job
from kintsugi.agents.search import SearchStats, SearchTree, Uct, search
from kintsugi.agents.trajectory import Step
from kintsugi.envs.registry import find

SOLUTION = "write\ndef solve(xs):\n    return {}"


class RandomAgent(RuleAgent):
    """Plays an admissible action that depends on the seed."""

    name = "free"

    async def act(self, episode: Episode) -> Step:
        written = [SOLUTION.format(value) for value in ("xs", "None")]
        actions = episode.info.get("admissible") or [*written, "test", "submit"]
        return Step(episode.observation, "", actions[episode.seed % len(actions)])


def grow(name: str, at_once: int, stats: SearchStats | None = None) -> list[SearchTree]:
    env = find(name).load()
    exact = env.metadata["snapshot"] == "exact"
    jobs = [
        Job(task, RandomAgent(), 7 + number) for number, task in enumerate(env.tasks("train", 2 if exact else 1, 5))
    ]
    config = Uct(candidates=2, iterations=3 if exact else 2, max_depth=4 if exact else 3)
    return search(env, jobs, config, at_once=at_once, stats=stats)


def replay(env: Any, tree: SearchTree, end: int) -> tuple[list[str], float]:
    """Play the actions on the path to `end` and return all observations and the final score."""
    observation, info = env.reset(options={"task": tree.task})
    shown = [observation]
    for step in tree.steps(end):
        observation, *_, info = env.step(step.action)
        shown.append(observation)
    return shown, info["score"]


@pytest.mark.parametrize(
    "name",
    [
        "household",
        pytest.param("code", marks=pytest.mark.requires("sandbox")),
        pytest.param("web", marks=pytest.mark.requires("chromium")),
        "trading",
    ],
)
def test_the_environment_repeats_the_observations_and_scores_of_a_tree(name):
    stats = SearchStats()
    trees = grow(name, 2, stats)
    env_class = find(name).load()
    assert (stats.replayed_steps == 0) == (env_class.metadata["snapshot"] == "exact")
    assert stats.restores > 0
    assert all(len(tree) > 3 and len(list(tree.ends())) > 1 for tree in trees)
    with contextlib.closing(env_class()) as env:
        for tree in trees:
            for end in list(tree.ends())[:2]:
                seen = [tree.nodes[number].observation for number in [0, *tree.path(end)[1:]]]
                assert replay(env, tree, end) == (seen, tree.nodes[end].score)
    assert grow(name, 1) == trees
