"""`ValueRegression`: trains the value model of ReST-MCTS* (arXiv 2406.03816, section 3.4) on process rewards.

L = E [ (V(q, s_1..s_k) - v_k)^2 ]        v_k: `process_rewards` of finished search trees
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...agents.core import Episode
from ...agents.search.search_env import PromptingAgent
from ...agents.search.tree import ROOT, SearchTree
from .core import Objective, Policy, Row, ValueExample
from .process_rewards import process_rewards

if TYPE_CHECKING:
    import torch

    from ...agents.models.chat import ChatEncoder


def value_examples(trees: Iterable[SearchTree], agent: PromptingAgent) -> list[ValueExample]:
    """Return a training example for each node that has a process reward.

    Roots are left out because their value is 0 by definition.

    Args:
        trees: Finished search trees.
        agent: Agent whose prompt the value model reads.

    Returns:
        The agent's prompt at each node with its process reward; the weights of each tree sum to 1.
    """
    examples = []
    for tree in trees:
        labels = {number: v for number, v in process_rewards(tree).items() if number != ROOT}
        for number, label in labels.items():
            info = {"goal": tree.goal}
            episode = Episode(tree.task, tree.nodes[number].observation, info, 0, list(tree.steps(number)))
            examples.append(ValueExample(agent.prompt(episode), label, 1.0 / len(labels)))
    return examples


@dataclass(frozen=True)
class _ValueRow(Row):
    label: float = 0.0
    example_weight: float = 1.0


@dataclass(frozen=True)
class ValueRegression(Objective[ValueExample, _ValueRow]):
    """Weighted mean squared error of a linear head on the last hidden state.

    The head starts as a constant predictor of the mean label.
    """

    def rows(self, examples: Sequence[ValueExample], chat: ChatEncoder, window: int) -> list[_ValueRow]:
        """Encode chats up to the start of the next assistant turn.

        A chat longer than `window` loses its oldest turns.

        Args:
            examples: Chats with their values.
            chat: Encoder of the base model.
            window: Maximum tokens per row.

        Returns:
            One row per chat.

        Raises:
            TooLongError: No turn of a chat fits the window.
        """
        from ...agents.models.value import encode_prompt

        return [_ValueRow(encode_prompt(chat, e.messages, window), [], e.label, e.weight) for e in examples]

    def head(self, network: Any, rows: Sequence[_ValueRow]) -> Any:
        """Return a linear layer to one output, with zero weights and the mean label as bias."""
        import torch

        head = torch.nn.Linear(network.config.get_text_config().hidden_size, 1)
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.constant_(head.bias, _mean_label(rows))
        return head

    def loss(self, policy: Policy, batch: Sequence[_ValueRow]) -> torch.Tensor:
        """Return the weighted mean squared error of a batch; see `Objective.loss`."""
        import torch

        from ...agents.models.value import last_hidden

        hidden = last_hidden(policy.network, [row.ids for row in batch], policy.pad_id)
        label, weight = torch.tensor([[row.label, row.example_weight] for row in batch], device=hidden.device).unbind(
            -1
        )
        error: torch.Tensor = (weight * (policy.head(hidden)[:, 0] - label) ** 2).sum() / weight.sum()
        return error

    def metrics(self, rows: Sequence[_ValueRow]) -> dict[str, float]:
        """Return `label_variance`, the mean squared error of a constant predictor."""
        mean, total_weight = _mean_label(rows), sum(row.example_weight for row in rows)
        return {"label_variance": sum(row.example_weight * (row.label - mean) ** 2 for row in rows) / total_weight}


def _mean_label(rows: Sequence[_ValueRow]) -> float:
    return sum(row.label * row.example_weight for row in rows) / sum(row.example_weight for row in rows)
