"""ReAct agent: prompts, parsing, and the chats used for training."""

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
    drop_refused_steps,
    parse,
    render_chat,
    turn_text,
)
from kintsugi.agents.rollout import Job, play
from kintsugi.agents.trajectory import Step
from recorders import Recorder
from tiny_envs import Echo, Lamps

LINES = [f"Thought: hm {c}\nAction: light {c}" for c in ("green", "blue", "red")]


def play_once(model: Recorder, env_class: Any = Lamps, **config: Any):
    env, agent = env_class(max_steps=4), ReActAgent(model, ReActConfig(max_tokens=99, **config))
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
        ("Thought: a\nAction: write\n```\nx = 1", "a", "write\n```\nx = 1"),
        ("Thought: a\nAction: write\n\n```\nx = 1\n```\nand", "a", "write\n\n```\nx = 1\n```"),
        ("Thought: a\nAction: write\nHere:\n```\nx = 1\n```", "a", "write\nHere:\n```\nx = 1\n```"),
        ("Thought: a\nAction: look\nOne.\nTwo.\n```\nx = 1\n```", "a", "look"),
        ("Thought: a\nAction: look\nThought: b\n```\nx = 1\n```", "a", "look"),
        ("Thought: a\nAction: write\n~~~py\nx = 1\n~~~\nand", "a", "write\n~~~py\nx = 1\n~~~"),
        ("Thought: a\nAction: write\n````\n```\nx\n```\n````\nand", "a", "write\n````\n```\nx\n```\n````"),
        ("Thought: a\nAction: write\n  ```\n  x\n  ```\nand", "a", "write\n  ```\n  x\n  ```"),
        ("Thought: a\nAction: run print('```')\nprint(1)\n```\n", "a", "run print('```')"),
        ("Thought: use ```\nAction: run print('```')", "use ```", "run print('```')"),
    ],
)
def test_parse(text, thought, action):
    assert parse(text) == (thought, action)


line = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs", "Z", "Cc"]), min_size=1, max_size=9)


@given(line, line)
def test_parse_inverts_turn_text(thought, action):
    assert parse(turn_text(Step("", thought, action))) == (thought, action)


@given(st.text(max_size=60))
def test_action_is_one_line_a_fence_or_the_whole_text(text):
    thought, action = parse(text)
    assert action == action.strip()
    assert action in text
    assert thought in text
    assert "\n" not in action or "```" in action or "~~~" in action or not thought


def test_each_prompt_extends_the_previous_chat_and_restates_the_goal():
    model = Recorder(LINES)
    attempt = play_once(model)
    chats = [chat for chat, _ in model.requests]
    for earlier, later in itertools.pairwise(chats):
        assert later[: len(earlier)] == earlier
        assert [m.role for m in later[len(earlier) :]] == ["assistant", "user"]
    assert chats[0] == [Message("system", SYSTEM), Message("user", "It is dark.")]
    assert chats[1][2] == Message("assistant", LINES[0], tuple(LINES[0].encode()))
    assert chats[1][3].content == f"{attempt.steps[1].observation}\nYour task is to: light every lamp"
    assert attempt.prompt_tokens == sum(len(m.content.encode()) for chat in chats for m in chat)


def test_goal_is_not_restated_if_disabled():
    model = Recorder(LINES)
    attempt = play_once(model, restate_goal=False)
    assert model.requests[1][0][3].content == attempt.steps[1].observation
    assert play_once(Recorder(LINES), system="Act!").steps
    other = Recorder(LINES)
    play_once(other, system="Act!")
    assert other.requests[0][0][0] == Message("system", "Act!")


def test_each_step_is_sampled_with_its_own_seed():
    model = Recorder(LINES)
    play_once(model, temperature=0.7)
    assert [s.seed for _, s in model.requests] == [derived_seed(5, i) for i in range(len(model.requests))]
    assert {(s.temperature, s.max_tokens, s.choices) for _, s in model.requests} == {(0.7, 99, None)}


def test_constrained_decoding_constrains_only_the_action():
    model = Recorder(LINES)
    play_once(model, decoding="constrained")
    first = model.requests[0][1]
    assert first.choices == ("light green", "light blue")
    assert first.choices_after == ACTION == "\nAction: "


def test_decoding_is_free_without_admissible_actions():
    model = Recorder(["Action: 0"])
    assert play_once(model, Echo, decoding="constrained").success
    assert model.requests[0][1].choices is None

    class Mute(Lamps):
        def options(self) -> tuple[str, ...]:
            return ()

    mute = Recorder(LINES)
    play_once(mute, Mute, decoding="constrained")
    assert {s.choices for _, s in mute.requests} == {None}


def test_steps_record_sampled_tokens():
    attempt = play_once(Recorder(["gibberish\nin two lines", *LINES]))
    assert (attempt.model, attempt.agent.partition("@")[2]) == ("scripted", "scripted")
    first = attempt.steps[0]
    assert (first.thought, first.action, first.text) == ("", "gibberish\nin two lines", "gibberish\nin two lines")
    assert first.token_ids == tuple(b"gibberish\nin two lines")
    assert first.invalid
    assert attempt.steps[1].token_ids == tuple(LINES[0].encode())
    assert attempt.steps[1].logprobs == (0.0,) * len(LINES[0])


def test_training_chat_equals_acting_chat():
    """The training chat of an attempt equals the chat during the episode, token by token."""
    model = Recorder(LINES)
    attempt = play_once(model)
    last, _ = model.requests[-1]
    chat = render_chat(attempt, ReActConfig())
    assert chat[:-1] == last
    assert chat[-1] == Message("assistant", attempt.steps[-1].text or "", attempt.steps[-1].token_ids)


def test_steps_without_text_are_rendered_from_thought_and_action():
    step = Step("You see a mug.", "I take it.", "take mug 1", trainable=False)
    assert turn_text(step) == "Thought: I take it.\nAction: take mug 1"
    attempt = play_once(Recorder(LINES))
    chat = render_chat(replace(attempt, steps=(step,)), ReActConfig())
    assert chat[1:] == [Message("user", "You see a mug."), Message("assistant", turn_text(step), None, False)]


def test_drop_refused_steps_keeps_the_observation_before_refusals():
    steps = [
        Step("a room", "", "fly", invalid="no wings"),
        Step("Nothing happens.", "", "jump", invalid="no legs"),
        Step("Nothing happens.", "t", "look", reward=0.5),
        Step("a mug", "", "take"),
        Step("taken", "", "fly", invalid="no wings"),
    ]
    assert drop_refused_steps(steps) == (Step("a room", "t", "look", reward=0.5), Step("a mug", "", "take"))
    assert drop_refused_steps([]) == ()
    assert drop_refused_steps(steps[:2]) == ()


step = st.builds(Step, st.text(max_size=3), st.just(""), st.text(max_size=3), invalid=st.sampled_from([None, "no"]))


@given(st.lists(step, max_size=8))
def test_drop_refused_steps_keeps_accepted_actions_and_first_observation(steps):
    remaining = drop_refused_steps(steps)
    assert [s.action for s in remaining] == [s.action for s in steps if s.invalid is None]
    assert not remaining or remaining[0].observation == steps[0].observation
    assert drop_refused_steps(remaining) == remaining
