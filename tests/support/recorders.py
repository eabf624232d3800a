"""Models that keep what they were shown, and what of a stored attempt has to be the same."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kintsugi.agents.models import Completion, Message, Sampling, ScriptedModel
from kintsugi.agents.trajectory import Trajectory


@dataclass(frozen=True)
class Turn:
    """What a model was shown, and what it said."""

    shown: list[Message]
    text: str
    token_ids: tuple[int, ...] | None


class Recorder(ScriptedModel):
    """Keeps what it was asked, how, and what it said; an assistant's turn that was begun is continued."""

    def __init__(self, script: Any, version: str = "scripted") -> None:
        super().__init__(script, version)
        self.asked: list[tuple[list[Message], Sampling]] = []
        self.turns: list[Turn] = []

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        self.asked.append((list(messages), sampling))
        said = await super().complete(messages, sampling)
        self.turns.append(Turn(list(messages), said.text, said.token_ids))
        if messages[-1].role == "assistant":
            return replace(said, opening_ids=tuple(messages[-1].content.encode()))
        return said


def turns_in(chats: Iterable[Sequence[Message]]) -> list[Turn]:
    """Each turn of the assistant with all that stands before it in its chat."""
    return [
        Turn(list(chat[:number]), message.content, message.token_ids)
        for chat in chats
        for number, message in enumerate(chat)
        if message.role == "assistant"
    ]


def stored(attempt: Trajectory) -> Trajectory:
    """The attempt as a store gives it back."""
    return Trajectory.from_json(json.loads(json.dumps(attempt.to_json())))
