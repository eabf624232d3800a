"""`Sft`: supervised fine-tuning, the default objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import TooLongError, UsageError
from .core import Example, Objective, Policy, Row

if TYPE_CHECKING:
    import torch

    from ...agents.models.chat import ChatEncoder


@dataclass(frozen=True)
class Sft(Objective[Example, Row]):
    """Weighted mean cross-entropy of the tokens of trainable assistant turns, in nats per token.

    Turns that a model sampled keep their sampled token ids. All other turns are masked.
    """

    def rows(self, examples: Sequence[Example], chat: ChatEncoder, window: int) -> list[Row]:
        """Encode chats as tokens with loss weights.

        A chat longer than `window` loses its oldest turns. A chat whose first and last turns alone exceed the window is
        left out.

        Args:
            examples: Chats to train on.
            chat: Encoder of the base model.
            window: Maximum tokens per row.

        Returns:
            One row per chat that fits.

        Raises:
            TooLongError: No chat fits the window.
            UsageError: A chat has no token to train on.
        """
        rows: list[Row] = []
        for number, example in enumerate(examples):
            try:
                text = chat.encode(chat.truncate(example.messages, window, generate=False), generate=False)
            except TooLongError:
                if number + 1 == len(examples) and not rows:
                    raise
                continue
            weight = [example.weight if trained else 0.0 for trained in text.mask]
            if not any(w > 0 for w in weight[1:]):
                raise UsageError(
                    f"example {number} has no token to train on (its mask sums to 0); mark at least one assistant turn "
                    "as trainable and give the example a weight above 0"
                )
            rows.append(Row(text.ids, weight))
        return rows

    def loss(self, policy: Policy, batch: Sequence[Row]) -> torch.Tensor:
        """Return the weighted mean cross-entropy of a batch; see `Objective.loss`."""
        from .batching import padded, weighted_loss

        ids, weights = padded(batch, policy.pad_id)
        return weighted_loss(policy.network, ids.to(policy.device), weights.to(policy.device))
