"""Tests of MiniWoB++ in the real browser: all pages of the package, and restarts without a reload."""

from __future__ import annotations

import pytest
from kintsugi.envs.web import WebConfig, WebEnv
from kintsugi.envs.web.view import View
from kintsugi.envs.web.worlds import miniwob
from kintsugi.errors import UsageError

pytestmark = [pytest.mark.requires("chromium"), pytest.mark.requires("miniwob")]
SMALL = WebConfig(view=View(width=332, height=214))


@pytest.fixture(scope="module")
def env():
    made = WebEnv(config=SMALL, max_steps=1000)
    yield made
    made.close()


def task_of(page, number=0):
    return WebEnv.tasks("train", number + 1, world="miniwob", page=page).tasks[number]


def test_every_page_accepts_an_action_and_ends_with_a_reward(env):
    assert len(miniwob.pages()) == 130
    for page in miniwob.pages():
        observation, info = env.reset(options={"task": task_of(page)})
        assert info["goal"]
        assert f"Task: {info['goal']}\n" in observation
        _, reward, over, _, info = env.step(info["admissible"][0])
        assert -1 <= reward <= 1, page
        if not over:
            # End the page as its time limit would.
            env._run(env._episode.session.active.evaluate("core.endEpisode(-1, false, 'late')"))
            _, reward, over, _, info = env.step("wait")
            assert reward == -1, page
        assert over, page
        assert info["success"] == (reward > 0)


def test_rewards_come_from_the_page(env):
    observation, _ = env.reset(options={"task": task_of("click-test-2")})
    number = observation.partition("] button 'ONE'")[0][-1]
    assert env.step(f"click [{number}]")[1:3] == (1.0, True)
    env.reset(options={"task": task_of("click-test-2")})
    observation, reward, over, _, info = env.step("stop")
    assert (reward, over, info["success"]) == (0.0, True, False)


def test_leaving_the_page_is_a_failure(env):
    env.reset(options={"task": WebEnv.tasks("train", 1, world="miniwob", page="click-test").tasks[0]})
    session = env._episode.session
    env._run(session.perform(session.navigate("about:blank")))
    _, reward, over, _, info = env.step("wait")
    assert (reward, over, info["success"]) == (0.0, True, False)


@pytest.mark.parametrize("page", ["click-checkboxes", "login-user", "email-inbox", "click-tab-2"])
def test_a_restart_shows_the_same_as_a_reload(env, page):
    def observations(task, other):
        observation, info = other.reset(options={"task": task})
        found = [observation]
        for number in range(3):
            action = info["admissible"][number % len(info["admissible"])]
            observation, _, over, _, info = other.step(action)
            found.append(observation)
            if over:
                break
        return found

    fresh = WebEnv(config=SMALL)
    observations(task_of(page, 0), env)
    assert observations(task_of(page, 1), env) == observations(task_of(page, 1), fresh)
    fresh.close()


def test_splits_share_no_seeds_and_unseen_pages_are_separate():
    sets = {split: WebEnv.tasks(split, world="miniwob") for split in miniwob.SPLITS}
    pages = {split: {task.params["type"] for task in tasks} for split, tasks in sets.items()}
    assert pages["train"] == pages["valid"]
    assert not pages["train"] & pages["valid_unseen"]
    assert pages["train"] | pages["valid_unseen"] == set(miniwob.pages())
    assert not {task.seed for task in sets["train"]} & {task.seed for task in sets["valid"]}
    with pytest.raises(UsageError, match="did you mean"):
        WebEnv.tasks("train", 1, world="miniwob", page="click-tset")
