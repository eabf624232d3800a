"""An objective: direct preference optimisation (DPO; Rafailov et al., 2023) on pairs of chats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from kintsugi.agents.models import Message
from kintsugi.agents.models.chat import ChatEncoder
from kintsugi.loops.learning.batching import padded, weighted_loss
from kintsugi.loops.learning.core import Example, Objective, Policy, Row
from kintsugi.loops.learning.objectives import Sft


@dataclass(frozen=True)
class Pair:
    """Two chats that differ in their last turns, which the loss compares."""

    chosen: Sequence[Message]
    rejected: Sequence[Message]


@dataclass(frozen=True)
class PairRow(Row):
    """Tokens of the chosen chat, and of the rejected one in `rejected`."""

    rejected: Row = field(default_factory=lambda: Row([], []))


@dataclass(frozen=True)
class Dpo(Objective[Pair, PairRow]):
    """L = -log sigmoid(beta (log pi(y_w)/ref(y_w) - log pi(y_l)/ref(y_l))), summed over the tokens of each y."""

    beta: float = 0.1

    def rows(self, examples: Sequence[Pair], chat: ChatEncoder, window: int) -> list[PairRow]:
        """Encode both chats of each pair. Only the last turns have weight in the loss."""
        sides = [[_last_turn(side) for side in (pair.chosen, pair.rejected)] for pair in examples]
        texts = [Sft().rows([Example(side) for side in both], chat, window) for both in sides]
        return [PairRow(chosen.ids, chosen.weight, rejected) for chosen, rejected in texts]

    def loss(self, policy: Policy, batch: Sequence[PairRow]) -> torch.Tensor:
        """Return the mean loss of a batch. The reference policy is the base model without the adapter."""
        losses = []
        for row in batch:
            with torch.no_grad(), policy.reference():
                reference_margin = _logprob(policy, row) - _logprob(policy, row.rejected)
            margin = _logprob(policy, row) - _logprob(policy, row.rejected) - reference_margin
            losses.append(-torch.nn.functional.logsigmoid(self.beta * margin))
        return torch.stack(losses).mean()


def _last_turn(chat: Sequence[Message]) -> list[Message]:
    return [replace(message, trainable=number == len(chat) - 1) for number, message in enumerate(chat)]


def _logprob(policy: Policy, text: Row) -> torch.Tensor:
    ids, weights = padded([text], policy.pad_id)
    return -weighted_loss(policy.network, ids.to(policy.device), weights.to(policy.device)) * (weights[:, 1:] > 0).sum()
