"""The web expert in the real browser: it solves tasks of every type, on sites of every split, always the same way."""

from __future__ import annotations

import contextlib

import pytest
from kintsugi.agents.experts.web import WebExpertAgent
from kintsugi.agents.rollout import Job, play, run_sync
from kintsugi.agents.trajectory import Trajectory
from kintsugi.envs.core import Task
from kintsugi.envs.web import WebEnv
from kintsugi.envs.web.sites.tasks import SPLITS, TYPES

pytestmark = pytest.mark.requires("chromium", "werkzeug")
NUMBER = {split: i for i, split in enumerate(SPLITS)}


def attempt(task: Task) -> Trajectory:
    with contextlib.closing(WebEnv()) as env:
        return run_sync(play(env, Job(task, WebExpertAgent(), 0, source="expert")))


@pytest.mark.parametrize("split", SPLITS)
def test_it_solves_tasks_of_every_type(split):
    """Each type in one of the splits, each split with a third of the types."""
    tasks = WebEnv.tasks(split, len(TYPES)).tasks[NUMBER[split] :: len(SPLITS)]
    for task in tasks:
        made = attempt(task)
        assert made.outcome == "success", (task.params, made.error, made.steps[-1])
        assert made.score == 1.0
        assert made.invalid_actions == 0


def test_the_same_attempt_shows_the_same_to_the_letter():
    for task in WebEnv.tasks("valid", 4):
        one, other = attempt(task), attempt(task)
        assert [step.observation for step in one.steps] == [step.observation for step in other.steps]
        assert one.final_observation == other.final_observation
