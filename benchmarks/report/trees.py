"""The search trees of a run as `.js` files: `data/trees.js` says what the list needs, `data/tree-<n>.js` hold nodes.

With a tree go its splices: where a bad and a good path were joined, what became of it, and the turns as they were
trained on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..agents.trajectory import Trajectory
from ..agents.tree import Node, SearchTree
from ..loops.search import finished
from ..loops.store import RunStore
from .report_attempts import Chunks, clipped, step_texts, write_call

Results = Mapping[str, Any]


def write_trees(folder: Path, store: RunStore, results: Results) -> int:
    """Write the trees of all stages, one in memory at a time; returns how many there are."""
    chunks, rows = Chunks(folder, "tree"), list[list[Any]]()
    stages = store.tree_stages()
    for number, stage in enumerate(stages):
        joined = _splices(store, stage, results)
        for tree in finished(store, stage):
            own = joined.get(tree.key, [])
            ends = [tree.nodes[end].score for end in tree.ends()]
            rows.append([number, tree.key, clipped(tree.goal), len(tree), len(ends), max(ends, default=0.0), len(own)])
            chunks.add(_texts(tree, own))
    chunks.flush()
    if rows:
        write_call(folder / "trees.js", "trees", {"stages": stages, "rows": rows, "starts": chunks.starts})
    return len(rows)


def _splices(store: RunStore, stage: str, results: Results) -> dict[str, list[dict[str, Any]]]:
    """The splices of a stage's trees, by tree."""
    found: dict[str, list[dict[str, Any]]] = {}
    scope, who = _scope(stage)
    for name, result in results.items():
        kind, _, rest = name.partition("/")
        if kind != "spliced" or _scope(name)[0] != scope or result["trees"] != f"search/{who}":
            continue
        learnt = {t.sample: t for t in store.trajectories(f"splice/{rest}")}
        for number, (cut, how) in enumerate(zip(result["cuts"], result["how"], strict=True)):
            found.setdefault(cut["tree"], []).append(
                {"name": rest, "how": how, **cut, "attempt": _attempt(learnt.get(number))}
            )
    return found


def _scope(name: str) -> tuple[str, str]:
    """`seed0` and `base@1` of `search/seed0/base@1`; the first is empty where there is one training seed."""
    match = re.fullmatch(r"[^/]+/(?:(seed\d+)/)?(.+)", name)
    return (match[1] or "", match[2]) if match else ("", name)


def _attempt(splice: Trajectory | None) -> dict[str, Any] | None:
    if splice is None:
        return None
    steps = [step_texts(step) for step in splice.steps]
    return {"steps": steps, "final": clipped(splice.final_observation), "outcome": splice.outcome}


def _texts(tree: SearchTree, splices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "model": tree.model,
        "seed": str(tree.seed),
        "ended": tree.ended,
        "error": tree.error and clipped(tree.error),
        "calls": tree.spent.model_calls,
        "nodes": [_node(node, tree.visits[i], tree.values[i]) for i, node in enumerate(tree.nodes)],
        "splices": splices,
    }


def _node(node: Node, visits: int, value: float) -> list[Any]:
    """Parent, thought, action, refusal, what was seen then, outcome, score, visits, value, estimate, drawn."""
    step = node.step
    said = (
        [clipped(step.thought), clipped(step.action), step.invalid and clipped(step.invalid)]
        if step
        else ["", "", None]
    )
    about = [node.outcome, node.score, visits, round(value, 4), node.estimate, node.drawn]
    return [node.parent, *said, clipped(node.observation), *about]
