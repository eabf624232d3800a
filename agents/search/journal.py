"""A tree's growth as it is stored: parts that follow each other, any beginning of which leads to the same tree.

part 0      {"begin": {"task", "model", "value", "seed", "sample", "goal", "search", "root": node}}
part k      {"expand": number, "children": [node, ...], "spent": {...}, "remembers": true}
            or {"roll": number, "best": V, "spent": {...}}
last        {"end": {"ended", "error", "visits": [...], "values": [...]}}

Statistics stand in the last part alone: a search that is continued is made again from its start, and what it asked the
model and the environment before is answered from the parts. Where an agent keeps more than the steps say (`remembers`),
the questions are asked again, and the answers must be those of the parts.
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
from .strategy import Ask, Expand
from .tree import Node, SearchTree, SearchUsage, node_from_json, node_to_json

FLUSH_SECONDS = 1.0
"""Parts wait so long at most to be written together: what a kill can lose."""


@dataclass(frozen=True)
class Answer:
    """What came of an `Ask`."""

    nodes: tuple[Node, ...]
    """New children; none for a roll-out."""
    best: float
    """The largest value of a roll-out; 0 for an expansion."""
    usage: SearchUsage
    remembers: bool = False
    """Whether the agent keeps, at one of the new children, what its steps do not say."""

    def part(self, ask: Ask) -> dict[str, Any]:
        """As it is stored."""
        usage = asdict(self.usage)
        if isinstance(ask, Expand):
            part = {"expand": ask.node, "children": list(map(node_to_json, self.nodes)), "usage": usage}
            return {**part, "remembers": True} if self.remembers else part
        return {"roll": ask.node, "best": self.best, "usage": usage}


class TreeLog(Protocol):
    """Where the trees of one stage are kept; `RunStore.tree_log` is one."""

    def parts(self, key: str) -> list[Any]:
        """The stored parts of one tree, in order; empty for a tree that was not begun."""
        ...

    def add(self, parts: Sequence[tuple[str, int, Any]]) -> None:
        """Store (tree's key, number of the part, JSON), all or none."""
        ...

    def tree_keys(self) -> list[str]:
        """The trees, finished or not, in the order in which they were begun."""
        ...

    def close(self, cost: dict[str, Any]) -> None:
        """The search has ended, and this is what it cost in this process."""
        ...


class Journal:
    """Where the trees of one search are written to, and found again."""

    def __init__(self, log: TreeLog | None) -> None:
        self.log = log
        self._waiting: list[tuple[str, int, Any]] = []
        self._flushed = time.monotonic()

    def read(self, key: str) -> list[Any]:
        """The parts of a tree that are stored."""
        return self.log.parts(key) if self.log else []

    def write(self, key: str, number: int, part: Any) -> None:
        """Part `number` of a tree; it may wait for others a moment."""
        if self.log is None:
            return
        self._waiting.append((key, number, part))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self.log and self._waiting:
            self.log.add(self._waiting)
        self._waiting, self._flushed = [], time.monotonic()


class Recorded:
    """The stored parts of one tree, read one after another while its search is made again."""

    def __init__(self, key: str, parts: Sequence[Any], root: Node) -> None:
        self.key = key
        self._parts = deque(parts[1:])
        self._nodes = [root]
        self.read = min(len(parts), 1)
        """Parts read so far."""
        self.remembers = any(part.get("remembers") for part in parts[1:])
        """Whether answers have to be asked for again, since they alone do not bring back what the agent knew."""

    def next(self, ask: Ask) -> Answer | None:
        """What the search was answered then; None when it had not come so far.

        Raises `UsageError` when the search then asked for something else.
        """
        if not self._parts:
            return None
        kind = "expand" if isinstance(ask, Expand) else "roll"
        part = self._parts[0]
        if part.get(kind) != ask.node:
            raise UsageError(
                f"tree {self.key!r}: this search would {kind} node {ask.node}, and part {self.read} of what is stored "
                f"says {canonical_json(part)[:60]}; another version of Kintsugi began it: use a new run folder"
            )
        self._parts.popleft()
        self.read += 1
        first = len(self._nodes)
        for child in part.get("children", ()):
            self._nodes.append(node_from_json(child, self._nodes))
        found = Answer(tuple(self._nodes[first:]), part.get("best", 0.0), SearchUsage(**part["usage"]))
        return replace(found, remembers=bool(part.get("remembers")))

    def refuse_other(self, ask: Ask, then: Answer, now: Answer) -> None:
        """Raises `UsageError` when a question that was asked again has another answer."""
        if canonical_json(then.part(ask)) != canonical_json(now.part(ask)):
            raise UsageError(
                f"tree {self.key!r}: part {self.read - 1} says {canonical_json(then.part(ask))[:120]}, and asked again "
                f"the agent says {canonical_json(now.part(ask))[:120]}; its answers have to be a function of episode "
                "and seed for a search to be continued: use a new run folder"
            )


def tree_of(parts: Sequence[Any]) -> SearchTree | None:
    """The tree of all its parts; None when it is not finished."""
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


def finished(log: TreeLog) -> Iterator[SearchTree]:
    """The finished trees of a stage, one at a time, in the order in which they were begun."""
    for key in log.tree_keys():
        tree = tree_of(log.parts(key))
        if tree is not None:
            yield tree


def refuse_other(key: str, stored: Any, begin: Any) -> None:
    """Raises `UsageError` when a stored tree was begun otherwise than it would be now, and says how."""
    then, now = stored["begin"], begin["begin"]
    changed = [name for name in sorted(now) if canonical_json(then.get(name)) != canonical_json(now[name])]
    if changed:
        about = ", ".join(f"{name}: {str(then.get(name))[:60]} -> {str(now[name])[:60]}" for name in changed)
        raise UsageError(f"tree {key!r} was begun otherwise ({about}); use a new run folder, or what it was begun with")
