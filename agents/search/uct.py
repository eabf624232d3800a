"""UCT as Agent-R searches (Yuan et al., 2025, section 3.1 and the released `mcts_raw.py`).

for i in 1..ITERA:
    node <- select(root)                    best children, by UCT, down to one without children
    while node is open:
        expand(node)                        N candidates become children; each that is terminal is backed up at once
        node <- select(node)                closed children are passed by; all closed: node is closed, the descent ends

UCT(s) = Q(s) / N(s) + c * sqrt(ln N(parent) / N(s)),  and infinite for N(s) = 0; ties are broken at random
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from .strategy import ROOT, Descent, Expand, SearchConfig, TreeBuilder


@dataclass(frozen=True)
class Uct(SearchConfig):
    """Full greedy descents by UCT; what the environment says of an end is the only signal."""

    c: float = 0.25
    """How much exploration counts."""

    @property
    def judged(self) -> bool:
        """No value model."""
        return False

    def descend(self, tree: TreeBuilder, number: int) -> Descent:
        """One iteration: from the root to an end, whatever is expanded on the way."""
        node = tree.select(ROOT, partial(self.uct, tree), number)
        while node is not None:
            yield Expand(node)
            node = tree.select(node, partial(self.uct, tree), number)

    def grown(self, tree: TreeBuilder, children: Iterable[int]) -> None:
        """Ends are backed up at once, in their order: N += 1 and Q += score, up to the root."""
        for child in children:
            if tree.nodes[child].ends:
                for node in (child, *tree.ancestors(child)):
                    tree.visits[node] += 1
                    tree.returns[node] += tree.nodes[child].score
                    tree.values[node] = tree.returns[node] / tree.visits[node]

    def uct(self, tree: TreeBuilder, parent: int, child: int) -> float:
        """UCT(s), with every other descent in flight below s counted as a visit that was worth 0 (virtual loss)."""
        n, above = tree.visits[child] + tree.pending[child], tree.visits[parent] + tree.pending[parent]
        if n == 0:
            return math.inf
        return tree.returns[child] / n + self.c * math.sqrt(math.log(above) / n)
