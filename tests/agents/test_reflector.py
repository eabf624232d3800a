"""The reflector: it sees what the failed attempt showed, reflects once, and then acts."""

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
    OPENING,
    SYSTEM,
    ReflectingAgent,
    ReflectorConfig,
    opening_of,
    reflector_chat,
)
from kintsugi.agents.reflector import digest as digest_of
from kintsugi.agents.registry import reader
from kintsugi.agents.rollout import Job, play
from kintsugi.agents.trajectory import Step, Trajectory
from kintsugi.errors import TooLongError
from recorders import Recorder
from tiny_envs import Echo

TASK = Echo.tasks("train").tasks[3]


def digest(failure: Trajectory, max_turns: int) -> str:
    return digest_of(failure, max_turns, ReActConfig())


def failed(*steps: tuple[str, str, str | None], **fields: Any) -> Trajectory:
    """Steps as (observation before, action, why refused)."""
    made = tuple(Step(seen, "", action, invalid=why) for seen, action, why in steps)
    values = {"outcome": "truncated", "score": 0.0, "source": "policy", "model": "m", "seed": 0, "goal": "say it."}
    return Trajectory(TASK, made, "the end", **{**values, **fields})


FAILURE = failed(("start", "go", None), ("a hall", "fly", "no wings"), ("Nothing.", "go", None), ("a hall", "go", None))


def test_a_digest_tells_each_accepted_turn_once():
    assert digest(FAILURE, 40) == (
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
def test_a_digest_says_how_it_ended(outcome, ending):
    assert digest(failed(outcome=outcome), 40) == f"Your task is to: say it.\nThe failed attempt:\n{ending}"


def test_a_digest_keeps_the_last_turns():
    walk = failed(*((f"room {i}", f"go {i}", None) for i in range(9)))
    assert digest(walk, 2).splitlines()[2:-1] == ["> go 7", "room 8", "> go 8", "the end"]
    assert len(digest(walk, 40).splitlines()) == 2 + 18 + 1


def test_nothing_is_shown_that_the_attempt_did_not_say():
    hidden = replace(FAILURE, task=replace(TASK, params={"secret": "xyzzy"}), error="xyzzy")
    assert "xyzzy" not in digest(hidden, 40)


def script(messages: Any, sampling: Sampling) -> str:
    if messages[-1].role == "assistant":
        return " said 3."
    return f"Thought: hm\nAction: {3 if len(messages) > 5 else 1}"


def reflected(config: ReflectorConfig | None = None) -> tuple[Trajectory, Recorder]:
    model = Recorder(script)
    agent = ReflectingAgent(ReActAgent(model, ReActConfig(temperature=0.7, max_tokens=70)), FAILURE, config)
    return asyncio.run(play(Echo(max_steps=4), Job(TASK, agent, 9, source="reflection", parents=("p",)))), model


def test_it_reflects_once_and_then_acts_live():
    found, model = reflected()
    assert found.success
    assert [step.action for step in found.steps] == ["1", "3"]
    assert found.parents == ("p",)
    opening = [Message("system", SYSTEM), Message("user", digest(FAILURE, 40))]
    assert opening_of(FAILURE, ReflectorConfig(), ReActConfig()) == opening
    chat, sampling = model.asked[0]
    assert chat == [*opening, Message("assistant", OPENING)]
    assert (sampling.temperature, sampling.max_tokens) == (0.0, 48)
    assert sampling.seed == derived_seed(9, "reflection")
    chat, sampling = model.asked[1]
    text = OPENING + " said 3."
    assert chat[:3] == [*opening, Message("assistant", text, tuple(text.encode()))]
    assert chat[3] == Message("user", found.steps[0].observation)
    assert (sampling.temperature, sampling.max_tokens, sampling.seed) == (0.7, 70, derived_seed(9, 0))
    assert len(model.asked) == 3
    assert ACTING not in [m.content for m in model.asked[2][0]]


def test_the_reflection_is_kept_with_the_attempt():
    found, model = reflected()
    text = OPENING + " said 3."
    assert found.reflection is not None
    assert (found.reflection.text, found.reflection.token_ids) == (text, tuple(text.encode()))
    assert found.reflection.observation == digest(FAILURE, 40)
    assert found.sampled_tokens == len(text) + sum(len(step.text or "") for step in found.steps)
    assert found.prompt_tokens == sum(len(m.content.encode()) for chat, _ in model.asked for m in chat)


def test_its_configuration_is_heeded():
    _, model = reflected(ReflectorConfig(max_turns=1, temperature=0.5, max_tokens=20, system="Mend!"))
    chat, sampling = model.asked[0]
    assert chat[:2] == [Message("system", "Mend!"), Message("user", digest(FAILURE, 1))]
    assert (sampling.temperature, sampling.max_tokens) == (0.5, 20)


def test_the_reflector_learns_from_the_chat_that_it_acted_in():
    found, model = reflected()
    assert found.reflection is not None
    chat = reflector_chat(FAILURE, found, found.reflection, ReActConfig())
    assert chat[:-1] == model.asked[-1][0]
    assert chat[-1] == Message("assistant", found.steps[-1].text or "", found.steps[-1].token_ids)
    quiet = reflector_chat(FAILURE, found, found.reflection, ReActConfig(), trainable=False)
    assert [m.trainable for m in quiet if m.role == "assistant"] == [False, True, True]


def test_the_agent_learns_nothing_of_the_reflection():
    found, _ = reflected()
    assert found.reflection is not None
    [chat] = reader(found.made_by).chats(found)
    texts = [m.content for m in chat]
    assert len(texts) == 1 + 2 * len(found.steps)
    assert texts[0] == ACTING
    assert not any("Reflection" in text or "failed attempt" in text for text in texts)


class Narrow(Recorder):
    """Has room for so many characters; the oldest pairs of turns after the first two go."""

    def __init__(self, script: Any, room: int) -> None:
        super().__init__(script)
        self.room = room

    async def complete(self, messages, sampling):
        if sum(len(m.content) for m in [*messages[:2], *messages[2:][-2:]]) > self.room:
            raise TooLongError("no room")
        return await super().complete(messages, sampling)


LONG = failed(*((f"room {i} " + "." * 90, f"go {i}", None) for i in range(16)))


@pytest.mark.parametrize("turns", [16, 8, 4])
def test_what_does_not_fit_of_the_failed_attempt_is_not_shown(turns):
    model = Narrow(script, len(SYSTEM) + len(digest(LONG, turns)) + 150)
    agent = ReflectingAgent(ReActAgent(model), LONG)
    found = asyncio.run(play(Echo(max_steps=4), Job(TASK, agent, 9, source="reflection")))
    assert found.success
    assert found.reflection is not None
    assert found.reflection.observation == digest(LONG, turns)
    assert [step.observation for step in found.steps] == [step.observation for step in reflected()[0].steps]
    chat = reflector_chat(LONG, found, found.reflection, ReActConfig())
    assert chat[1].content == digest(LONG, turns)
    assert chat[:-1] == model.asked[-1][0]


def test_turns_that_do_not_fit_later_take_room_from_the_failed_attempt():
    def longer(messages: Any, sampling: Sampling) -> str:
        return script(messages, sampling) if len(messages) < 5 else "Thought: " + "hm " * 120 + "\nAction: 3"

    model = Narrow(lambda messages, sampling: longer(messages, sampling), 1500)
    agent = ReflectingAgent(ReActAgent(model, ReActConfig(max_tokens=400)), LONG)
    job = Job(TASK, agent, 9, source="reflection")
    found = asyncio.run(play(Echo(max_steps=4), job))
    assert found.reflection is not None
    assert found.reflection.observation in [digest(LONG, n) for n in (8, 4)]
    assert len(found.steps) == 2


def test_a_window_without_room_for_any_of_it_is_told():
    with pytest.raises(TooLongError):
        asyncio.run(play(Echo(max_steps=4), Job(TASK, ReflectingAgent(ReActAgent(Narrow(script, 100)), LONG), 9)))


def test_its_name_tells_both_configurations_and_the_failure_and_its_attempts_are_the_acting_agents():
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
