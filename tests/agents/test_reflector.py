"""Reflector: its prompt, the reflection, and the chats used for training."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from kintsugi.agents.models import Message, Sampling
from kintsugi.agents.models.core import derived_seed
from kintsugi.agents.react import SYSTEM as ACTING
from kintsugi.agents.react import ReActAgent, ReActConfig
from kintsugi.agents.reflector import (
    REFLECTION_PREFIX,
    SYSTEM,
    ReflectingAgent,
    ReflectorConfig,
    failure_digest,
    reflection_prompt,
    reflector_chat,
)
from kintsugi.agents.registry import make_reader
from kintsugi.agents.rollout import Job, play
from kintsugi.agents.trajectory import Step, Trajectory
from kintsugi.errors import TooLongError
from recorders import Recorder
from tiny_envs import Echo

TASK = Echo.tasks("train").tasks[3]


def digest_text(failure: Trajectory, max_turns: int) -> str:
    return failure_digest(failure, max_turns, ReActConfig())


def failed_attempt(*steps: tuple[str, str, str | None], **fields: Any) -> Trajectory:
    """Return a failed attempt; steps are given as (observation, action, reason of refusal)."""
    made = tuple(Step(seen, "", action, invalid=why) for seen, action, why in steps)
    values = {"outcome": "truncated", "score": 0.0, "source": "policy", "model": "m", "seed": 0, "goal": "say it."}
    return Trajectory(TASK, made, "the end", **{**values, **fields})


FAILURE = failed_attempt(
    ("start", "go", None), ("a hall", "fly", "no wings"), ("Nothing.", "go", None), ("a hall", "go", None)
)


def test_digest_lists_distinct_accepted_turns():
    assert digest_text(FAILURE, 40) == (
        "Your task is to: say it.\n"
        "The failed attempt:\n"
        "> go\na hall\n"
        "> go\nthe end\n"
        "Refused actions: 1.\n"
        "It ran out of steps."
    )


@pytest.mark.parametrize(
    ("outcome", "ending"),
    [("failure", "It failed."), ("truncated", "It ran out of steps."), ("success", "It succeeded.")],
)
def test_digest_states_the_outcome(outcome, ending):
    assert (
        digest_text(failed_attempt(outcome=outcome), 40) == f"Your task is to: say it.\nThe failed attempt:\n{ending}"
    )


def test_digest_keeps_the_last_turns():
    walk = failed_attempt(*((f"room {i}", f"go {i}", None) for i in range(9)))
    assert digest_text(walk, 2).splitlines()[2:-1] == ["> go 7", "room 8", "> go 8", "the end"]
    assert len(digest_text(walk, 40).splitlines()) == 2 + 18 + 1


def test_digest_reveals_nothing_hidden():
    hidden = replace(FAILURE, task=replace(TASK, params={"secret": "xyzzy"}), error="xyzzy")
    assert "xyzzy" not in digest_text(hidden, 40)


def script(messages: Any, sampling: Sampling) -> str:
    if messages[-1].role == "assistant":
        return " said 3."
    return f"Thought: hm\nAction: {3 if len(messages) > 5 else 1}"


def play_reflecting(config: ReflectorConfig | None = None) -> tuple[Trajectory, Recorder]:
    model = Recorder(script)
    agent = ReflectingAgent(ReActAgent(model, ReActConfig(temperature=0.7, max_tokens=70)), FAILURE, config)
    return asyncio.run(play(Echo(max_steps=4), Job(TASK, agent, 9, source="reflection", parents=("p",)))), model


def test_agent_reflects_once_then_acts():
    attempt, model = play_reflecting()
    assert attempt.success
    assert [step.action for step in attempt.steps] == ["1", "3"]
    assert attempt.parents == ("p",)
    opening = [Message("system", SYSTEM), Message("user", digest_text(FAILURE, 40))]
    assert reflection_prompt(FAILURE, ReflectorConfig(), ReActConfig()) == opening
    chat, sampling = model.requests[0]
    assert chat == [*opening, Message("assistant", REFLECTION_PREFIX)]
    assert (sampling.temperature, sampling.max_tokens) == (0.0, 48)
    assert sampling.seed == derived_seed(9, "reflection")
    chat, sampling = model.requests[1]
    text = REFLECTION_PREFIX + " said 3."
    assert chat[:3] == [*opening, Message("assistant", text, tuple(text.encode()))]
    assert chat[3] == Message("user", attempt.steps[0].observation)
    assert (sampling.temperature, sampling.max_tokens, sampling.seed) == (0.7, 70, derived_seed(9, 0))
    assert len(model.requests) == 3
    assert ACTING not in [m.content for m in model.requests[2][0]]


def test_reflection_is_recorded_with_the_attempt():
    attempt, model = play_reflecting()
    text = REFLECTION_PREFIX + " said 3."
    assert attempt.reflection is not None
    assert (attempt.reflection.text, attempt.reflection.token_ids) == (text, tuple(text.encode()))
    assert attempt.reflection.observation == digest_text(FAILURE, 40)
    assert attempt.sampled_tokens == len(text) + sum(len(step.text or "") for step in attempt.steps)
    assert attempt.prompt_tokens == sum(len(m.content.encode()) for chat, _ in model.requests for m in chat)


def test_configuration_applies_to_the_reflection():
    _, model = play_reflecting(ReflectorConfig(max_turns=1, temperature=0.5, max_tokens=20, system="Mend!"))
    chat, sampling = model.requests[0]
    assert chat[:2] == [Message("system", "Mend!"), Message("user", digest_text(FAILURE, 1))]
    assert (sampling.temperature, sampling.max_tokens) == (0.5, 20)


def test_reflector_chat_equals_acting_chat():
    attempt, model = play_reflecting()
    assert attempt.reflection is not None
    chat = reflector_chat(FAILURE, attempt, attempt.reflection, ReActConfig())
    assert chat[:-1] == model.requests[-1][0]
    assert chat[-1] == Message("assistant", attempt.steps[-1].text or "", attempt.steps[-1].token_ids)
    untrained = reflector_chat(FAILURE, attempt, attempt.reflection, ReActConfig(), trainable=False)
    assert [m.trainable for m in untrained if m.role == "assistant"] == [False, True, True]


def test_agent_chats_exclude_the_reflection():
    attempt, _ = play_reflecting()
    assert attempt.reflection is not None
    [chat] = make_reader(attempt.made_by).chats(attempt)
    texts = [m.content for m in chat]
    assert len(texts) == 1 + 2 * len(attempt.steps)
    assert texts[0] == ACTING
    assert not any("Reflection" in text or "failed attempt" in text for text in texts)


class Narrow(Recorder):
    """Model with a window of `room` characters for the first two and the last two messages."""

    def __init__(self, script: Any, room: int) -> None:
        super().__init__(script)
        self.room = room

    async def complete(self, messages, sampling):
        if sum(len(m.content) for m in [*messages[:2], *messages[2:][-2:]]) > self.room:
            raise TooLongError("no room")
        return await super().complete(messages, sampling)


LONG = failed_attempt(*((f"room {i} " + "." * 90, f"go {i}", None) for i in range(16)))


@pytest.mark.parametrize("turns", [16, 8, 4])
def test_failed_attempt_is_shortened_to_fit_the_window(turns):
    model = Narrow(script, len(SYSTEM) + len(digest_text(LONG, turns)) + 150)
    agent = ReflectingAgent(ReActAgent(model), LONG)
    attempt = asyncio.run(play(Echo(max_steps=4), Job(TASK, agent, 9, source="reflection")))
    assert attempt.success
    assert attempt.reflection is not None
    assert attempt.reflection.observation == digest_text(LONG, turns)
    assert [step.observation for step in attempt.steps] == [step.observation for step in play_reflecting()[0].steps]
    chat = reflector_chat(LONG, attempt, attempt.reflection, ReActConfig())
    assert chat[1].content == digest_text(LONG, turns)
    assert chat[:-1] == model.requests[-1][0]


def test_later_turns_shorten_the_failed_attempt_further():
    def longer(messages: Any, sampling: Sampling) -> str:
        return script(messages, sampling) if len(messages) < 5 else "Thought: " + "hm " * 120 + "\nAction: 3"

    model = Narrow(lambda messages, sampling: longer(messages, sampling), 1500)
    agent = ReflectingAgent(ReActAgent(model, ReActConfig(max_tokens=400)), LONG)
    job = Job(TASK, agent, 9, source="reflection")
    attempt = asyncio.run(play(Echo(max_steps=4), job))
    assert attempt.reflection is not None
    assert attempt.reflection.observation in [digest_text(LONG, n) for n in (8, 4)]
    assert len(attempt.steps) == 2


def test_window_too_small_for_the_prompt_ends_the_attempt():
    agent = ReflectingAgent(ReActAgent(Narrow(script, 100)), LONG)
    attempt = asyncio.run(play(Echo(max_steps=4), Job(TASK, agent, 9)))
    assert (attempt.outcome, attempt.error, attempt.steps) == ("truncated", "no room", ())


def test_name_depends_on_configurations_and_failure():
    model = Recorder(script)
    names = {
        ReflectingAgent(ReActAgent(model, acting), FAILURE, config).name
        for acting in (ReActConfig(), ReActConfig(max_tokens=70))
        for config in (None, ReflectorConfig(max_turns=1), ReflectorConfig(system="Mend!"))
    }
    assert len(names) == 6
    assert all(name.startswith("reflecting-") and name.endswith("@scripted") for name in names)
    acting = ReActAgent(model, ReActConfig(max_tokens=70))
    agent = ReflectingAgent(acting, FAILURE)
    assert ReflectingAgent(acting, FAILURE).name == agent.name != ReflectingAgent(acting, LONG).name
    assert (agent.spec, list(agent.models)) == (acting.spec, [model])
