"""Tests of condensed observations: shorter, but with everything that is new."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.react import ReActConfig, render_chat
from kintsugi.agents.trajectory import Step, Trajectory
from kintsugi.envs import AgentEnv, Task
from kintsugi.envs.web import WebEnv
from kintsugi.envs.web.condense import NOTHING_NEW, condense

SHOP = """URL: http://shop.test/
Title: Welcome
banner
  [1] link 'Shop'
  navigation 'Account'
    [2] link 'Cart (0)'
main
  heading 'Best rated' level 2
  list
    listitem
      heading 'Oak Lamp' level 3
        [3] link 'Oak Lamp'
      text '$31.00'
    listitem
      heading 'Elm Vase' level 3
        [4] link 'Elm Vase'
      text '$12.00'
  text 'Colour'
  [5] combobox 'Colour' value 'Red' options 'Red', "Baker's blue"
  table
    row 'Name | Price'
    row
      rowheader 'Oak Lamp'
        [6] link 'Oak Lamp'
      cell '2'
contentinfo 'Shop. The end.'"""


def test_numbers_follow_names_and_each_row_is_one_line():
    assert condense(SHOP) == "\n".join(
        [
            "Title: Welcome",
            "link 'Shop' [1]",
            "link 'Cart (0)' [2]",
            "heading 'Best rated'",
            "link 'Oak Lamp' [3] '$31.00'",
            "link 'Elm Vase' [4] '$12.00'",
            "combobox 'Colour' [5] value 'Red' options 'Red', \"Baker's blue\"",
            "'Name | Price'",
            "link 'Oak Lamp' [6] '2'",
        ]
    )


def test_only_changed_lines_are_kept_on_the_same_url():
    assert condense(SHOP, SHOP) == NOTHING_NEW
    chosen = SHOP.replace("value 'Red'", 'value "Baker\'s blue" focused')
    assert condense(chosen, SHOP) == "combobox 'Colour' [5] value \"Baker's blue\" options 'Red', \"Baker's blue\""
    assert condense(f"Refused: there is no element [9] on this page\n{SHOP}", SHOP).startswith("Refused: there is no")


def test_everything_below_the_menu_is_kept_on_another_url():
    other = SHOP.replace("shop.test/", "shop.test/sorted").replace("[3] link 'Oak Lamp'", "[3] link 'Ash Chair'")
    found = condense(other, SHOP).split("\n")
    assert found[:2] == ["Title: Welcome", "heading 'Best rated'"]
    assert "link 'Elm Vase' [4] '$12.00'" in found
    assert "link 'Shop' [1]" not in found
    fuller = other.replace("Cart (0)", "Cart (1)")
    assert condense(fuller, SHOP).split("\n")[1] == "link 'Cart (1)' [2]"


@given(st.text(), st.one_of(st.none(), st.text()))
def test_any_text_can_be_condensed(text, before):
    assert isinstance(condense(text, before), str)
    assert condense(f"URL: x\nRefused: {text!r}", before).startswith("Refused: ")


def test_chats_are_condensed_unless_disabled():
    task = Task("t", WebEnv.env_id, "train", 0)
    steps = (Step(SHOP, "a", "wait"), Step(SHOP, "b", "stop"))
    attempt = Trajectory(task, steps, SHOP, "failure", 0.0, "policy", "m", 0, goal="g")
    assert [m.content for m in render_chat(attempt, ReActConfig()) if m.role == "user"] == [
        condense(SHOP),
        f"{NOTHING_NEW}\nYour task is to: g",
    ]
    whole = render_chat(attempt, ReActConfig(condense=False))
    assert [m.content for m in whole if m.role == "user"] == [SHOP, f"{SHOP}\nYour task is to: g"]


def test_other_environments_keep_the_whole_observation():
    assert AgentEnv.condense("a", "a") == "a"
    attempt = Trajectory(
        Task("t", "nowhere/World-v0", "train", 0), (Step("a", "", "x"),), "a", "failure", 0.0, "policy", "m", 0
    )
    assert render_chat(attempt, ReActConfig())[1].content == "a"
