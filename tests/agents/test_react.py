"""The ReAct agent: what it asks, what it makes of the answer, and what is later learnt from it."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.models import Message
from kintsugi.agents.models.core import derived_seed
from kintsugi.agents.react import (
    ACTION,
    SYSTEM,
    ReActAgent,
    ReActConfig,
    parse,
    render_chat,
    turn_text,
    without_refused,
)
from kintsugi.agents.rollout import Job, play
from kintsugi.agents.trajectory import Step
from recorders import Recorder
from tiny_envs import Echo, Lamps

LINES = [f"Thought: hm {c}\nAction: light {c}" for c in ("green", "blue", "red")]


def played(model: Recorder, world: Any = Lamps, **config: Any):
    env, agent = world(max_steps=4), ReActAgent(model, ReActConfig(max_tokens=99, **config))
    return asyncio.run(play(env, Job(env.tasks("train").tasks[0], agent, seed=5)))


@pytest.mark.parametrize(
    ("text", "thought", "action"),
    [
        ("Thought: I look.\nAction: look", "I look.", "look"),
        ("Thought: I look. \n\n Action: x\nAction:  look  ", "I look. \n\n Action: x", "look"),
        ("Thought: one\nand two\nAction: go\nAction: back", "one\nand two", "go"),
        ("Thought:\nAction: look", "", "look"),
        ("Action: look\nThought: late", "", "look"),
        ("Thought: no action", "", "Thought: no action"),
        ("Thought: a\nAction:", "a", ""),
        ("Thought: a\nAction:\nlook", "a", ""),
        ("  look around\n", "", "look around"),
        ("", "", ""),
        ("Hm. Thought: a\nAction: b", "", "b"),
        ("Thought: say Action: now\nAction: b", "say Action: now", "b"),
        ("Thought: a\nAction: write\n```py\nx = 1\n\ny = 2\n```\nand", "a", "write\n```py\nx = 1\n\ny = 2\n```"),
        ("Thought: a\nAction: write ```\nx = 1\n```", "a", "write ```\nx = 1\n```"),
        ("Thought: a\nAction: write\n```\nx = 1", "a", "write"),
        ("Thought: a\nAction: look\n\n```\nx = 1\n```", "a", "look"),
    ],
)
def test_turns_are_parsed(text, thought, action):
    assert parse(text) == (thought, action)


line = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs", "Z", "Cc"]), min_size=1, max_size=9)


@given(line, line)
def test_what_is_written_is_parsed_back(thought, action):
    assert parse(turn_text(Step("", thought, action))) == (thought, action)


@given(st.text(max_size=60))
def test_any_text_is_an_action_of_one_line_or_a_fence_or_all_of_it(text):
    thought, action = parse(text)
    assert action == action.strip()
    assert action in text
    assert thought in text
    assert "\n" not in action or "```" in action or not thought


def test_the_chat_only_grows_and_restates_the_goal():
    model = Recorder(LINES)
    found = played(model)
    chats = [chat for chat, _ in model.asked]
    for earlier, later in itertools.pairwise(chats):
        assert later[: len(earlier)] == earlier
        assert [m.role for m in later[len(earlier) :]] == ["assistant", "user"]
    assert chats[0] == [Message("system", SYSTEM), Message("user", "It is dark.")]
    assert chats[1][2] == Message("assistant", LINES[0], tuple(LINES[0].encode()))
    assert chats[1][3].content == f"{found.steps[1].observation}\nYour task is to: light every lamp"
    assert found.prompt_tokens == sum(len(m.content.encode()) for chat in chats for m in chat)


def test_the_goal_is_not_restated_when_there_is_none_or_nobody_wants_it():
    model = Recorder(LINES)
    found = played(model, restate_goal=False)
    assert model.asked[1][0][3].content == found.steps[1].observation
    assert played(Recorder(LINES), system="Act!").steps
    other = Recorder(LINES)
    played(other, system="Act!")
    assert other.asked[0][0][0] == Message("system", "Act!")


def test_each_step_is_sampled_with_its_own_seed():
    model = Recorder(LINES)
    played(model, temperature=0.7)
    assert [s.seed for _, s in model.asked] == [derived_seed(5, i) for i in range(len(model.asked))]
    assert {(s.temperature, s.max_tokens, s.choices) for _, s in model.asked} == {(0.7, 99, None)}


def test_constrained_decoding_binds_the_action_alone():
    model = Recorder(LINES)
    played(model, decoding="constrained")
    first = model.asked[0][1]
    assert first.choices == ("light green", "light blue")
    assert first.choices_after == ACTION == "\nAction: "


def test_worlds_that_list_no_actions_are_played_freely():
    model = Recorder(["Action: 0"])
    assert played(model, Echo, decoding="constrained").success
    assert model.asked[0][1].choices is None

    class Mute(Lamps):
        def options(self) -> tuple[str, ...]:
            return ()

    mute = Recorder(LINES)
    played(mute, Mute, decoding="constrained")
    assert {s.choices for _, s in mute.asked} == {None}


def test_steps_keep_what_was_sampled():
    found = played(Recorder(["gibberish\nin two lines", *LINES]))
    assert (found.model, found.agent.partition("@")[2]) == ("scripted", "scripted")
    first = found.steps[0]
    assert (first.thought, first.action, first.text) == ("", "gibberish\nin two lines", "gibberish\nin two lines")
    assert first.token_ids == tuple(b"gibberish\nin two lines")
    assert first.invalid
    assert found.steps[1].token_ids == tuple(LINES[0].encode())
    assert found.steps[1].logprobs == (0.0,) * len(LINES[0])


def test_what_is_learnt_is_what_the_agent_saw():
    """Token by token: the training chat of an attempt is the chat that it was acted in."""
    model = Recorder(LINES)
    found = played(model)
    last, _ = model.asked[-1]
    chat = render_chat(found, ReActConfig())
    assert chat[:-1] == last
    assert chat[-1] == Message("assistant", found.steps[-1].text or "", found.steps[-1].token_ids)


def test_an_experts_steps_are_written_out():
    step = Step("You see a mug.", "I take it.", "take mug 1", trainable=False)
    assert turn_text(step) == "Thought: I take it.\nAction: take mug 1"
    found = played(Recorder(LINES))
    chat = render_chat(replace(found, steps=(step,)), ReActConfig())
    assert chat[1:] == [Message("user", "You see a mug."), Message("assistant", turn_text(step), None, False)]


def test_refused_steps_are_left_out_with_what_they_were_told():
    steps = [
        Step("a room", "", "fly", invalid="no wings"),
        Step("Nothing happens.", "", "jump", invalid="no legs"),
        Step("Nothing happens.", "t", "look", reward=0.5),
        Step("a mug", "", "take"),
        Step("taken", "", "fly", invalid="no wings"),
    ]
    assert without_refused(steps) == (Step("a room", "t", "look", reward=0.5), Step("a mug", "", "take"))
    assert without_refused([]) == ()
    assert without_refused(steps[:2]) == ()


step = st.builds(Step, st.text(max_size=3), st.just(""), st.text(max_size=3), invalid=st.sampled_from([None, "no"]))


@given(st.lists(step, max_size=8))
def test_what_is_left_are_the_accepted_steps_and_the_first_view_stays(steps):
    kept = without_refused(steps)
    assert [s.action for s in kept] == [s.action for s in steps if s.invalid is None]
    assert not kept or kept[0].observation == steps[0].observation
    assert without_refused(kept) == kept
