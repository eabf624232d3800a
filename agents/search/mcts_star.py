"""MCTS* as ReST-MCTS* searches (Zhang et al., NeurIPS 2024, section 3.3, algorithm 2 and the released `mcts.py`).

for i in 1..T:
    1. select       from the root by  V(s) + c * sqrt(2 ln N(parent) / N(s)),  and  V(s) + INF  for N(s) = 0,
                    down to a node without children
    2. expand       `branch` candidates become children; the value model judges each
    3. simulate     from the best child s play on greedily for a few turns; V_max is the largest value on the way
                    V(s) <- (1 - alpha) V(s) + alpha V_max;  N(s) <- N(s) + 1
    4. back up      every ancestor:  N <- N + 1;  V <- sum_c N(c) V(c) / sum_c N(c)

Where the paper asks the model whether a solution is complete, here the environment ends the episode: an end is worth
what the environment says, is never selected again, and nothing is played on from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from .strategy import ROOT, Descent, Expand, Roll, SearchConfig, TreeBuilder


@dataclass(frozen=True)
class MctsStar(SearchConfig):
    """Value-guided search; the defaults are those of the released generation scripts."""

    candidates: int = 3
    iterations: int = 50
    c: float = 0.5
    """How much exploration counts."""
    inf: float = 0.9
    """Added to the value of a child that was never visited."""
    alpha: float = 0.5
    """Weight of what the roll-out saw."""
    roll_steps: int = 1
    """Turns that a roll-out plays on; 0 is none."""
    roll_branch: int = 1
    """Candidates for each of them."""

    @property
    def judged(self) -> bool:
        """By a value model."""
        return True

    def descend(self, tree: TreeBuilder, number: int) -> Descent:
        """One round."""
        node = tree.select(ROOT, partial(self.bound, tree), number)
        if node is None:
            return
        yield Expand(node)
        best = tree.best(tree.children[node], lambda s: tree.values[s] - _taken(tree, s), number, node, "simulate")
        if self.roll_steps and not tree.nodes[best].ends:
            v_max = yield Roll(best, self.roll_steps, self.roll_branch)
            tree.values[best] = (1 - self.alpha) * tree.values[best] + self.alpha * v_max
        tree.visits[best] += 1
        for above in tree.ancestors(best):
            tree.visits[above] += 1
            below = tree.children[above]
            total = sum(tree.visits[s] * tree.values[s] for s in below)
            tree.values[above] = total / sum(tree.visits[s] for s in below)

    def grown(self, tree: TreeBuilder, children: Iterable[int]) -> None:
        """V(s) is what the value model says, and of ends what the environment says."""
        for child in children:
            node = tree.nodes[child]
            tree.values[child] = node.score if node.ends else node.estimate or 0.0

    def bound(self, tree: TreeBuilder, parent: int, child: int) -> float:
        """The score of step 1, with every other descent in flight below s counted as a visit."""
        n, above = tree.visits[child] + tree.pending[child], tree.visits[parent] + tree.pending[parent]
        if n == 0:
            return tree.values[child] + self.inf
        return tree.values[child] + self.c * math.sqrt(2 * math.log(above) / n)


def _taken(tree: TreeBuilder, child: int) -> float:
    """1 for a child that another descent, which came to the same node, has simulated already."""
    return float(tree.visits[child] + tree.pending[child] > 0)
