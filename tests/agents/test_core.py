"""`Episode` and the base classes of agents: forks, names and specifications."""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace

import pytest
from fake_agents import MemoryAgent, MemoryConfig, NamedReAct, UnnamedReAct, WaitAgent
from kintsugi.agents.core import Episode, RuleAgent, version_of
from kintsugi.agents.models import Message, ScriptedModel
from kintsugi.agents.react import ReActAgent, ReActConfig
from kintsugi.agents.resuming import ResumingAgent
from kintsugi.agents.rollout import Job, play
from kintsugi.agents.trading_group import DeskConfig, TradingGroup
from kintsugi.agents.trajectory import Step
from tiny_envs import Echo, Lamps

TASK = Lamps.tasks("train").tasks[0]
STEP, NEXT = Step("dark", "hm", "light red"), Step("light", "", "light blue")


def make_episode() -> Episode:
    return Episode(
        TASK,
        "light",
        {"goal": "light every lamp", "score": 0.5},
        seed=3,
        steps=[STEP],
        prompt_tokens=70,
        reflection=Step("", "", "", text="I should have slept."),
        chat=[Message("user", "dark"), Message("assistant", "light red", (1, 2))],
        notes=[{"days": [1]}, "a note"],
    )


def test_fork_copies_the_past_and_has_its_own_seed():
    episode = make_episode()
    fork = episode.fork(9)
    assert (fork.seed, fork.prompt_tokens) == (9, 0)
    assert replace(fork, seed=3, prompt_tokens=70) == episode
    # Fails for a new field, so that its author decides whether a fork copies it.
    assert {each.name for each in fields(Episode)} == {
        *("task", "observation", "info", "seed", "steps", "prompt_tokens", "reflection", "chat", "notes")
    }


@pytest.mark.parametrize("changed", ["fork", "origin"])
def test_fork_and_origin_are_independent(changed):
    episode = make_episode()
    fork = episode.fork(9)
    one, other = (fork, episode) if changed == "fork" else (episode, fork)
    one.chat.append(Message("user", "?"))
    one.chat[0] = Message("user", "another")
    one.notes[0]["days"].append(2)
    one.notes.append("another")
    one.reflection = None
    one.prompt_tokens += 5
    one.advance(NEXT, "bright", {"score": 1.0})
    assert replace(other, seed=3, prompt_tokens=70) == make_episode()


def test_advance_updates_the_observation_and_keeps_the_goal():
    episode = make_episode()
    episode.advance(NEXT, "bright", {"score": 1.0})
    assert episode.steps == [STEP, NEXT]
    assert (episode.observation, episode.goal) == ("bright", "light every lamp")
    assert episode.info == {"goal": "light every lamp", "score": 1.0}
    episode.advance(NEXT, "dark", {"goal": "sleep"})
    assert episode.goal == "sleep"


# -- Names ------------------------------------------------------------------------------------------------------------

MODEL = ScriptedModel(["hm"], "v1")


def kind_of(agent: ReActAgent | TradingGroup | MemoryAgent) -> str:
    assert agent.spec is not None
    return agent.spec.id


def test_name_depends_on_kind_configuration_and_model():
    agent = ReActAgent(MODEL)
    kind, dash, rest = agent.name.partition("-")
    digits, at, version = rest.partition("@")
    assert (kind, dash, at, version, len(digits)) == ("react", "-", "@", "v1", 6)
    assert agent.name == ReActAgent(ScriptedModel(["otherwise"], "v1"), ReActConfig()).name
    others = {
        ReActAgent(ScriptedModel(["hm"], "v2")).name,
        ReActAgent(MODEL, ReActConfig(temperature=0.5)).name,
        ReActAgent(MODEL, ReActConfig(max_tokens=49)).name,
        ReActAgent(MODEL, ReActConfig(system="Act.")).name,
        ReActAgent(MODEL, ReActConfig(condense=False)).name,
        ReActAgent(MODEL, ReActConfig(restate_goal=False)).name,
        ReActAgent(MODEL, ReActConfig(decoding="constrained")).name,
    }
    assert len(others | {agent.name}) == 8
    assert ReActAgent(ScriptedModel(["hm"], "v2")).name.partition("@")[0] == agent.name.partition("@")[0]


def test_name_depends_on_nested_configuration():
    config = DeskConfig()
    risk = replace(config.risk, balanced=replace(config.risk.balanced, size=0.5))
    names = {
        TradingGroup(MODEL, each).name
        for each in (config, replace(config, risk=risk), replace(config, labels=replace(config.labels, horizon=3)))
    }
    assert len(names) == 3
    assert all(name.startswith("trading-group-") for name in names)


def test_subclass_does_not_inherit_the_registered_name():
    assert kind_of(ReActAgent(MODEL)) == "react"
    assert kind_of(UnnamedReAct(MODEL)) == "fake_agents:UnnamedReAct"
    assert kind_of(NamedReAct(MODEL)) == "named"
    assert kind_of(MemoryAgent(MODEL)) == "fake_agents:MemoryAgent"
    other, named = UnnamedReAct(MODEL).spec, NamedReAct(MODEL).spec
    assert other is not None
    assert other == replace(named or other, id="fake_agents:UnnamedReAct")
    assert len({ReActAgent(MODEL).name, UnnamedReAct(MODEL).name, NamedReAct(MODEL).name}) == 3


def test_specification_contains_the_whole_configuration():
    spec = MemoryAgent(MODEL, MemoryConfig("notes", questions=2)).spec
    assert spec is not None
    assert spec.args == {"memory": "notes", "questions": 2, "max_tokens": 64}
    assert list(MemoryAgent(MODEL).models) == [MODEL]


def test_rule_agents_have_no_model_specification_or_chats():
    rule = WaitAgent()
    assert (version_of(rule), list(rule.models), rule.spec) == ("ready", [], None)
    assert version_of(ReActAgent(MODEL)) == "v1"

    class Number(RuleAgent):
        name = "number"

        async def act(self, episode: Episode) -> Step:
            return Step(episode.observation, "", str(episode.task.params["number"]))

    attempt = asyncio.run(play(Echo(), Job(Echo.tasks("train").tasks[4], Number(), 0)))
    assert attempt.success
    assert (attempt.agent, attempt.model, attempt.made_by) == ("number", "number", None)
    assert Number().chats(attempt) == []


def test_name_of_resuming_agent_depends_on_agent_and_prefix():
    agent = ReActAgent(MODEL)
    resuming, other = ResumingAgent(agent, [STEP]), ResumingAgent(agent, [replace(STEP, action="another")])
    assert (resuming.spec, resuming.models) == (agent.spec, agent.models)
    assert resuming.name.startswith(f"{agent.name}+")
    assert resuming.name == ResumingAgent(agent, [STEP]).name != other.name
