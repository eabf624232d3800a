"""ALFWorld's engine as an environment: the same episodes and search trees as with Kintsugi's engine."""

from __future__ import annotations

import contextlib

import pytest
from kintsugi.agents.rollout import Job
from kintsugi.agents.search import SearchStats, Uct, search
from kintsugi.benchmarks.speed.search import RandomAgent
from kintsugi.benchmarks.textworld.textworld_env import TextWorldEnv
from kintsugi.benchmarks.textworld.textworld_game import memoised
from kintsugi.envs.household import HouseholdEnv
from kintsugi.envs.household.alfworld.export import write_game
from kintsugi.envs.household.env import engine_of_task
from kintsugi.envs.household.planner import shortest_plan

pytestmark = pytest.mark.requires("textworld", "alfworld")


@pytest.fixture
def tasks(tmp_path):
    for task in HouseholdEnv.tasks("train", 1, seed=5):
        engine = engine_of_task(task)
        write_game(tmp_path / "train" / "game", engine.game, shortest_plan(engine) or ())
    return HouseholdEnv.tasks("train", source="alfworld", path=tmp_path)


def test_episodes_are_equal(tasks):
    [task] = tasks
    with memoised(), contextlib.closing(TextWorldEnv()) as theirs, contextlib.closing(HouseholdEnv()) as ours:
        plan = shortest_plan(engine_of_task(task)) or ()
        seen = [env.reset(options={"task": task}) for env in (theirs, ours)]
        assert seen[0] == seen[1]
        for action in ("look", *plan):
            their_step, our_step = (env.step(action) for env in (theirs, ours))
            assert their_step == our_step
        assert our_step[4]["success"]


def test_replays_and_snapshots_lead_to_the_same_tree(tasks):
    config, stats = Uct(candidates=2, iterations=1, max_depth=3), SearchStats()
    with memoised():
        replayed = search(TextWorldEnv, [Job(task, RandomAgent(), 1) for task in tasks], config, stats=stats)
    assert replayed == search(HouseholdEnv, [Job(task, RandomAgent(), 1) for task in tasks], config)
    assert stats.replayed_steps > 0
