"""Chats for training and export: they equal the prompts of the model, token by token, also after a JSON round trip."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from fake_desks import market_of, trading_env
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.core import Agent
from kintsugi.agents.experts.trading import TradingExpert
from kintsugi.agents.models import Message, Sampling
from kintsugi.agents.react import ReActAgent, ReActConfig, turn_text
from kintsugi.agents.reflector import ReflectingAgent, ReflectorConfig, reflector_chat
from kintsugi.agents.registry import make_reader
from kintsugi.agents.resuming import ResumingAgent
from kintsugi.agents.rollout import Job, play
from kintsugi.agents.trading_group import DeskConfig, TradingGroup
from kintsugi.agents.trajectory import Trajectory
from kintsugi.envs import AgentEnv, Task
from kintsugi.envs.trading import TradingEnv
from recorders import Recorder, Turn, through_json, turns_in
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


def play_once(env: AgentEnv, agent: Agent, task: Task | None = None) -> Trajectory:
    task = type(env).tasks("train").tasks[0] if task is None else task
    return asyncio.run(play(env, Job(task, agent, seed=5)))


def check_chats(agent: Agent, attempt: Trajectory, turns: Sequence[Turn]) -> None:
    """Check that the chats of an attempt contain these turns, also after storing and for a reader."""
    chats = agent.chats(attempt)
    assert turns_in(chats) == list(turns)
    assert agent.chats(through_json(attempt)) == chats
    assert attempt.made_by == agent.spec
    for found in (attempt, through_json(attempt)):
        assert make_reader(found.made_by).chats(found) == chats


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("env_class", [Lamps, Wordy, Echo])
@given(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=6))
def test_chats_equal_prompts(env_class, config, words):
    model = Recorder(words)
    agent = ReActAgent(model, config)
    attempt = play_once(env_class(max_steps=5), agent)
    assert len(model.turns) == len(attempt.steps)
    check_chats(agent, attempt, model.turns)


def test_chats_depend_on_the_configuration():
    attempts = [play_once(Wordy(max_steps=4), ReActAgent(Recorder(WORDS[:3]), config)) for config in CONFIGS[:4]]
    chats = [str(make_reader(attempt.made_by).chats(attempt)) for attempt in attempts]
    assert len(set(chats)) == 4
    assert [chat.count("You stand in a hall of lamps.") for chat in chats] == [1, 1, 4, 4]
    assert [chat.count("Your task is to: light every lamp") for chat in chats] == [3, 0, 3, 0]
    assert [chat.count("Light the lamps!") for chat in chats] == [0, 0, 0, 1]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@given(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=6), prefix_length=st.integers(0, 4))
def test_replayed_turns_are_in_chats_but_not_trained_on(config, words, prefix_length):
    prefix = play_once(Wordy(max_steps=5), ReActAgent(Recorder(WORDS[:3]), config)).steps[:prefix_length]
    model = Recorder(words)
    agent = ResumingAgent(ReActAgent(model, config), prefix)
    attempt = play_once(Wordy(max_steps=5), agent)
    turns = turns_in(agent.chats(attempt))
    check_chats(agent, attempt, [*turns[: len(prefix)], *model.turns])
    assert [(turn.text, turn.token_ids) for turn in turns[: len(prefix)]] == [(p.text, p.token_ids) for p in prefix]
    trained = [m.trainable for m in agent.chats(attempt)[0] if m.role == "assistant"]
    assert trained == [False] * len(prefix) + [True] * (len(attempt.steps) - len(prefix))


def test_expert_turns_appear_as_rendered_text():
    steps = tuple(
        replace(step, text=None, token_ids=None, logprobs=None)
        for step in play_once(Wordy(max_steps=4), ReActAgent(Recorder(WORDS[:3]), CONFIGS[0])).steps[:3]
    )
    model = Recorder(["Thought: hm\nAction: light blue"])
    agent = ResumingAgent(ReActAgent(model, CONFIGS[0]), steps)
    attempt = play_once(Wordy(max_steps=4), agent)
    [turn] = model.turns
    assert [m.content for m in turn.prompt if m.role == "assistant"] == [turn_text(step) for step in steps]
    assert turns_in(agent.chats(attempt))[-1] == turn


# -- Reflecting -------------------------------------------------------------------------------------------------------

TASK = Vault.tasks("train", 1).tasks[0]
SOLUTION = ("go cellar", "take key", "go hall", "open chest")


def reflecting(messages: Sequence[Message], sampling: Sampling) -> str:
    """Script that completes a reflection, then follows the solution."""
    if messages[-1].role == "assistant":
        return " taken the key."
    done = sum(m.role == "assistant" for m in messages) - any("Reflection" in m.content for m in messages[:3])
    return f"Thought: now {done}\nAction: {SOLUTION[done]}"


@pytest.mark.parametrize("config", CONFIGS[:4], ids=str)
def test_reflector_chat_has_the_reflection_and_agent_chats_do_not(config):
    failure = play_once(Vault(max_steps=3), ReActAgent(Recorder(["Thought: la\nAction: sing"]), config), TASK)
    model, reflector = Recorder(reflecting), ReflectorConfig(max_turns=2, system="Mend it!")
    acting = ReActAgent(model, config)
    agent = ReflectingAgent(acting, failure, reflector)
    attempt = play_once(Vault(), agent, TASK)
    assert attempt.success

    # The reflector's chat equals its prompts.
    assert attempt.reflection is not None
    chat = reflector_chat(failure, attempt, attempt.reflection, config, reflector)
    [first, *rest] = model.turns
    assert chat[:2] == first.prompt[:2]
    assert chat[2] == Message("assistant", first.prompt[2].content + first.text, attempt.reflection.token_ids)
    assert turns_in([chat])[1:] == rest
    after = through_json(attempt)
    assert after.reflection is not None
    assert reflector_chat(through_json(failure), after, after.reflection, config, reflector) == chat

    # The agent's chats equal the prompts of an agent that makes the same turns without a reflection.
    unreflecting = Recorder([turn_text(step) for step in attempt.steps])
    play_once(Vault(), ReActAgent(unreflecting, config), TASK)
    check_chats(agent, attempt, unreflecting.turns)
    assert agent.chats(attempt) == acting.chats(attempt)


# -- Desks ------------------------------------------------------------------------------------------------------------


class Analyst(Recorder):
    """A trading expert whose turns are recorded."""

    def __init__(self) -> None:
        super().__init__([""], "analyst")
        self._expert = TradingExpert()

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Any:
        completion = await self._expert.complete(messages, sampling)
        self.turns.append(Turn(list(messages), completion.text, completion.token_ids))
        return completion


@pytest.mark.parametrize(
    "config",
    [DeskConfig(), DeskConfig(news=False, reflection=False), DeskConfig(reports=False, style=False, temperature=1.0)],
    ids=["whole", "without news", "without reports"],
)
def test_each_call_of_a_desk_is_a_chat(config):
    task = TradingEnv.tasks("train", 1, bars=25).tasks[0]
    model = Analyst()
    agent = TradingGroup(model, config)
    attempt = play_once(TradingEnv(), agent, task)
    assert len(model.turns) > 2 * len(attempt.steps)
    check_chats(agent, attempt, model.turns)


def test_unparsable_and_truncated_answers_of_a_desk_are_kept():
    """An answer may be cut within a character. Its tokens include a part of that character, its text does not."""
    texts = {0: [("news", "Orders went up."), ("report", "The forecast is raised.")], 2: [("news", "Debt is rising.")]}
    model = Recorder(lambda messages, sampling: "?" if sampling.seed % 3 else "Decision: aé")
    agent = TradingGroup(model, DeskConfig(max_tokens=12))
    env, task = trading_env(market_of([0.0, 0.1, -0.1, 0.0], texts)), Task("t", TradingEnv.env_id, "train", 0)
    attempt = play_once(env, agent, task)
    check_chats(agent, attempt, model.turns)
    assert {(turn.text, len(turn.token_ids or ())) for turn in model.turns} == {("?", 1), ("Decision: a", 12)}
    first_untrained = replace(attempt, steps=(replace(attempt.steps[0], trainable=False), *attempt.steps[1:]))
    trained = [chat[-1].trainable for chat in agent.chats(first_untrained)]
    assert trained == [number >= len(attempt.steps[0].calls) for number in range(len(trained))]
