"""What is learnt and exported is what the model was shown: message by message, token by token, also after a store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from fake_desks import market_of, trading_in
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.core import Agent
from kintsugi.agents.experts.trading import TradingExpert
from kintsugi.agents.models import Message, Sampling
from kintsugi.agents.react import ReActAgent, ReActConfig, turn_text
from kintsugi.agents.reflector import ReflectingAgent, ReflectorConfig, reflector_chat
from kintsugi.agents.registry import reader
from kintsugi.agents.resuming import ResumingAgent
from kintsugi.agents.rollout import Job, play
from kintsugi.agents.trading_group import DeskConfig, TradingGroup
from kintsugi.agents.trajectory import Trajectory
from kintsugi.envs import AgentEnv, Task
from kintsugi.envs.trading import TradingEnv
from recorders import Recorder, Turn, stored, turns_in
from tiny_envs import Echo, Lamps, Wordy
from vault_env import Vault

CONFIGS = [
    ReActConfig(max_tokens=99),
    ReActConfig(max_tokens=99, restate_goal=False),
    ReActConfig(max_tokens=99, condense=False),
    ReActConfig(max_tokens=99, system="Light the lamps!", condense=False, restate_goal=False),
    ReActConfig(max_tokens=9, decoding="constrained"),
]
WORDS = ("light red", "light green", "sing", "Thought: hm\nAction: light blue", "Action:", "", "é\nAction: 0")


def played(env: AgentEnv, agent: Agent, task: Task | None = None) -> Trajectory:
    task = type(env).tasks("train").tasks[0] if task is None else task
    return asyncio.run(play(env, Job(task, agent, seed=5)))


def check(agent: Agent, attempt: Trajectory, turns: Sequence[Turn]) -> None:
    """The chats of the attempt hold these turns, whoever reads it and wherever it comes from."""
    chats = agent.chats(attempt)
    assert turns_in(chats) == list(turns)
    assert agent.chats(stored(attempt)) == chats
    assert attempt.made_by == agent.spec
    for found in (attempt, stored(attempt)):
        assert reader(found.made_by).chats(found) == chats


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("world", [Lamps, Wordy, Echo])
@given(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=6))
def test_what_an_attempt_says_is_what_the_model_was_shown(world, config, words):
    model = Recorder(words)
    agent = ReActAgent(model, config)
    attempt = played(world(max_steps=5), agent)
    assert len(model.turns) == len(attempt.steps)
    check(agent, attempt, model.turns)


def test_configurations_that_matter_make_other_chats():
    attempts = [played(Wordy(max_steps=4), ReActAgent(Recorder(WORDS[:3]), config)) for config in CONFIGS[:4]]
    chats = [str(reader(attempt.made_by).chats(attempt)) for attempt in attempts]
    assert len(set(chats)) == 4
    assert [chat.count("You stand in a hall of lamps.") for chat in chats] == [1, 1, 4, 4]
    assert [chat.count("Your task is to: light every lamp") for chat in chats] == [3, 0, 3, 0]
    assert [chat.count("Light the lamps!") for chat in chats] == [0, 0, 0, 1]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@given(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=6), begun=st.integers(0, 4))
def test_turns_that_somebody_else_made_are_shown_and_not_learnt(config, words, begun):
    prefix = played(Wordy(max_steps=5), ReActAgent(Recorder(WORDS[:3]), config)).steps[:begun]
    model = Recorder(words)
    agent = ResumingAgent(ReActAgent(model, config), prefix)
    attempt = played(Wordy(max_steps=5), agent)
    turns = turns_in(agent.chats(attempt))
    check(agent, attempt, [*turns[: len(prefix)], *model.turns])
    assert [(turn.text, turn.token_ids) for turn in turns[: len(prefix)]] == [(p.text, p.token_ids) for p in prefix]
    trained = [m.trainable for m in agent.chats(attempt)[0] if m.role == "assistant"]
    assert trained == [False] * len(prefix) + [True] * (len(attempt.steps) - len(prefix))


def test_an_experts_turns_are_shown_as_they_are_rendered():
    steps = tuple(
        replace(step, text=None, token_ids=None, logprobs=None)
        for step in played(Wordy(max_steps=4), ReActAgent(Recorder(WORDS[:3]), CONFIGS[0])).steps[:3]
    )
    model = Recorder(["Thought: hm\nAction: light blue"])
    agent = ResumingAgent(ReActAgent(model, CONFIGS[0]), steps)
    attempt = played(Wordy(max_steps=4), agent)
    [turn] = model.turns
    assert [m.content for m in turn.shown if m.role == "assistant"] == [turn_text(step) for step in steps]
    assert turns_in(agent.chats(attempt))[-1] == turn


# -- Reflecting -------------------------------------------------------------------------------------------------------

TASK = Vault.tasks("train", 1).tasks[0]
WAY = ("go cellar", "take key", "go hall", "open chest")


def reflecting(messages: Sequence[Message], sampling: Sampling) -> str:
    """Reflects when it is asked to, and then goes the way."""
    if messages[-1].role == "assistant":
        return " taken the key."
    done = sum(m.role == "assistant" for m in messages) - any("Reflection" in m.content for m in messages[:3])
    return f"Thought: now {done}\nAction: {WAY[done]}"


@pytest.mark.parametrize("config", CONFIGS[:4], ids=str)
def test_who_reflects_learns_its_own_chat_and_the_acting_agent_learns_to_do_without(config):
    failure = played(Vault(max_steps=3), ReActAgent(Recorder(["Thought: la\nAction: sing"]), config), TASK)
    model, reflector = Recorder(reflecting), ReflectorConfig(max_turns=2, system="Mend it!")
    acting = ReActAgent(model, config)
    agent = ReflectingAgent(acting, failure, reflector)
    attempt = played(Vault(), agent, TASK)
    assert attempt.success

    # What the reflector was shown is its own chat.
    assert attempt.reflection is not None
    chat = reflector_chat(failure, attempt, attempt.reflection, config, reflector)
    [first, *rest] = model.turns
    assert chat[:2] == first.shown[:2]
    assert chat[2] == Message("assistant", first.shown[2].content + first.text, attempt.reflection.token_ids)
    assert turns_in([chat])[1:] == rest
    after = stored(attempt)
    assert after.reflection is not None
    assert reflector_chat(stored(failure), after, after.reflection, config, reflector) == chat

    # The attempt is what the agent without a reflection would have been shown, saying the same.
    alone = Recorder([turn_text(step) for step in attempt.steps])
    played(Vault(), ReActAgent(alone, config), TASK)
    check(agent, attempt, alone.turns)
    assert agent.chats(attempt) == acting.chats(attempt)


# -- Desks ------------------------------------------------------------------------------------------------------------


class Analyst(Recorder):
    """A trading expert, whose words are kept."""

    def __init__(self) -> None:
        super().__init__([""], "analyst")
        self._expert = TradingExpert()

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Any:
        said = await self._expert.complete(messages, sampling)
        self.turns.append(Turn(list(messages), said.text, said.token_ids))
        return said


@pytest.mark.parametrize(
    "config",
    [DeskConfig(), DeskConfig(news=False, reflection=False), DeskConfig(reports=False, style=False, temperature=1.0)],
    ids=["whole", "without news", "without reports"],
)
def test_every_call_of_a_desk_is_a_chat(config):
    task = TradingEnv.tasks("train", 1, bars=25).tasks[0]
    model = Analyst()
    agent = TradingGroup(model, config)
    attempt = played(TradingEnv(), agent, task)
    assert len(model.turns) > 2 * len(attempt.steps)
    check(agent, attempt, model.turns)


def test_what_a_desk_could_not_read_or_did_not_finish_is_kept_too():
    """An answer may be cut off within a character: its tokens say so, its text does not."""
    texts = {0: [("news", "Orders went up."), ("report", "The forecast is raised.")], 2: [("news", "Debt is rising.")]}
    model = Recorder(lambda messages, sampling: "?" if sampling.seed % 3 else "Decision: aé")
    agent = TradingGroup(model, DeskConfig(max_tokens=12))
    env, task = trading_in(market_of([0.0, 0.1, -0.1, 0.0], texts)), Task("t", TradingEnv.env_id, "train", 0)
    attempt = played(env, agent, task)
    check(agent, attempt, model.turns)
    assert {(turn.text, len(turn.token_ids or ())) for turn in model.turns} == {("?", 1), ("Decision: a", 12)}
    once = replace(attempt, steps=(replace(attempt.steps[0], trainable=False), *attempt.steps[1:]))
    trained = [chat[-1].trainable for chat in agent.chats(once)]
    assert trained == [number >= len(attempt.steps[0].calls) for number in range(len(trained))]
