"""`TrainingData`: trained turns, chat format, weights, demonstrations and renaming."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.models import Message, ScriptedModel
from kintsugi.agents.react import ReActAgent, ReActConfig, render_chat
from kintsugi.agents.trajectory import Step, Trajectory
from kintsugi.envs import Task
from kintsugi.loops.learning.core import Example
from kintsugi.loops.learning.training_data import TrainingData, renamed_copies
from loop_envs import Rewritten

AGENT = ReActAgent(ScriptedModel(["-"]))


def attempt(task: str, *actions: str, refused: str = "", env: str = "tiny/Doors-v0", **fields: Any) -> Trajectory:
    """An attempt with these actions; those that start with `refused` were refused."""
    steps = tuple(
        Step(f"before {a}", "", a, text=a, invalid="no" if refused and a.startswith(refused) else None) for a in actions
    )
    values = {"outcome": "success", "score": 1.0, "source": "policy", "model": "m", "seed": 0, **fields}
    return Trajectory(Task(task, env, "train", 0), steps, "end", **values)


def actions(example: Example) -> list[str]:
    return [m.content for m in example.messages if m.role == "assistant"]


def test_tasks_have_equal_weight_and_equal_attempts_count_once():
    found = TrainingData().examples(
        AGENT,
        [
            attempt("a", "x", "y"),
            attempt("b", "z"),
            attempt("a", "y"),
            attempt("a", "x", "y", sample=3, model="other"),
            attempt("a", "x", "y", "y"),
        ],
    )
    assert [(actions(e), e.weight) for e in found] == [
        (["x", "y"], 1 / 3),
        (["y"], 1 / 3),
        (["x", "y", "y"], 1 / 3),
        (["z"], 1.0),
    ]


def test_refused_actions_can_be_dropped():
    tried = [attempt("a", "fly", "x"), attempt("a", "fly", "fly", "x"), attempt("b", "fly")]
    tried = [attempt(t.task.id, *(s.action for s in t.steps), refused="f") for t in tried]
    [found] = TrainingData(mistakes="dropped").examples(AGENT, tried)
    assert found == Example(
        render_chat(replace(tried[0], steps=(replace(tried[0].steps[1], observation="before fly"),)), AGENT.config)
    )
    everything = TrainingData(mistakes="trained").examples(AGENT, tried)
    assert [actions(e) for e in everything] == [["fly", "x"], ["fly", "fly", "x"], ["fly"]]


def test_actions_after_a_refused_one_are_trained_on():
    one, two = TrainingData().examples(
        AGENT, [attempt("a", "fly", "x", refused="f"), attempt("a", "fly", "fly", "x", refused="f")]
    )
    trained = [[m.trainable for m in each.messages if m.role == "assistant"] for each in (one, two)]
    assert trained == [[False, True], [False, False, True]]
    assert one.weight == two.weight == 0.5
    assert TrainingData().examples(AGENT, [attempt("b", "fly", refused="f")]) == []


@pytest.mark.parametrize(
    ("mistakes", "trained"), [("masked", [False, False, True]), ("dropped", [False, True]), ("trained", [True] * 3)]
)
def test_overwritten_actions_are_in_the_context_without_a_loss(mistakes, trained):
    tried = attempt("a", "x", "fly", "y", refused="f", env=Rewritten.env_id)
    elsewhere = attempt("a", "x", "y")
    [found] = TrainingData(mistakes=mistakes).examples(AGENT, [tried])
    assert [m.trainable for m in found.messages if m.role == "assistant"] == trained
    [found] = TrainingData(mistakes=mistakes).examples(AGENT, [elsewhere])
    assert [m.trainable for m in found.messages if m.role == "assistant"] == [True, True]


OTHERS = [
    ReActConfig(system="Be brief."),
    ReActConfig(restate_goal=False),
    ReActConfig(system="Be brief.", restate_goal=False, condense=False),
]


@pytest.mark.parametrize("config", OTHERS, ids=["prompt", "goal", "both"])
def test_examples_use_the_prompt_of_the_given_agent(config):
    """Training and acting must use the same prompt."""
    agent = ReActAgent(ScriptedModel(["-"]), config)
    tried = attempt("a", "x", "y", goal="find the door.")
    [found] = TrainingData().examples(agent, [tried])
    assert [found.messages] == agent.chats(tried)
    assert found.messages != render_chat(tried, ReActConfig())
    assert found.messages[0].content == config.system
    restated = [m.content.endswith("Your task is to: find the door.") for m in found.messages if m.role == "user"]
    assert restated == [False, config.restate_goal]
    shown = attempt("b", "z", goal="find the door.", source="expert")
    for example in TrainingData().mixture(agent, [tried], [shown], 0):
        assert example.messages[0].content == config.system


class Committee(ReActAgent):
    """Has two chats per attempt."""

    def chats(self, attempt: Trajectory) -> list[list[Message]]:
        return [chat for chat in super().chats(attempt) for _ in range(2)]


def test_the_chats_of_an_attempt_share_its_weight():
    found = TrainingData().examples(
        Committee(ScriptedModel(["-"])), [attempt("a", "x"), attempt("a", "y"), attempt("b", "z")]
    )
    assert [(actions(e), e.weight) for e in found] == [
        *[(["x"], 0.25)] * 2,
        *[(["y"], 0.25)] * 2,
        *[(["z"], 0.5)] * 2,
    ]


def test_attempts_without_a_trainable_step_are_left_out():
    watched = attempt("a", "x")
    shown = replace(watched, steps=tuple(replace(step, trainable=False) for step in watched.steps))
    assert TrainingData().examples(AGENT, [shown, attempt("b")]) == []
    part = replace(watched, steps=(shown.steps[0], watched.steps[0]))
    [found] = TrainingData().examples(AGENT, [part])
    assert [m.trainable for m in found.messages if m.role == "assistant"] == [False, True]


@given(st.integers(0, 6), st.integers(0, 9), st.floats(0, 3), st.integers(0, 3))
def test_replay_sets_the_number_of_demonstrations(passed, shown, replay, seed):
    data = TrainingData(replay=replay)
    own = [attempt(f"p{i}", f"p{i}") for i in range(passed)]
    demonstrations = [attempt(f"d{i}", f"d{i}", source="expert") for i in range(shown)]
    found = [actions(e)[0] for e in data.mixture(AGENT, own, demonstrations, seed)]
    assert found[:passed] == [f"p{i}" for i in range(passed)]
    assert len(found) - passed == min(shown, round(replay * passed))
    assert found[passed:] == sorted(set(found[passed:]))
    assert found == [actions(e)[0] for e in data.mixture(AGENT, own, demonstrations, seed)]


def test_demonstrations_depend_on_the_seed():
    demonstrations = [attempt(f"d{i}", f"d{i}") for i in range(50)]
    found = {
        tuple(actions(e)[0] for e in TrainingData().mixture(AGENT, [attempt("p", "p")], demonstrations, seed))
        for seed in range(9)
    }
    assert len(found) > 5


def test_each_copy_has_its_own_names_and_only_renamed_turns_lose_their_token_ids():
    chat = [
        Message("system", "s"),
        Message("user", "an oak door"),
        Message("assistant", "open oak", (1, 2), trainable=False),
        Message("user", "it is shut"),
        Message("assistant", "wait", (3,)),
    ]

    def rename(messages: Sequence[Message], rng: random.Random) -> list[Message]:
        new = rng.choice(["elm", "ash", "fir", "yew"])
        return [replace(m, content=m.content.replace("oak", new)) for m in messages]

    examples = [Example(chat, 0.5), Example(chat[:2] + chat[4:], 0.25)]
    found = renamed_copies(examples, rename, 8, random.Random(0))
    assert [e.weight for e in found] == [0.5, 0.25] * 8
    assert len({e.messages[1].content for e in found}) == 4
    for copy in found[::2]:
        wood = copy.messages[1].content.split()[1]
        assert [m.content for m in copy.messages[1:]] == [f"an {wood} door", f"open {wood}", "it is shut", "wait"]
        assert [(m.token_ids, m.trainable) for m in copy.messages if m.role == "assistant"] == [
            (None, False),
            ((3,), True),
        ]
    assert found == renamed_copies(examples, rename, 8, random.Random(0))
    same = renamed_copies(examples, lambda messages, rng: messages, 1, random.Random(0))
    assert same == examples
