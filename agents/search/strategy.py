"""A tree while it is searched: `TreeBuilder` is what the policies `Uct` and `MctsStar` read and write.

A policy is a configuration with two methods. `descend` is one descent from the root, written as its paper's
pseudo-code: a generator that yields what it needs of the world (`Expand`, `Roll`) and goes on when it is there. `grown`
is told of new nodes. Everything else (models, environments, budgets, storage) is the search's.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass

from ...errors import UsageError
from ..models.core import derived_seed
from .tree import ROOT, Node, path_of


@dataclass(frozen=True)
class Expand:
    """Draw candidates at a node without children, play them, add them."""

    node: int


@dataclass(frozen=True)
class Roll:
    """Play on greedily from a node, outside of the tree; answered by the largest value seen on the way."""

    node: int
    steps: int
    """At most so many turns."""
    branch: int
    """Candidates for each; the best is played on."""


Ask = Expand | Roll
Descent = Generator[Ask, float, None]


@dataclass(frozen=True)
class SearchConfig(ABC):
    """What both searches have."""

    candidates: int = 4
    """Turns drawn at a node when it is expanded; those with the same action become one child."""
    iterations: int = 8
    """Descents from the root."""
    max_depth: int | None = 20
    """Turns after which an episode counts as truncated; None leaves that to the environment."""
    parallel: int = 1
    """Descents in flight in one tree, kept apart by virtual visits. Part of the result."""
    model_calls: int | None = None
    """Budget of one tree in turns drawn and instants judged; never exceeded. None is no limit."""
    env_steps: int | None = None
    """Budget of one tree in actions played for the first time; never exceeded. None is no limit."""
    end_gate: float | None = None
    """The search ends at the first end that is worth so much; None goes on, to collect more."""

    def __post_init__(self) -> None:
        for name in ("candidates", "iterations", "parallel"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; a search needs at least 1")
        for name in ("max_depth", "model_calls", "env_steps"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UsageError(f"{name} is {value}; give at least 1, or None for no limit")

    @property
    @abstractmethod
    def judged(self) -> bool:
        """Whether every instant is judged by a value model."""

    @abstractmethod
    def descend(self, tree: TreeBuilder, number: int) -> Descent:
        """Descent `number`."""

    @abstractmethod
    def grown(self, tree: TreeBuilder, children: Iterable[int]) -> None:
        """New children of one node are there."""


class TreeBuilder:
    """Nodes, and what is thought of them: lists by number. The same calls on equal trees leave equal trees."""

    def __init__(self, seed: int, root: Node) -> None:
        self.seed = seed
        self.nodes: list[Node] = []
        self.children: list[list[int]] = []
        self.visits: list[int] = []
        self.returns: list[float] = []
        """UCT's: sums of what the ends below a node were worth."""
        self.values: list[float] = []
        """In [0, 1]."""
        self.closed: list[bool] = []
        """Whether a node and everything below it has ended, so that nothing is left to try."""
        self.pending: list[int] = []
        """Virtual visits: how many other descents in flight are at a node or below it."""
        self._append(root)

    def add(self, parent: int, nodes: Sequence[Node]) -> list[int]:
        """Numbers of the new children of `parent`, which had none."""
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
        self.returns.append(0.0)
        self.values.append(0.0)
        self.closed.append(node.ends)
        self.pending.append(0)
        return len(self.nodes) - 1

    def ancestors(self, number: int) -> list[int]:
        """From the parent up to the root; empty for the root."""
        return list(path_of(self.nodes, number)[-2::-1])

    def best(self, numbers: Sequence[int], score: Callable[[int], float], *stream: object) -> int:
        """The node of the highest score; ties are broken uniformly by seed and `stream`."""
        scores = [score(number) for number in numbers]
        highest = max(scores)
        tied = [number for number, value in zip(numbers, scores, strict=True) if value == highest]
        return tied[0] if len(tied) == 1 else tied[derived_seed(self.seed, "tie", *stream) % len(tied)]

    def select(self, number: int, score: Callable[[int, int], float], descent: int) -> int | None:
        """From `number` down the children of the highest `score(parent, child)` to a node without children.

        Closed children are passed by; None where nothing else is left.
        """
        while self.children[number]:
            options = [child for child in self.children[number] if not self.closed[child]]
            if not options:
                return None
            number = self.best(options, functools.partial(score, number), descent, number)
        return None if self.closed[number] else number

    def mark(self, number: int, change: int) -> None:
        """A descent arrives at a node (1) or leaves it (-1)."""
        for each in path_of(self.nodes, number):
            self.pending[each] += change


__all__ = ["ROOT", "Ask", "Descent", "Expand", "Roll", "SearchConfig", "TreeBuilder"]
