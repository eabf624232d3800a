"""Tests of the web expert in a browser: it solves tasks of all types and splits, and is deterministic."""

from __future__ import annotations

import contextlib

import pytest
from kintsugi.agents.experts.web import WebExpertAgent
from kintsugi.agents.rollout import Job, play, run_sync
from kintsugi.agents.trajectory import Trajectory
from kintsugi.envs.core import Task
from kintsugi.envs.web import WebEnv
from kintsugi.envs.web.sites.tasks import SPLITS, TASK_TYPES

pytestmark = pytest.mark.requires("chromium", "werkzeug")
SPLIT_INDEX = {split: i for i, split in enumerate(SPLITS)}


def attempt(task: Task) -> Trajectory:
    with contextlib.closing(WebEnv()) as env:
        return run_sync(play(env, Job(task, WebExpertAgent(), 0, source="expert")))


@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_solves_tasks_of_every_type(split):
    """Each split covers a third of the task types, so together they cover all."""
    tasks = WebEnv.tasks(split, len(TASK_TYPES)).tasks[SPLIT_INDEX[split] :: len(SPLITS)]
    for task in tasks:
        trajectory = attempt(task)
        assert trajectory.outcome == "success", (task.params, trajectory.error, trajectory.steps[-1])
        assert trajectory.score == 1.0
        assert trajectory.invalid_actions == 0


def test_attempts_are_deterministic():
    for task in WebEnv.tasks("valid", 4):
        one, other = attempt(task), attempt(task)
        assert [step.observation for step in one.steps] == [step.observation for step in other.steps]
        assert one.final_observation == other.final_observation
