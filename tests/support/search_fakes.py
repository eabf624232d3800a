"""Small searches with scripted models: what the tests of trees and of what is made from them start from."""

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


class Replayed(Lamps):
    """Lamps whose snapshots are replays."""

    metadata = {**Lamps.metadata, "snapshot": "replay"}


WORLDS: dict[str, Any] = {"exact": Lamps, "replay": Replayed, "echo": Echo}
ACTIONS = {
    **dict.fromkeys(("exact", "replay"), ("light red", "light green", "light blue", "light pink")),
    "echo": tuple(map(str, range(5))),
}


def agent(actions: Sequence[str], **fields: Any) -> ReActAgent:
    """Draws one of `actions` by the seed that it is given."""

    def script(messages: Sequence[Message], sampling: Sampling) -> str:
        return f"Thought: hm\nAction: {actions[sampling.seed % len(actions)]}"

    return ReActAgent(ScriptedModel(script), ReActConfig(temperature=1.0, max_tokens=64, **fields))


def jobs(world: str, n: int = 3, seed: int = 0, acting: Agent | None = None) -> list[Job]:
    """One tree for each of `n` tasks."""
    acting = acting or agent(ACTIONS[world])
    return [Job(task, acting, seed + number) for number, task in enumerate(WORLDS[world].tasks("train").tasks[:n])]


class Guess:
    """A value model: any number in [0, 1] that depends on what was said and done alone."""

    version = "guess"

    def __init__(self) -> None:
        self.calls = 0

    def usage(self) -> Usage:
        return Usage(self.calls)

    async def value(self, episode: Episode) -> float:
        self.calls += 1
        text = "/".join([*(step.action for step in episode.steps), episode.observation])
        return zlib.crc32(text.encode()) % 1001 / 1000


class Log:
    """A `TreeLog` in memory; what is added goes through JSON, as it would to a disk."""

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
