"""Registry of agents: listing, construction from plain data, and errors."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import fake_agents
import pytest
from kintsugi.agents.core import Agent, ModelAgent
from kintsugi.agents.models import Message, ScriptedModel
from kintsugi.agents.react import ReActAgent, ReActConfig
from kintsugi.agents.registry import agents, make_agent, make_reader
from kintsugi.agents.rollout import Job, play
from kintsugi.agents.trading_group import DeskConfig, TradingGroup
from kintsugi.agents.trading_group.labels import LabelConfig
from kintsugi.agents.trading_group.retrieval import RetrievalConfig
from kintsugi.agents.trading_group.risk import RiskConfig, StyleRisk
from kintsugi.agents.trading_group.signals import GateConfig
from kintsugi.agents.trajectory import AgentSpec
from kintsugi.errors import UsageError
from tiny_envs import Lamps

MODEL = ScriptedModel(["Thought: hm\nAction: light blue"], "v1")
OTHER_CONFIG = ReActConfig("constrained", 0.7, 99, False, "Act!", False)
DESK = DeskConfig(
    reflection=False,
    style=False,
    days=7,
    temperature=0.1,
    max_tokens=33,
    labels=LabelConfig(horizon=3),
    gate_rule=GateConfig(overbought=71.5),
    risk=RiskConfig(balanced=StyleRisk(1.25, 2.5, 0.3)),
    retrieval=RetrievalConfig(news=2),
)


def config_of(agent: Agent) -> Any:
    assert isinstance(agent, ModelAgent)
    return agent.config


def test_make_agent_by_registered_name():
    agent = make_agent(AgentSpec(), MODEL)
    assert type(agent) is ReActAgent
    assert (list(agent.models), config_of(agent)) == ([MODEL], ReActConfig())
    assert type(make_agent(AgentSpec("trading-group"), MODEL)) is TradingGroup
    assert [plugin.name for plugin in agents()[:2]] == ["react", "trading-group"]


def test_make_agent_by_module_reference():
    agent = make_agent(AgentSpec("fake_agents:MemoryAgent", {"memory": "notes", "questions": "2"}), MODEL)
    assert config_of(agent) == fake_agents.MemoryConfig("notes", 2)
    assert make_agent(AgentSpec("fake_agents:WAIT_AGENT"), MODEL) is fake_agents.WAIT_AGENT
    by_function = make_agent(AgentSpec("fake_agents:make_wait_agent", {"loud": "true", "lines": "a, b"}), MODEL)
    assert by_function.name == "plainly-loud-a+b@v1"


def test_agents_of_installed_packages_are_listed_and_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    info = tmp_path / "mindful-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mindful\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kintsugi.agents]\nnamed = fake_agents:NamedReAct\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert {plugin.name: plugin.about for plugin in agents()}["named"] == "from mindful"
    agent = make_agent(AgentSpec("named"), MODEL)
    assert type(agent) is fake_agents.NamedReAct
    assert agent.spec == AgentSpec("named", asdict(ReActConfig()))


def test_settings_apply_only_to_existing_arguments():
    agent = make_agent(AgentSpec(args={"system": "Act!"}), MODEL, temperature=0.5, max_tokens=7, decoding=None, pet=1)
    assert config_of(agent) == ReActConfig(temperature=0.5, max_tokens=7, system="Act!")
    memory_agent = make_agent(AgentSpec("fake_agents:MemoryAgent"), MODEL, temperature=0.5, max_tokens=7)
    assert config_of(memory_agent) == fake_agents.MemoryConfig(max_tokens=7)
    assert make_agent(AgentSpec("fake_agents:WAIT_AGENT"), MODEL, temperature=0.5) is fake_agents.WAIT_AGENT


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (AgentSpec("raect"), "unknown agent 'raect'; did you mean 'react'"),
        (AgentSpec("trading_group"), "did you mean 'trading-group'"),
        (AgentSpec("nowhere:Agent"), r"cannot import 'nowhere:Agent' \(ModuleNotFoundError"),
        (AgentSpec("fake_agents:Nobody"), r"cannot import 'fake_agents:Nobody' \(AttributeError"),
        (
            AgentSpec(args={"restate_gaol": "no"}),
            "argument 'restate_gaol' of agent 'react'; did you mean 'restate_goal'",
        ),
        (
            AgentSpec("fake_agents:make_wait_agent", {"luod": "no"}),
            "argument 'luod' of agent 'fake_agents:make_wait_agent'; did you mean 'loud'",
        ),
        (AgentSpec(args={"condense": "perhaps"}), "argument 'condense' is 'perhaps'; expected true or false"),
        (
            AgentSpec("trading-group", {"labels": {"horizn": 3}}),
            "'horizn' of agent 'trading-group' argument 'labels'; did you mean 'horizon'",
        ),
        (
            AgentSpec("trading-group", {"labels.horizn": 3}),
            "'horizn' of agent 'trading-group' argument 'labels'; did you mean 'horizon'",
        ),
        (AgentSpec(args={"max_tokens": "9"}), "'max_tokens' is set by the flag of that name; remove it"),
        (
            AgentSpec("fake_agents:SyncAgent"),
            "agent 'fake_agents:SyncAgent': act is not a coroutine function; define it as `async def act",
        ),
        (
            AgentSpec("fake_agents:IncompleteAgent"),
            "agent 'fake_agents:IncompleteAgent' is .*, which lacks models, spec, act, chats; expected a",
        ),
        (AgentSpec("json:dumps"), "agent 'json:dumps'"),
    ],
)
def test_invalid_specifications_are_rejected(spec, why):
    with pytest.raises(UsageError, match=why):
        make_agent(spec, MODEL, max_tokens=5)


@pytest.mark.parametrize(
    "agent",
    [
        ReActAgent(MODEL),
        ReActAgent(MODEL, OTHER_CONFIG),
        fake_agents.UnnamedReAct(MODEL, OTHER_CONFIG),
        TradingGroup(MODEL),
        TradingGroup(MODEL, DESK),
        fake_agents.MemoryAgent(MODEL, fake_agents.MemoryConfig("reflection", 3)),
    ],
    ids=lambda agent: agent.name,
)
def test_agent_round_trip_through_json(agent):
    serialised = json.dumps(asdict(agent.spec), sort_keys=True)
    restored = make_agent(AgentSpec(**json.loads(serialised)), MODEL)
    assert type(restored) is type(agent)
    assert config_of(restored) == config_of(agent)
    assert (restored.name, restored.spec) == (agent.name, agent.spec)


def test_nested_arguments_are_parsed_from_text():
    texts = {
        "reflection": "no",
        "style": "false",
        "days": "7",
        "temperature": "0.1",
        "max_tokens": "33",
        "labels.horizon": "3",
        "gate_rule.overbought": "71.5",
        "risk.balanced.stop_loss": "1.25",
        "risk.balanced": {"take_profit": "2.5", "size": "0.3"},
        "retrieval": {"news": "2"},
    }
    assert config_of(make_agent(AgentSpec("trading-group", texts), MODEL)) == DESK


def test_reader_renders_chats_but_cannot_act():
    agent = ReActAgent(MODEL, OTHER_CONFIG)
    attempt = asyncio.run(play(Lamps(max_steps=3), Job(Lamps.tasks("train").tasks[0], agent, 0)))
    assert attempt.made_by == agent.spec
    renderer = make_reader(attempt.made_by)
    assert renderer.chats(attempt) == agent.chats(attempt)
    assert renderer.chats(attempt)[0][0] == Message("system", "Act!")
    assert renderer.chats(attempt) != make_reader(None).chats(attempt) == ReActAgent(MODEL).chats(attempt)
    with pytest.raises(UsageError, match="this agent has no model to act with"):
        asyncio.run(play(Lamps(), Job(attempt.task, renderer, 0)))
    assert replace(attempt, made_by=None).to_json()["made_by"] is None
