"""Small searches with scripted models: what the tests of trees and of what is made from them start from."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from kintsugi.agents.core import Episode
from kintsugi.agents.models import Message, Sampling, ScriptedModel
from kintsugi.agents.react import ReActAgent, ReActConfig
from kintsugi.agents.rollout import Job
from tiny_worlds import Echo, Lamps


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


def jobs(world: str, n: int = 3, seed: int = 0) -> list[Job]:
    """One tree for each of `n` tasks."""
    acting = agent(ACTIONS[world])
    return [Job(task, acting, seed + number) for number, task in enumerate(WORLDS[world].tasks("train").tasks[:n])]


class Guess:
    """A value model: any number in [0, 1] that depends on what was said and done alone."""

    version = "guess"

    async def value(self, episode: Episode) -> float:
        text = "/".join([*(step.action for step in episode.steps), episode.observation])
        return zlib.crc32(text.encode()) % 1001 / 1000
