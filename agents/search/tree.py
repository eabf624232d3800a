"""`SearchTree`: all turns that a search tried on one task, each stored once.

A tree is a list of nodes, numbered by their position. Each node holds the step that led to it and the number of its
parent, which is smaller than its own. The episode up to a node is the sequence of steps on the path from the root.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self

from ...envs.core import Task
from ...errors import UsageError
from ..trajectory import AgentSpec, Outcome, Step, Trajectory, step_from_json

StopReason = Literal["iterations", "exhausted", "solved", "budget", "infra_error"]
"""Why a search stopped: all descents were made; all leaves are terminal; a terminal node reached `stop_score`; the
budget of model calls or environment steps ran out; an infrastructure failure."""
ROOT = 0
"""Number of the root node."""


@dataclass(frozen=True)
class Node:
    """One state of the searched episode and the step that led to it. Visit counts and values are in `SearchTree`."""

    parent: int
    """Number of the parent node; -1 for the root."""
    step: Step | None
    """The step that led here; None for the root. Its `observation` is that of the parent. `logprobs` are not stored,
    because their last digits depend on the batch; `LanguageModel.score` recomputes them."""
    observation: str
    """The observation at this node."""
    outcome: Outcome | None = None
    """How the episode ended here; None if it did not end. `truncated` includes the depth limit of the search."""
    score: float = 0.0
    """Score that the environment reported here, in [0, 1]."""
    estimate: float | None = None
    """Final score that the value model predicted here, in [0, 1]; None without a value model."""
    sampled_count: int = 1
    """Number of candidates at the parent with this action. The turn of the first one is stored."""

    @property
    def ends(self) -> bool:
        """Whether the episode ended at this node."""
        return self.outcome is not None


@dataclass(frozen=True)
class SearchUsage:
    """Cost of one search. Deterministic: excludes the extra cost of resuming and of replayed snapshots."""

    model_calls: int = 0
    """Calls of the language model and of the value model."""
    env_steps: int = 0
    """Actions played for the first time, including rollouts."""
    sampled_tokens: int = 0
    """Tokens sampled by the agent's models."""
    read_tokens: int = 0
    """Tokens read by the agent's models, including cached ones."""

    def __add__(self, other: SearchUsage) -> SearchUsage:
        return SearchUsage(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


@dataclass(frozen=True)
class SearchTree:
    """The finished search of one task."""

    task: Task
    model: str
    """Versions of the agent's models."""
    seed: int
    """Seed of the search. Task, agent, seed and search configuration determine the tree."""
    nodes: tuple[Node, ...]
    """In the order of creation; the root is first."""
    visits: tuple[int, ...]
    """Visit count of each node: the sum of its children's counts, plus its own visits. UCT visits a terminal node when
    it is found; MCTS* visits the node that it rolls out from."""
    values: tuple[float, ...]
    """The search's estimate of the final score at each node, in [0, 1]. Unvisited nodes have `estimate`, or 0."""
    ended: StopReason
    """Why the search stopped."""
    usage: SearchUsage = field(default_factory=SearchUsage)
    sample: int = 0
    """Number of this tree among several trees of the same task."""
    goal: str = ""
    """The task in words, if the environment provides it."""
    error: str | None = None
    """Message of the infrastructure failure, for `infra_error`. The nodes found before it are valid."""
    agent: str = ""
    """`Agent.name` of the agent."""
    made_by: AgentSpec | None = None
    """Specification from which the agent can be made again; None if it has none."""

    def __post_init__(self) -> None:
        if not len(self.nodes) == len(self.visits) == len(self.values) > 0:
            raise UsageError(
                f"tree {self.key!r} has {len(self.nodes)} nodes, {len(self.visits)} visits and {len(self.values)} "
                "values; expected equal numbers, at least 1"
            )
        for number, node in enumerate(self.nodes):
            placed = node.parent == -1 if number == ROOT else 0 <= node.parent < number
            if not placed or (node.step is None) != (number == ROOT):
                raise UsageError(
                    f"tree {self.key!r}: node {number} has parent {node.parent} and "
                    f"{'no step' if node.step is None else 'a step'}; expected a smaller number and a step, or -1 "
                    "and no step for the root"
                )

    @property
    def key(self) -> str:
        """Key of the tree within its stage: task id and sample number."""
        return f"{self.task.id}#{self.sample}"

    def __len__(self) -> int:
        return len(self.nodes)

    # -- Shape ----------------------------------------------------------------------------------------------------

    @functools.cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """Numbers of the children of each node, in the order in which they were sampled."""
        found: list[list[int]] = [[] for _ in self.nodes]
        for number, node in enumerate(self.nodes[1:], start=1):
            found[node.parent].append(number)
        return tuple(map(tuple, found))

    def path(self, number: int) -> tuple[int, ...]:
        """Return the numbers of the nodes from the root to a node, inclusive.

        Args:
            number: Number of the last node of the path.
        """
        return path_to(self.nodes, number)

    def depth(self, number: int) -> int:
        """Return the number of steps from the root to a node.

        Args:
            number: Number of the node.
        """
        return len(self.path(number)) - 1

    def common_ancestor(self, a: int, b: int) -> int:
        """Return the number of the deepest node that is on both the path to `a` and the path to `b`.

        Args:
            a: Number of one node.
            b: Number of the other node; may equal `a`.
        """
        pairs = zip(self.path(a), self.path(b), strict=False)
        return [one for one, two in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)][-1]

    def ends(self) -> Iterator[int]:
        """Yield the numbers of the terminal nodes, in the order of creation."""
        return (number for number, node in enumerate(self.nodes) if node.ends)

    # -- Episodes -------------------------------------------------------------------------------------------------

    def steps(self, number: int) -> tuple[Step, ...]:
        """Return the steps from the root to a node.

        Args:
            number: Number of the node.
        """
        return steps_to(self.nodes, number)

    def trajectory(self, end: int, source: str = "policy") -> Trajectory:
        """Return the attempt that ends at a terminal node.

        Args:
            end: Number of the terminal node. It becomes the attempt's `sample`.
            source: Origin of the attempt; see `Trajectory.source`.

        Raises:
            UsageError: If the episode did not end at this node.
        """
        node = self.nodes[end]
        if node.outcome is None:
            raise UsageError(
                f"tree {self.key!r}: the episode does not end at node {end}; choose a node of SearchTree.ends"
            )
        return Trajectory(
            task=self.task,
            steps=self.steps(end),
            final_observation=node.observation,
            outcome=node.outcome,
            score=node.score,
            source=source,
            model=self.model,
            seed=self.seed,
            sample=end,
            goal=self.goal,
            agent=self.agent,
            made_by=self.made_by,
        )

    # -- JSON -----------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return the tree as JSON values, with each observation once. `from_json` reads them back."""
        shallow = {each.name: getattr(self, each.name) for each in fields(self)}
        about = {"task": asdict(self.task), "usage": asdict(self.usage), "nodes": list(map(node_to_json, self.nodes))}
        made_by = asdict(self.made_by) if self.made_by else None
        lists = {"visits": list(self.visits), "values": list(self.values)}
        return {**shallow, **about, **lists, "made_by": made_by}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return a tree from JSON values.

        Args:
            data: Result of `to_json`.

        Raises:
            KeyError: If a field is missing. Other malformed data raises `TypeError` or `UsageError`.
        """
        values = dict(data)
        nodes: list[Node] = []
        for node in values["nodes"]:
            nodes.append(node_from_json(node, nodes))
        values |= {"task": Task(**values["task"]), "nodes": tuple(nodes), "usage": SearchUsage(**values["usage"])}
        values |= {"visits": tuple(values["visits"]), "values": tuple(values["values"])}
        values["made_by"] = AgentSpec(**values["made_by"]) if values.get("made_by") else None
        return cls(**values)


def path_to(nodes: Sequence[Node], number: int) -> tuple[int, ...]:
    """Return the numbers of the nodes from the root to node `number`, inclusive."""
    path = []
    while number >= 0:
        path.append(number)
        number = nodes[number].parent
    return tuple(reversed(path))


def steps_to(nodes: Sequence[Node], number: int) -> tuple[Step, ...]:
    """Return the steps from the root to node `number`."""
    return tuple(step for step in (nodes[i].step for i in path_to(nodes, number)) if step is not None)


_DEFAULT_STEP = Step("", "", "")
_DEFAULT_NODE = Node(-1, None, "")


def node_to_json(node: Node) -> dict[str, Any]:
    """Return a node as JSON values: fields that differ from their defaults, and the step without its observation."""
    data = _non_default_fields(node, _DEFAULT_NODE)
    if node.step is not None:
        data["step"] = _non_default_fields(replace(node.step, observation="", logprobs=None), _DEFAULT_STEP)
        if node.step.calls:
            data["step"]["calls"] = [asdict(call) for call in node.step.calls]
    return data


def node_from_json(data: Mapping[str, Any], earlier: Sequence[Node]) -> Node:
    """Return the node that `node_to_json` wrote. `earlier` holds the nodes before it, among them the parent."""
    node = replace(_DEFAULT_NODE, **data)
    if node.step is None:
        return node
    seen = earlier[node.parent].observation
    return replace(node, step=step_from_json({**asdict(_DEFAULT_STEP), **data["step"], "observation": seen}))


def _non_default_fields(value: Any, default: Any) -> dict[str, Any]:
    found = {each.name: getattr(value, each.name) for each in fields(value)}
    return {name: part for name, part in found.items() if part != getattr(default, name)}
