"""An objective: Direct Preference Optimisation (Rafailov et al., 2023) over pairs of chats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from kintsugi.agents.models import Message
from kintsugi.agents.models.chat import ChatEncoder
from kintsugi.loops.learning.batching import loss_of, padded
from kintsugi.loops.learning.core import Example, Objective, Policy, Text
from kintsugi.loops.learning.objectives import Sft


@dataclass(frozen=True)
class Pair:
    """The same beginning, continued well and badly; the last turn of each is what is compared."""

    chosen: Sequence[Message]
    rejected: Sequence[Message]


@dataclass(frozen=True)
class PairRow(Text):
    """The chosen chat as tokens, and the rejected one beside it."""

    rejected: Text = field(default_factory=lambda: Text([], []))


@dataclass(frozen=True)
class Dpo(Objective[Pair, PairRow]):
    """L = -log sigmoid(beta (log pi(y_w)/ref(y_w) - log pi(y_l)/ref(y_l))), summed over the tokens of each y."""

    beta: float = 0.1

    def rows(self, examples: Sequence[Pair], chat: ChatEncoder, window: int) -> list[PairRow]:
        """Both chats of each pair; the loss is on the last turn alone."""
        sides = [[_last_turn(side) for side in (pair.chosen, pair.rejected)] for pair in examples]
        texts = [Sft().rows([Example(side) for side in both], chat, window) for both in sides]
        return [PairRow(won.ids, won.weight, lost) for won, lost in texts]

    def loss(self, policy: Policy, batch: Sequence[PairRow]) -> torch.Tensor:
        """See the class; the reference is the base, which the adapter leaves as it is."""
        losses = []
        for row in batch:
            with torch.no_grad(), policy.reference():
                before = _logprob(policy, row) - _logprob(policy, row.rejected)
            margin = _logprob(policy, row) - _logprob(policy, row.rejected) - before
            losses.append(-torch.nn.functional.logsigmoid(self.beta * margin))
        return torch.stack(losses).mean()


def _last_turn(chat: Sequence[Message]) -> list[Message]:
    return [replace(message, trainable=number == len(chat) - 1) for number, message in enumerate(chat)]


def _logprob(policy: Policy, text: Text) -> torch.Tensor:
    ids, weights = padded([text], policy.pad_id)
    return -loss_of(policy.network, ids.to(policy.device), weights.to(policy.device)) * (weights[:, 1:] > 0).sum()
