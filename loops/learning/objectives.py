"""`Sft`: what adapters are trained on unless a loop brings another objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import TooLongError, UsageError
from .core import Example, Objective, Policy, Text

if TYPE_CHECKING:
    import torch

    from ...agents.models.chat import ChatEncoder


@dataclass(frozen=True)
class Sft(Objective[Example, Text]):
    """Weighted mean cross-entropy of the tokens of trainable assistant turns, in nats per token.

    What was sampled is trained on token by token as it was sampled, masked by turn.
    """

    def rows(self, examples: Sequence[Example], chat: ChatEncoder, window: int) -> list[Text]:
        """Examples as tokens with weights. One longer than `window` loses its oldest turns, never half a turn.

        Those of which not even the first and the last turns fit are left out; raises `TooLongError` when no other is
        left, and `UsageError` for an example without any token to train on.
        """
        texts: list[Text] = []
        for number, example in enumerate(examples):
            try:
                text = chat.encode(chat.fitting(example.messages, window, generate=False), generate=False)
            except TooLongError:
                if number + 1 == len(examples) and not texts:
                    raise
                continue
            weight = [example.weight if trained else 0.0 for trained in text.mask]
            if not any(w > 0 for w in weight[1:]):
                raise UsageError(
                    f"example {number} has no token to train on (its mask sums to 0): mark at least one assistant turn "
                    "as trainable and give the example a weight above 0"
                )
            texts.append(Text(text.ids, weight))
        return texts

    def loss(self, policy: Policy, batch: Sequence[Text]) -> torch.Tensor:
        """See the class."""
        from .batching import loss_of, padded

        ids, weights = padded(batch, policy.pad_id)
        return loss_of(policy.network, ids.to(policy.device), weights.to(policy.device))
