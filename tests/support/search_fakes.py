"""Agents, jobs, a value model and a log for tests of tree search."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any

from kintsugi.agents.core import Agent, Episode
from kintsugi.agents.models import Message, Sampling, ScriptedModel, Usage
from kintsugi.agents.react import ReActAgent, ReActConfig
from kintsugi.agents.rollout import Job
from tiny_envs import Echo, Lamps


class ReplayLamps(Lamps):
    """Lamps with replay snapshots."""

    metadata = {**Lamps.metadata, "snapshot": "replay"}


ENVS: dict[str, Any] = {"exact": Lamps, "replay": ReplayLamps, "echo": Echo}
ACTIONS = {
    **dict.fromkeys(("exact", "replay"), ("light red", "light green", "light blue", "light pink")),
    "echo": tuple(map(str, range(5))),
}


def seeded_agent(actions: Sequence[str], **fields: Any) -> ReActAgent:
    """Return a ReAct agent that plays one of `actions`, selected by the sampling seed."""

    def script(messages: Sequence[Message], sampling: Sampling) -> str:
        return f"Thought: hm\nAction: {actions[sampling.seed % len(actions)]}"

    return ReActAgent(ScriptedModel(script), ReActConfig(temperature=1.0, max_tokens=64, **fields))


def jobs(env_name: str, n: int = 3, seed: int = 0, agent: Agent | None = None) -> list[Job]:
    """Return jobs for one tree of each of `n` tasks."""
    agent = agent or seeded_agent(ACTIONS[env_name])
    return [Job(task, agent, seed + number) for number, task in enumerate(ENVS[env_name].tasks("train").tasks[:n])]


class FakeValueModel:
    """A value model that returns a hash of actions and observation, scaled to [0, 1]."""

    version = "guess"

    def __init__(self) -> None:
        self.calls = 0

    def usage(self) -> Usage:
        return Usage(self.calls)

    async def value(self, episode: Episode) -> float:
        self.calls += 1
        text = "/".join([*(step.action for step in episode.steps), episode.observation])
        return zlib.crc32(text.encode()) % 1001 / 1000


class MemoryTreeLog:
    """A `TreeLog` in memory. Parts are converted to JSON and back, as on a disk."""

    def __init__(self, known: dict[str, list[Any]] | None = None) -> None:
        self.held = {key: list(parts) for key, parts in (known or {}).items()}
        self.costs: list[dict[str, Any]] = []

    def parts(self, key: str) -> list[Any]:
        return list(self.held.get(key, ()))

    def add(self, parts: Sequence[tuple[str, int, Any]]) -> None:
        for key, number, part in parts:
            held = self.held.setdefault(key, [])
            assert number == len(held)
            held.append(json.loads(json.dumps(part)))

    def tree_keys(self) -> list[str]:
        return list(self.held)

    def close(self, cost: dict[str, Any]) -> None:
        self.costs.append(cost)
