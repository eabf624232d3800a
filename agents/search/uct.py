"""UCT search as in Agent-R (Yuan et al., 2025, section 3.1 and the released `mcts_raw.py`).

for i in 1..ITERA:
    node <- select(root)                    follow the children with the highest UCT to a node without children
    while node is not closed:
        expand(node)                        N candidates become children; terminal ones are backed up at once
        node <- select(node)                closed children are skipped; if all are closed, the descent ends

UCT(s) = Q(s) / N(s) + c * sqrt(ln N(parent) / N(s));  infinite for N(s) = 0; ties are broken at random

A node is closed if all leaves at or below it are terminal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from .strategy import ROOT, Descent, Expand, SearchConfig, TreeBuilder


@dataclass(frozen=True)
class Uct(SearchConfig):
    """Upper confidence bounds for trees. The scores of terminal nodes are the only signal.

    Each descent expands nodes until it reaches a terminal node.
    """

    c: float = 0.25
    """Exploration constant."""

    @property
    def needs_value_model(self) -> bool:
        """False: UCT uses no value model."""
        return False

    def descend(self, tree: TreeBuilder, number: int) -> Descent:
        """Descend from the root to a terminal node, and expand the nodes on the way."""
        node = tree.select(ROOT, partial(self.uct_score, tree), number)
        while node is not None:
            yield Expand(node)
            node = tree.select(node, partial(self.uct_score, tree), number)

    def on_expanded(self, tree: TreeBuilder, children: Iterable[int]) -> None:
        """Back up new terminal nodes, in their order: N += 1 and Q += score on the path to the root."""
        for child in children:
            if tree.nodes[child].ends:
                for node in (child, *tree.ancestors(child)):
                    tree.visits[node] += 1
                    tree.score_sums[node] += tree.nodes[child].score
                    tree.values[node] = tree.score_sums[node] / tree.visits[node]

    def uct_score(self, tree: TreeBuilder, parent: int, child: int) -> float:
        """Return UCT(s). Each waiting descent at or below s counts as a visit with score 0 (virtual loss).

        Args:
            tree: The tree under construction, with visit counts and values.
            parent: Number of the parent node.
            child: Number of the child s.
        """
        n, above = tree.visits[child] + tree.virtual_visits[child], tree.visits[parent] + tree.virtual_visits[parent]
        if n == 0:
            return math.inf
        return tree.score_sums[child] / n + self.c * math.sqrt(math.log(above) / n)
