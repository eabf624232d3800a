"""Storage of growing trees, so that an interrupted search resumes and ends with the same tree.

A stored tree is a sequence of parts, each one JSON value. The first parts of a tree are enough to resume its search.

part 0      {"begin": {"task", "agent", "made_by", "model", "value", "seed", "sample", "goal", "search", "root": node}}
part k      {"expand": number, "children": [node, ...], "usage": {...}, "remembers": true}
            or {"roll": number, "best": V, "usage": {...}}
last        {"end": {"ended", "error", "visits": [...], "values": [...]}}

Visit counts and values are stored in the last part only. A resumed search runs again from its start, and its requests
to model and environment are answered from the stored parts. If the agent keeps notes or reflections (`remembers`), the
steps do not restore its memory: the requests are then carried out again, and their results must equal the stored parts.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from ...envs.core import Task, canonical_json
from ...errors import UsageError
from ..trajectory import AgentSpec
from .strategy import Expand, Request
from .tree import Node, SearchTree, SearchUsage, node_from_json, node_to_json

FLUSH_SECONDS = 1.0
"""Minimum seconds between two writes to the log. A killed process loses the parts collected since the last one."""


@dataclass(frozen=True)
class RequestResult:
    """The result of a `Request`."""

    nodes: tuple[Node, ...]
    """New children; empty for a rollout."""
    best: float
    """Highest value seen in a rollout; 0 for an expansion."""
    usage: SearchUsage
    has_memory: bool = False
    """Whether the agent keeps notes or a reflection at one of the new children."""

    def part(self, request: Request) -> dict[str, Any]:
        """Return the result as a part to store."""
        usage = asdict(self.usage)
        if isinstance(request, Expand):
            part = {"expand": request.node, "children": list(map(node_to_json, self.nodes)), "usage": usage}
            return {**part, "remembers": True} if self.has_memory else part
        return {"roll": request.node, "best": self.best, "usage": usage}


class TreeLog(Protocol):
    """Append-only storage for the trees of one stage. `RunStore.tree_log` returns one."""

    def parts(self, key: str) -> list[Any]:
        """Return the stored parts of one tree, in order; empty if the tree is not stored.

        Args:
            key: Key of the tree (`SearchTree.key`).
        """
        ...

    def add(self, parts: Sequence[tuple[str, int, Any]]) -> None:
        """Store parts: all of them or none.

        Args:
            parts: Tuples of the tree's key, the number of the part (from 0) and the part as a JSON value.
        """
        ...

    def tree_keys(self) -> list[str]:
        """Return the keys of all trees, finished or not, in the order in which they were started."""
        ...

    def close(self, cost: dict[str, Any]) -> None:
        """Store the cost of the search in this process. Called when all trees are finished.

        Args:
            cost: The fields of `SearchStats` as JSON values.
        """
        ...


class BufferedTreeLog:
    """Writes the parts of all trees of one search to a `TreeLog`, several at a time. Does nothing without a log."""

    def __init__(self, log: TreeLog | None) -> None:
        self.log = log
        self._waiting: list[tuple[str, int, Any]] = []
        self._flushed = time.monotonic()

    def read(self, key: str) -> list[Any]:
        """Return the stored parts of a tree."""
        return self.log.parts(key) if self.log else []

    def write(self, key: str, number: int, part: Any) -> None:
        """Store part `number` of a tree, now or together with later parts."""
        if self.log is None:
            return
        self._waiting.append((key, number, part))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write all waiting parts."""
        if self.log and self._waiting:
            self.log.add(self._waiting)
        self._waiting, self._flushed = [], time.monotonic()


class RecordedResults:
    """The stored results of one tree, returned one by one while its search runs again."""

    def __init__(self, key: str, parts: Sequence[Any], root: Node) -> None:
        self.key = key
        self._parts = deque(parts[1:])
        self._nodes = [root]
        self.read = min(len(parts), 1)
        """Number of parts read so far."""
        self.has_memory = any(part.get("remembers") for part in parts[1:])
        """Whether the agent keeps notes or reflections, so that requests must be carried out again."""

    def next(self, request: Request) -> RequestResult | None:
        """Return the stored result of the next request, or None if no parts are left.

        Raises:
            UsageError: If the stored part belongs to another request.
        """
        if not self._parts:
            return None
        kind = "expand" if isinstance(request, Expand) else "roll"
        part = self._parts[0]
        if part.get(kind) != request.node:
            raise UsageError(
                f"tree {self.key!r}: stored part {self.read} is {canonical_json(part)[:60]}; expected {kind!r} of node "
                f"{request.node}: another version of Kintsugi started the tree, so use a new run folder"
            )
        self._parts.popleft()
        self.read += 1
        first = len(self._nodes)
        for child in part.get("children", ()):
            self._nodes.append(node_from_json(child, self._nodes))
        found = RequestResult(tuple(self._nodes[first:]), part.get("best", 0.0), SearchUsage(**part["usage"]))
        return replace(found, has_memory=bool(part.get("remembers")))

    def check_same(self, request: Request, then: RequestResult, now: RequestResult) -> None:
        """Raise `UsageError` if the result of a repeated request differs from the stored one."""
        if canonical_json(then.part(request)) != canonical_json(now.part(request)):
            raise UsageError(
                f"tree {self.key!r}: repeating part {self.read - 1} gave {canonical_json(now.part(request))[:120]}; "
                f"expected the stored {canonical_json(then.part(request))[:120]}: a search resumes only if the agent's "
                "turns are a function of episode and seed, so use a new run folder"
            )


def tree_from_parts(parts: Sequence[Any]) -> SearchTree | None:
    """Return the tree that consists of these parts, or None if it is not finished."""
    if not parts or "end" not in parts[-1]:
        return None
    begin, end = parts[0]["begin"], parts[-1]["end"]
    nodes = [node_from_json(begin["root"], ())]
    usage = SearchUsage()
    for part in parts[1:-1]:
        usage += SearchUsage(**part["usage"])
        for child in part.get("children", ()):
            nodes.append(node_from_json(child, nodes))
    return SearchTree(
        task=Task(**begin["task"]),
        model=begin["model"],
        agent=begin["agent"],
        made_by=AgentSpec(**begin["made_by"]) if begin["made_by"] else None,
        seed=begin["seed"],
        nodes=tuple(nodes),
        visits=tuple(end["visits"]),
        values=tuple(end["values"]),
        ended=end["ended"],
        usage=usage,
        sample=begin["sample"],
        goal=begin["goal"],
        error=end["error"],
    )


def finished_trees(log: TreeLog) -> Iterator[SearchTree]:
    """Yield the finished trees of a log, in the order in which they were started.

    Args:
        log: For example `RunStore.tree_log(stage)`.
    """
    for key in log.tree_keys():
        tree = tree_from_parts(log.parts(key))
        if tree is not None:
            yield tree


def check_same_settings(key: str, stored: Any, begin: Any) -> None:
    """Raise `UsageError` if a stored tree was started with different settings. The message lists the differences."""
    then, now = stored["begin"], begin["begin"]
    changed = [name for name in sorted(now) if canonical_json(then.get(name)) != canonical_json(now[name])]
    if changed:
        about = ", ".join(f"{name}: {str(then.get(name))[:60]} -> {str(now[name])[:60]}" for name in changed)
        raise UsageError(
            f"tree {key!r} was started with different settings ({about}); use a new run folder or the stored settings"
        )
