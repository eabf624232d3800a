"""Tests that the web environment follows the environment interface."""

from __future__ import annotations

import pytest
from bad_site import ClickTest, html, task_at
from kintsugi.envs import check_agent_env

pytestmark = pytest.mark.requires("chromium")


@pytest.mark.requires("miniwob")
def test_the_environment_checks_pass(chromium):
    check_agent_env(ClickTest, task=ClickTest.tasks("train", 1).tasks[0], steps=4, copies=2)


def test_a_snapshot_restores_the_page_and_the_element_numbers(web_class, site):
    site.pages["/state"] = html("State", "<button onclick='n.textContent += 1'>Add</button><p id=n>0</p>")
    env, other = web_class(), web_class()
    env.reset(options={"task": task_at("/state")})
    env.step("click [1]")
    taken = env.snapshot()
    later = env.step("click [1]")
    other.restore(taken)
    assert other.step("click [1]") == later
    for each in (env, other):
        each.close()
