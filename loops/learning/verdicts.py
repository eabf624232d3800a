"""Examples that keep the role of a verifier: the acting model's own verdicts, mixed into its training (Agent-R)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from ...agents.models.core import Message, derived_seed
from .core import Example

ChatsByTask = dict[str, list[list[dict[str, Any]]]]
"""The distinct chats of a verifier by task id, JSON-serialisable."""


def chats_to_json(chats: Iterable[tuple[str, Sequence[Message]]]) -> ChatsByTask:
    """Return pairs of a task id and a chat by task, without repeated texts."""
    distinct: dict[str, dict[tuple[str, ...], Sequence[Message]]] = {}
    for task, chat in chats:
        distinct.setdefault(task, {}).setdefault(tuple(m.content for m in chat), chat)
    return {task: [[asdict(m) for m in chat] for chat in found.values()] for task, found in distinct.items()}


def verdict_examples(chats: ChatsByTask, count: int, seed: int) -> list[Example]:
    """Sample a verifier's chats as training examples.

    Args:
        chats: The result of `chats_to_json`, which may have passed through JSON. Answers that did not parse are marked
            as not trainable.
        count: Maximum number of examples, sampled without replacement.
        seed: Seed of the sampling; equal seeds give equal examples.

    Returns:
        One example per chat, grouped by task. The weights of each task sum to 1. Answers keep their sampled token ids.
    """
    every = [(task, number) for task, own in chats.items() for number in range(len(own))]
    drawn = random.Random(derived_seed(seed, "verdicts")).sample(range(len(every)), min(count, len(every)))
    by_task: dict[str, list[int]] = {}
    for task, number in (every[i] for i in sorted(drawn)):
        by_task.setdefault(task, []).append(number)
    return [
        Example([_message(data) for data in chats[task][number]], 1.0 / len(numbers))
        for task, numbers in by_task.items()
        for number in numbers
    ]


def _message(data: dict[str, Any]) -> Message:
    ids = data["token_ids"]
    return Message(**{**data, "token_ids": None if ids is None else tuple(ids)})
