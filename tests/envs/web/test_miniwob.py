"""MiniWoB++ in the real browser: every page the package ships, and beginning again without loading again."""

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


def first(page, seed=0):
    return WebEnv.tasks("train", seed + 1, world="miniwob", page=page).tasks[seed]


def test_all_pages_load_are_seen_take_an_action_and_end_with_a_reward(env):
    assert len(miniwob.pages()) == 130
    for page in miniwob.pages():
        observation, info = env.reset(options={"task": first(page)})
        assert info["goal"]
        assert f"Task: {info['goal']}\n" in observation
        _, reward, over, _, info = env.step(info["admissible"][0])
        assert -1 <= reward <= 1, page
        if not over:
            # The page's own end, as its clock running out makes it.
            env._run(env._episode.session.active.evaluate("core.endEpisode(-1, false, 'late')"))
            _, reward, over, _, info = env.step("wait")
            assert reward == -1, page
        assert over, page
        assert info["success"] == (reward > 0)


def test_rewards_are_the_pages_own(env):
    observation, _ = env.reset(options={"task": first("click-test-2")})
    number = observation.partition("] button 'ONE'")[0][-1]
    assert env.step(f"click [{number}]")[1:3] == (1.0, True)
    env.reset(options={"task": first("click-test-2")})
    observation, reward, over, _, info = env.step("stop")
    assert (reward, over, info["success"]) == (0.0, True, False)


@pytest.mark.parametrize("page", ["click-checkboxes", "login-user", "email-inbox", "click-tab-2"])
def test_beginning_again_shows_what_loading_again_shows(env, page):
    def episode(task, other):
        observation, info = other.reset(options={"task": task})
        seen = [observation]
        for number in range(3):
            action = info["admissible"][number % len(info["admissible"])]
            observation, _, over, _, info = other.step(action)
            seen.append(observation)
            if over:
                break
        return seen

    fresh = WebEnv(config=SMALL)
    episode(first(page, 0), env)
    assert episode(first(page, 1), env) == episode(first(page, 1), fresh)
    fresh.close()


def test_splits_share_no_seed_and_unseen_pages_are_unseen():
    sets = {split: WebEnv.tasks(split, world="miniwob") for split in miniwob.SPLITS}
    pages = {split: {task.params["type"] for task in tasks} for split, tasks in sets.items()}
    assert pages["train"] == pages["valid"]
    assert not pages["train"] & pages["valid_unseen"]
    assert pages["train"] | pages["valid_unseen"] == set(miniwob.pages())
    assert not {task.seed for task in sets["train"]} & {task.seed for task in sets["valid"]}
    with pytest.raises(UsageError, match="did you mean"):
        WebEnv.tasks("train", 1, world="miniwob", page="click-tset")
