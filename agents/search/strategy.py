"""Base class of search policies, and `TreeBuilder`, the growing tree that they read and change.

A policy is a configuration with two methods. `descend` makes one descent from the root: a generator that yields
requests (`Expand`, `GreedyRollout`) and continues when their results are available. `on_expanded` updates statistics
for new nodes. The search itself handles models, environments, budgets and storage.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass

from ...errors import UsageError
from ..models.core import derived_seed
from .tree import ROOT, Node, path_to


@dataclass(frozen=True)
class Expand:
    """Request to sample candidates at a node without children, play them and add them as children."""

    node: int


@dataclass(frozen=True)
class GreedyRollout:
    """Request to play on greedily from a node without adding nodes. The result is the highest value seen."""

    node: int
    steps: int
    """Maximum number of turns."""
    branch: int
    """Candidates per turn. The one with the highest value is played on."""


Request = Expand | GreedyRollout
Descent = Generator[Request, float, None]


@dataclass(frozen=True)
class SearchConfig(ABC):
    """Settings that all search policies share."""

    candidates: int = 4
    """Candidates sampled when a node is expanded. Those with the same action become one child."""
    iterations: int = 8
    """Number of descents from the root."""
    max_depth: int | None = 20
    """Turns after which an episode counts as truncated; None means only the environment's limit."""
    parallel: int = 1
    """Number of concurrent descents in one tree, kept apart by virtual visits. Another number gives another tree."""
    model_calls: int | None = None
    """Budget of one tree: calls of the language model and the value model. None means no limit."""
    env_steps: int | None = None
    """Budget of one tree: actions played for the first time. None means no limit."""
    stop_score: float | None = None
    """Stop when a terminal node has at least this score; None never stops early."""

    def __post_init__(self) -> None:
        for name in ("candidates", "iterations", "parallel"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; expected at least 1")
        for name in ("max_depth", "model_calls", "env_steps"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UsageError(f"{name} is {value}; expected at least 1, or None for no limit")

    @property
    @abstractmethod
    def needs_value_model(self) -> bool:
        """Whether a value model estimates every new node."""

    @abstractmethod
    def descend(self, tree: TreeBuilder, number: int) -> Descent:
        """Make one descent.

        Args:
            tree: The tree to read and change.
            number: Number of the descent, used to break ties.

        Yields:
            Requests. The generator is resumed with the result: the highest value of a rollout, 0 for an expansion.
        """

    @abstractmethod
    def on_expanded(self, tree: TreeBuilder, children: Iterable[int]) -> None:
        """Update values and visit counts for new children of one node."""


class TreeBuilder:
    """A growing tree: nodes and their statistics, as lists indexed by node number.

    Equal sequences of calls lead to equal trees.

    Args:
        seed: Seed of random tie-breaking.
        root: The first node.
    """

    def __init__(self, seed: int, root: Node) -> None:
        self.seed = seed
        self.nodes: list[Node] = []
        self.children: list[list[int]] = []
        self.visits: list[int] = []
        self.score_sums: list[float] = []
        """Sums of the scores of terminal nodes at or below each node; used by UCT."""
        self.values: list[float] = []
        """Estimates of the final score, in [0, 1]."""
        self.closed: list[bool] = []
        """Whether all leaves at or below each node are terminal, so that nothing is left to explore."""
        self.virtual_visits: list[int] = []
        """Numbers of waiting descents at or below each node."""
        self._append(root)

    def add_children(self, parent: int, nodes: Sequence[Node]) -> list[int]:
        """Add children to a node that has none, and return their numbers."""
        numbers = [self._append(node) for node in nodes]
        self.children[parent] = numbers
        while parent >= 0 and all(self.closed[child] for child in self.children[parent]):
            self.closed[parent] = True
            parent = self.nodes[parent].parent
        return numbers

    def _append(self, node: Node) -> int:
        self.nodes.append(node)
        self.children.append([])
        self.visits.append(0)
        self.score_sums.append(0.0)
        self.values.append(0.0)
        self.closed.append(node.ends)
        self.virtual_visits.append(0)
        return len(self.nodes) - 1

    def ancestors(self, number: int) -> list[int]:
        """Return the nodes from the parent up to the root; empty for the root."""
        return list(path_to(self.nodes, number)[-2::-1])

    def argmax(self, numbers: Sequence[int], score: Callable[[int], float], *stream: object) -> int:
        """Return the node with the highest score. Ties are broken uniformly at random, by seed and `stream`."""
        scores = [score(number) for number in numbers]
        highest = max(scores)
        tied = [number for number, value in zip(numbers, scores, strict=True) if value == highest]
        return tied[0] if len(tied) == 1 else tied[derived_seed(self.seed, "tie", *stream) % len(tied)]

    def select(self, number: int, score: Callable[[int, int], float], descent: int) -> int | None:
        """Follow the children with the highest `score(parent, child)` down to a node without children.

        Closed children are skipped. Returns None if all children of a node on the way are closed.
        """
        while self.children[number]:
            options = [child for child in self.children[number] if not self.closed[child]]
            if not options:
                return None
            number = self.argmax(options, functools.partial(score, number), descent, number)
        return None if self.closed[number] else number

    def add_virtual_visits(self, number: int, change: int) -> None:
        """Add `change` (1 or -1) to the virtual visits of a node and of all its ancestors."""
        for each in path_to(self.nodes, number):
            self.virtual_visits[each] += change


__all__ = ["ROOT", "Descent", "Expand", "GreedyRollout", "Request", "SearchConfig", "TreeBuilder"]
