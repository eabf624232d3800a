"""Batches of rows of similar length, and the loss of a batch."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F

from ...agents.models.networks import head_logits
from .core import Row

RowT = TypeVar("RowT", bound=Row)


def batches(rows: Sequence[RowT], tokens: int, rng: random.Random) -> Iterator[list[RowT]]:
    """Yield the batches of one epoch in random order, with rows of similar length together.

    Args:
        rows: Rows of the epoch.
        tokens: Maximum tokens per batch, padding included; a longer row is a batch by itself.
        rng: Source of the order.
    """
    order = list(range(len(rows)))
    rng.shuffle(order)
    all_batches = []
    for first in range(0, len(order), 512):
        batch: list[RowT] = []
        for i in sorted(order[first : first + 512], key=lambda i: len(rows[i].ids)):
            if batch and len(rows[i].ids) * (len(batch) + 1) > tokens:
                all_batches.append(batch)
                batch = []
            batch.append(rows[i])
        all_batches.append(batch)
    rng.shuffle(all_batches)
    yield from all_batches


def groups_of(epoch: Iterable[list[RowT]], size: int, rng: random.Random) -> list[list[list[RowT]]]:
    """Group the batches of an epoch by similar size, so that threads finish together, and shuffle the groups.

    Args:
        epoch: Batches of one epoch.
        size: Batches per group; with 1, the order of the epoch is kept.
        rng: Source of the order.

    Returns:
        The groups; one of them may be smaller.
    """
    if size == 1:
        return [[batch] for batch in epoch]
    by_size = sorted(epoch, key=lambda batch: len(batch) * max(len(row.ids) for row in batch))
    groups = [by_size[first : first + size] for first in range(0, len(by_size), size)]
    rng.shuffle(groups)
    return groups


def padded(batch: Sequence[Row], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and weights as tensors of shape [rows, longest row], padded on the right."""
    width = max(len(row.ids) for row in batch)
    ids = torch.tensor([row.ids + [pad_id] * (width - len(row.ids)) for row in batch])
    weights = torch.tensor([row.weight + [0.0] * (width - len(row.ids)) for row in batch])
    return ids, weights


def weighted_loss(model: Any, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean cross-entropy of next-token predictions, in nats.

    Logits are computed only where the weight of the predicted token is above 0.

    Args:
        model: Causal language model.
        ids: Token ids [rows, length].
        weights: Loss weights [rows, length].
    """
    hidden = model.base_model(input_ids=ids).last_hidden_state[:, :-1]
    mask = weights[:, 1:] > 0
    losses = F.cross_entropy(head_logits(model, hidden[mask]), ids[:, 1:][mask], reduction="none")
    weight = weights[:, 1:][mask]
    return (losses * weight).sum() / weight.sum()
