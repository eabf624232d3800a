"""A tree's growth as it is stored: parts that follow each other, any beginning of which leads to the same tree.

part 0      {"begin": {"task", "model", "value", "seed", "sample", "goal", "search", "root": node}}
part k      {"expand": number, "children": [node, ...], "spent": {...}}
            or {"roll": number, "best": V, "spent": {...}}
last        {"end": {"ended", "error", "visits": [...], "values": [...]}}

Statistics stand in the last part alone: a search that is continued is made again from its start, and what it asked the
model and the environment before is answered from the parts.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..agents.tree import Node, SearchTree, Spent, node_from_json, node_to_json
from ..envs.core import Task, canonical_json
from ..errors import UsageError
from .growing import Ask, Expand
from .store import RunStore

FLUSH_SECONDS = 1.0
"""Parts wait so long at most to be written together: what a kill can lose."""


@dataclass(frozen=True)
class Answer:
    """What came of an `Ask`."""

    nodes: tuple[Node, ...]
    """New children; none for a roll-out."""
    best: float
    """The largest value of a roll-out; 0 for an expansion."""
    spent: Spent

    def part(self, ask: Ask) -> dict[str, Any]:
        """As it is stored."""
        spent = asdict(self.spent)
        if isinstance(ask, Expand):
            return {"expand": ask.node, "children": list(map(node_to_json, self.nodes)), "spent": spent}
        return {"roll": ask.node, "best": self.best, "spent": spent}


class Journal:
    """Where the trees of one search are written to, and found again."""

    def __init__(self, store: RunStore | None, stage: str) -> None:
        self.store, self.stage = store, stage
        self._waiting: list[tuple[str, int, Any]] = []
        self._flushed = time.monotonic()

    def read(self, key: str) -> list[Any]:
        """The parts of a tree that are stored."""
        return self.store.growth(self.stage, key) if self.store else []

    def write(self, key: str, number: int, part: Any) -> None:
        """Part `number` of a tree; it may wait for others a moment."""
        if self.store is None:
            return
        self._waiting.append((key, number, part))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self.store and self._waiting:
            self.store.add_growth(self.stage, self._waiting)
        self._waiting, self._flushed = [], time.monotonic()


class Recorded:
    """The stored parts of one tree, read one after another while its search is made again."""

    def __init__(self, key: str, parts: Sequence[Any], root: Node) -> None:
        self.key = key
        self._parts = deque(parts[1:])
        self._nodes = [root]
        self.read = min(len(parts), 1)
        """Parts read so far."""

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
        return Answer(tuple(self._nodes[first:]), part.get("best", 0.0), Spent(**part["spent"]))


def tree_of(parts: Sequence[Any]) -> SearchTree | None:
    """The tree of all its parts; None when it is not finished."""
    if not parts or "end" not in parts[-1]:
        return None
    begin, end = parts[0]["begin"], parts[-1]["end"]
    nodes = [node_from_json(begin["root"], ())]
    spent = Spent()
    for part in parts[1:-1]:
        spent += Spent(**part["spent"])
        for child in part.get("children", ()):
            nodes.append(node_from_json(child, nodes))
    return SearchTree(
        task=Task(**begin["task"]),
        model=begin["model"],
        seed=begin["seed"],
        nodes=tuple(nodes),
        visits=tuple(end["visits"]),
        values=tuple(end["values"]),
        ended=end["ended"],
        spent=spent,
        sample=begin["sample"],
        goal=begin["goal"],
        error=end["error"],
    )


def finished(store: RunStore, stage: str) -> Iterator[SearchTree]:
    """The finished trees of a stage, one at a time, in the order in which they were begun."""
    for key in store.trees(stage):
        tree = tree_of(store.growth(stage, key))
        if tree is not None:
            yield tree


def refuse_other(key: str, stored: Any, begin: Any) -> None:
    """Raises `UsageError` when a stored tree was begun otherwise than it would be now, and says how."""
    then, now = stored["begin"], begin["begin"]
    changed = [name for name in sorted(now) if canonical_json(then.get(name)) != canonical_json(now[name])]
    if changed:
        about = ", ".join(f"{name}: {str(then.get(name))[:60]} -> {str(now[name])[:60]}" for name in changed)
        raise UsageError(f"tree {key!r} was begun otherwise ({about}); use a new run folder, or what it was begun with")
