"""Batches of texts of like length, and the loss of one."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F

from ...agents.models.networks import head_logits
from .core import Text

SomeText = TypeVar("SomeText", bound=Text)


def batches(texts: Sequence[SomeText], tokens: int, rng: random.Random) -> Iterator[list[SomeText]]:
    """One pass over `texts` in random order, texts of like length together, each batch at most `tokens` when padded."""
    order = list(range(len(texts)))
    rng.shuffle(order)
    made = []
    for first in range(0, len(order), 512):
        batch: list[SomeText] = []
        for i in sorted(order[first : first + 512], key=lambda i: len(texts[i].ids)):
            if batch and len(texts[i].ids) * (len(batch) + 1) > tokens:
                made.append(batch)
                batch = []
            batch.append(texts[i])
        made.append(batch)
    rng.shuffle(made)
    yield from made


def padded(batch: Sequence[Text], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and weights [texts, longest], padded right."""
    width = max(len(text.ids) for text in batch)
    ids = torch.tensor([text.ids + [pad_id] * (width - len(text.ids)) for text in batch])
    weights = torch.tensor([text.weight + [0.0] * (width - len(text.ids)) for text in batch])
    return ids, weights


def loss_of(model: Any, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted mean cross-entropy (nats) of the tokens of weight above 0."""
    hidden = model.base_model(input_ids=ids).last_hidden_state[:, :-1]
    wanted = weights[:, 1:] > 0
    losses = F.cross_entropy(head_logits(model, hidden[wanted]), ids[:, 1:][wanted], reduction="none")
    weight = weights[:, 1:][wanted]
    return (losses * weight).sum() / weight.sum()
