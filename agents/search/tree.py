"""`SearchTree`: everything that a search of one task tried, each turn held once.

A tree is a list of nodes. A node holds the turn that led to it and the number of its parent, which is always smaller
than its own; the episode up to a node is the turns on the way from the root, so a prefix that a thousand leaves share
is held, and written, once.
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

Ended = Literal["iterations", "exhausted", "solved", "budget", "infra_error"]
"""Why a search stopped: it made all its descents; every leaf is an end; an end was good enough; calls or steps ran out;
what it stood on broke."""
ROOT = 0
"""The number of the first node."""


@dataclass(frozen=True)
class Node:
    """An instant of the searched episode: facts only. What the search thinks of it, the tree says."""

    parent: int
    """Number of the node that this one follows; -1 for the root."""
    step: Step | None
    """The turn that led here, its `observation` being the parent's; None for the root. It has no `logprobs`: they
    depend on the batch in the last digit, and a tree does not; `LanguageModel.score` gives them again."""
    observation: str
    """What the environment showed then."""
    outcome: Outcome | None = None
    """How the episode ended here (`truncated` also where the search's own depth limit cut it); None where it goes
    on."""
    score: float = 0.0
    """What the environment said that the episode was worth here, in [0, 1]."""
    estimate: float | None = None
    """What the value model said of this instant when it was first seen, in [0, 1]; None without a value model."""
    drawn: int = 1
    """How many of the candidates drawn at the parent had this action; the first one's turn was kept."""

    @property
    def ends(self) -> bool:
        """Whether nothing can follow."""
        return self.outcome is not None


@dataclass(frozen=True)
class SearchUsage:
    """What a search has cost, as a function of its seed: what resuming or an environment's replay adds is not here."""

    model_calls: int = 0
    """Completions, and instants that a value model judged."""
    env_steps: int = 0
    """Actions played for the first time, those of roll-outs included."""
    sampled_tokens: int = 0
    """Tokens that the policy wrote."""
    read_tokens: int = 0
    """Tokens that the policy read, cached ones included."""

    def __add__(self, other: SearchUsage) -> SearchUsage:
        return SearchUsage(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


@dataclass(frozen=True)
class SearchTree:
    """One finished search of one task."""

    task: Task
    model: str
    """Versions of the policy's models."""
    seed: int
    """Task, agent, seed and the search's configuration determine the tree."""
    nodes: tuple[Node, ...]
    """In the order in which they were made; the root first."""
    visits: tuple[int, ...]
    """How often each node was counted: the visits of its children and its own (an end counts itself when it is found, a
    node of MCTS* when it is rolled forward)."""
    values: tuple[float, ...]
    """What the search thinks of each node, in [0, 1]; of a node that was never visited, its estimate, or 0."""
    ended: Ended
    usage: SearchUsage = field(default_factory=SearchUsage)
    sample: int = 0
    """Which of several trees of the task this is."""
    goal: str = ""
    """The task in words, where the environment says it."""
    error: str | None = None
    """What broke, for `infra_error`: the tree holds what was found before, and its ends count."""
    agent: str = ""
    """`Agent.name` of the policy."""
    made_by: AgentSpec | None = None
    """What makes the policy again."""

    def __post_init__(self) -> None:
        if not len(self.nodes) == len(self.visits) == len(self.values) > 0:
            raise UsageError(
                f"tree {self.key!r} has {len(self.nodes)} nodes, {len(self.visits)} visits and {len(self.values)} "
                "values; expected one of each per node, and a root"
            )
        for number, node in enumerate(self.nodes):
            placed = node.parent == -1 if number == ROOT else 0 <= node.parent < number
            if not placed or (node.step is None) != (number == ROOT):
                raise UsageError(
                    f"tree {self.key!r}: node {number} has parent {node.parent} and "
                    f"{'no step' if node.step is None else 'a step'}; a parent comes before its children, and the root "
                    "alone has neither parent nor step"
                )

    @property
    def key(self) -> str:
        """Names the tree within its stage: task id and sample number."""
        return f"{self.task.id}#{self.sample}"

    def __len__(self) -> int:
        return len(self.nodes)

    # -- shape ----------------------------------------------------------------------------------------------------

    @functools.cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """Of each node, the numbers of its children in the order in which they were drawn."""
        found: list[list[int]] = [[] for _ in self.nodes]
        for number, node in enumerate(self.nodes[1:], start=1):
            found[node.parent].append(number)
        return tuple(map(tuple, found))

    def path(self, number: int) -> tuple[int, ...]:
        """Numbers of the nodes from the root to this one, both included."""
        return path_of(self.nodes, number)

    def depth(self, number: int) -> int:
        """How many turns led here; 0 for the root."""
        return len(self.path(number)) - 1

    def common(self, a: int, b: int) -> int:
        """The last node that the paths to `a` and `b` share."""
        pairs = zip(self.path(a), self.path(b), strict=False)
        return [one for one, two in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)][-1]

    def ends(self) -> Iterator[int]:
        """Numbers of the nodes where the episode ended, oldest first."""
        return (number for number, node in enumerate(self.nodes) if node.ends)

    # -- episodes -------------------------------------------------------------------------------------------------

    def steps(self, number: int) -> tuple[Step, ...]:
        """The turns from the root to a node."""
        return steps_to(self.nodes, number)

    def trajectory(self, end: int, source: str = "policy") -> Trajectory:
        """The attempt that ends at node `end`, which is its `sample`; raises `UsageError` where the episode goes on."""
        node = self.nodes[end]
        if node.outcome is None:
            raise UsageError(f"tree {self.key!r}: the episode goes on at node {end}; only an end makes an attempt")
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
        """JSON-clean, each observation once; `from_json` gives an equal tree."""
        shallow = {each.name: getattr(self, each.name) for each in fields(self)}
        about = {"task": asdict(self.task), "usage": asdict(self.usage), "nodes": list(map(node_to_json, self.nodes))}
        made_by = asdict(self.made_by) if self.made_by else None
        lists = {"visits": list(self.visits), "values": list(self.values)}
        return {**shallow, **about, **lists, "made_by": made_by}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `to_json` gave; raises `KeyError`, `TypeError` or `UsageError` when it is not that."""
        values = dict(data)
        nodes: list[Node] = []
        for node in values["nodes"]:
            nodes.append(node_from_json(node, nodes))
        values |= {"task": Task(**values["task"]), "nodes": tuple(nodes), "usage": SearchUsage(**values["usage"])}
        values |= {"visits": tuple(values["visits"]), "values": tuple(values["values"])}
        values["made_by"] = AgentSpec(**values["made_by"]) if values.get("made_by") else None
        return cls(**values)


def path_of(nodes: Sequence[Node], number: int) -> tuple[int, ...]:
    """Numbers of the nodes from the root to `number`, both included."""
    path = []
    while number >= 0:
        path.append(number)
        number = nodes[number].parent
    return tuple(reversed(path))


def steps_to(nodes: Sequence[Node], number: int) -> tuple[Step, ...]:
    """The turns from the root to `number`."""
    return tuple(step for step in (nodes[i].step for i in path_of(nodes, number)) if step is not None)


_STEP = Step("", "", "")
_NODE = Node(-1, None, "")


def node_to_json(node: Node) -> dict[str, Any]:
    """JSON-clean: what differs from the defaults, and the step without what its parent shows."""
    data = _unusual(node, _NODE)
    if node.step is not None:
        data["step"] = _unusual(replace(node.step, observation="", logprobs=None), _STEP)
        if node.step.calls:
            data["step"]["calls"] = [asdict(call) for call in node.step.calls]
    return data


def node_from_json(data: Mapping[str, Any], earlier: Sequence[Node]) -> Node:
    """What `node_to_json` gave; `earlier` are the nodes before it."""
    node = replace(_NODE, **data)
    if node.step is None:
        return node
    seen = earlier[node.parent].observation
    return replace(node, step=step_from_json({**asdict(_STEP), **data["step"], "observation": seen}))


def _unusual(value: Any, usual: Any) -> dict[str, Any]:
    found = {each.name: getattr(value, each.name) for each in fields(value)}
    return {name: part for name, part in found.items() if part != getattr(usual, name)}
