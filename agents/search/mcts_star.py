"""MCTS* search as in ReST-MCTS* (Zhang et al., NeurIPS 2024, section 3.3, algorithm 2 and the released `mcts.py`).

for i in 1..T:
    1. select       from the root by  V(s) + c * sqrt(2 ln N(parent) / N(s)),  and  V(s) + INF  for N(s) = 0,
                    down to a node without children
    2. expand       sample `candidates` candidates, which become children; the value model estimates V of each
    3. simulate     play on greedily from the best child s for `rollout_steps` turns; V_max is the highest value seen
                    V(s) <- (1 - alpha) V(s) + alpha V_max;  N(s) <- N(s) + 1
    4. back up      every ancestor:  N <- N + 1;  V <- sum_c N(c) V(c) / sum_c N(c)   over its children c

In the paper, the model decides whether a solution is complete. Here, the environment ends the episode: the value of a
terminal node is its score, it is never selected again, and step 3 plays no turns from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from .strategy import ROOT, Descent, Expand, GreedyRollout, SearchConfig, TreeBuilder


@dataclass(frozen=True)
class MctsStar(SearchConfig):
    """Search guided by a value model. The defaults are those of the released generation scripts."""

    candidates: int = 3
    iterations: int = 50
    c: float = 0.5
    """Exploration constant."""
    inf: float = 0.9
    """INF of the paper: bonus on the value of a child without visits."""
    alpha: float = 0.5
    """Weight of the highest value seen in the rollout."""
    rollout_steps: int = 1
    """Turns of a rollout; 0 disables rollouts."""
    rollout_branch: int = 1
    """Candidates per turn of a rollout."""

    @property
    def needs_value_model(self) -> bool:
        """True: MCTS* needs a value model."""
        return True

    def descend(self, tree: TreeBuilder, number: int) -> Descent:
        """Make one descent: select, expand, simulate, back up."""
        node = tree.select(ROOT, partial(self.selection_score, tree), number)
        if node is None:
            return
        yield Expand(node)
        best = tree.argmax(
            tree.children[node], lambda s: tree.values[s] - _already_simulated(tree, s), number, node, "simulate"
        )
        if self.rollout_steps and not tree.nodes[best].ends:
            v_max = yield GreedyRollout(best, self.rollout_steps, self.rollout_branch)
            tree.values[best] = (1 - self.alpha) * tree.values[best] + self.alpha * v_max
        tree.visits[best] += 1
        for above in tree.ancestors(best):
            tree.visits[above] += 1
            below = tree.children[above]
            total = sum(tree.visits[s] * tree.values[s] for s in below)
            tree.values[above] = total / sum(tree.visits[s] for s in below)

    def on_expanded(self, tree: TreeBuilder, children: Iterable[int]) -> None:
        """Set V(s) to the estimate of the value model, or to the score of a terminal node."""
        for child in children:
            node = tree.nodes[child]
            tree.values[child] = node.score if node.ends else node.estimate or 0.0

    def selection_score(self, tree: TreeBuilder, parent: int, child: int) -> float:
        """Return the score of step 1. Each waiting descent at or below s counts as a visit.

        Args:
            tree: The tree under construction, with visit counts and values.
            parent: Number of the parent node.
            child: Number of the child s.
        """
        n, above = tree.visits[child] + tree.virtual_visits[child], tree.visits[parent] + tree.virtual_visits[parent]
        if n == 0:
            return tree.values[child] + self.inf
        return tree.values[child] + self.c * math.sqrt(2 * math.log(above) / n)


def _already_simulated(tree: TreeBuilder, child: int) -> float:
    """Return 1 for a child that another descent through the same node has already simulated, else 0."""
    return float(tree.visits[child] + tree.virtual_visits[child] > 0)
