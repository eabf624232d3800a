"""Models that record their prompts, and helpers to compare recorded turns with chats."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kintsugi.agents.models import Completion, Message, Sampling, ScriptedModel
from kintsugi.agents.trajectory import Trajectory


@dataclass(frozen=True)
class Turn:
    """A prompt and the completion of a model."""

    prompt: list[Message]
    text: str
    token_ids: tuple[int, ...] | None


class Recorder(ScriptedModel):
    """Scripted model that records requests and turns. It continues an open assistant turn."""

    def __init__(self, script: Any, version: str = "scripted") -> None:
        super().__init__(script, version)
        self.requests: list[tuple[list[Message], Sampling]] = []
        self.turns: list[Turn] = []

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        self.requests.append((list(messages), sampling))
        completion = await super().complete(messages, sampling)
        self.turns.append(Turn(list(messages), completion.text, completion.token_ids))
        if messages[-1].role == "assistant":
            return replace(completion, prefix_ids=tuple(messages[-1].content.encode()))
        return completion


def turns_in(chats: Iterable[Sequence[Message]]) -> list[Turn]:
    """Return each assistant turn with the messages before it in its chat."""
    return [
        Turn(list(chat[:number]), message.content, message.token_ids)
        for chat in chats
        for number, message in enumerate(chat)
        if message.role == "assistant"
    ]


def through_json(attempt: Trajectory) -> Trajectory:
    """Return the attempt after a round trip through JSON, as a store returns it."""
    return Trajectory.from_json(json.loads(json.dumps(attempt.to_json())))
