"""`ValueRegression`: the value model of ReST-MCTS* (section 3.4), regressed on process rewards.

L = E [ (V(q, s_1..s_k) - v_k)^2 ]        v_k: `process_rewards` of the trees that a search has finished
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...agents.core import Episode
from ...agents.search.search_env import Prompting
from ...agents.search.tree import ROOT, SearchTree
from .core import Judgement, Objective, Policy, Text
from .process_rewards import process_rewards

if TYPE_CHECKING:
    import torch

    from ...agents.models.chat import ChatEncoder


def judgements(trees: Iterable[SearchTree], agent: Prompting) -> list[Judgement]:
    """Every instant of the trees that has a process reward, as `agent` sees it; but the roots, whose is 0 by
    definition.

    Each tree weighs the same.
    """
    found = []
    for tree in trees:
        labels = {number: v for number, v in process_rewards(tree).items() if number != ROOT}
        for number, label in labels.items():
            info = {"goal": tree.goal}
            episode = Episode(tree.task, tree.nodes[number].observation, info, 0, list(tree.steps(number)))
            found.append(Judgement(agent.prompt(episode), label, 1.0 / len(labels)))
    return found


@dataclass(frozen=True)
class _Judged(Text):
    label: float = 0.0
    share: float = 1.0


@dataclass(frozen=True)
class ValueRegression(Objective[Judgement, _Judged]):
    """Weighted mean squared error of a linear head on the last hidden state, which begins at the mean label."""

    def rows(self, examples: Sequence[Judgement], chat: ChatEncoder, window: int) -> list[_Judged]:
        """Chats up to where the assistant's turn begins. Raises `UsageError` for one of which no turn fits."""
        from ...agents.models.value import encoded_prompt

        return [_Judged(encoded_prompt(chat, e.messages, window), [], e.label, e.weight) for e in examples]

    def head(self, network: Any, rows: Sequence[_Judged]) -> Any:
        """One number from the hidden state: 0 times it, and the mean label."""
        import torch

        head = torch.nn.Linear(network.config.get_text_config().hidden_size, 1)
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.constant_(head.bias, _mean(rows))
        return head

    def loss(self, policy: Policy, batch: Sequence[_Judged]) -> torch.Tensor:
        """See the class."""
        import torch

        from ...agents.models.value import last_hidden

        hidden = last_hidden(policy.network, [row.ids for row in batch], policy.pad_id)
        label, share = torch.tensor([[row.label, row.share] for row in batch], device=hidden.device).unbind(-1)
        error: torch.Tensor = (share * (policy.head(hidden)[:, 0] - label) ** 2).sum() / share.sum()
        return error

    def facts(self, rows: Sequence[_Judged]) -> dict[str, float]:
        """The error of saying the mean label each time: the variance of the labels."""
        mean, shares = _mean(rows), sum(row.share for row in rows)
        return {"mean_error": sum(row.share * (row.label - mean) ** 2 for row in rows) / shares}


def _mean(rows: Sequence[_Judged]) -> float:
    return sum(row.label * row.share for row in rows) / sum(row.share for row in rows)
