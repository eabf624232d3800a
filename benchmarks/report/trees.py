"""Write the search trees of a run as `.js` files: `data/trees.js` has the list, `data/tree-<n>.js` have the nodes.

Each tree includes its splices: where a bad and a good path were joined, how the splice was verified, and the turns as
they were trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...agents.search import finished_trees
from ...agents.search.tree import Node, SearchTree
from ...agents.trajectory import Trajectory
from ...loops.runs.stages import Stage
from ...loops.runs.store import RunStore
from .attempts import Chunks, clipped, step_texts, write_call

Results = Mapping[Stage, Any]


def write_trees(folder: Path, store: RunStore, results: Results) -> int:
    """Write the trees of all stages, with one tree in memory at a time, and return their number."""
    chunks, rows = Chunks(folder, "tree"), list[list[Any]]()
    stages = store.tree_stages()
    for number, stage in enumerate(stages):
        by_tree = _splices(store, stage, results)
        for tree in finished_trees(store.tree_log(stage)):
            own = by_tree.get(tree.key, [])
            ends = [tree.nodes[end].score for end in tree.ends()]
            rows.append([number, tree.key, clipped(tree.goal), len(tree), len(ends), max(ends, default=0.0), len(own)])
            chunks.add(_texts(tree, own))
    chunks.flush()
    if rows:
        about = {"stages": list(map(str, stages)), "rows": rows, "starts": chunks.starts}
        write_call(folder / "trees.js", "trees", about)
    return len(rows)


def _splices(store: RunStore, trees: Stage, results: Results) -> dict[str, list[dict[str, Any]]]:
    """Return the splices of a stage's trees by tree key."""
    found: dict[str, list[dict[str, Any]]] = {}
    for stage, result in results.items():
        if stage.kind != "spliced" or result["trees"] != str(trees):
            continue
        trained = {t.sample: t for t in store.trajectories(stage.with_kind("splice"))}
        for number, (cut, how) in enumerate(zip(result["cuts"], result["how"], strict=True)):
            found.setdefault(cut["tree"], []).append(
                {"name": stage.model_round, "how": how, **cut, "attempt": _attempt(trained.get(number))}
            )
    return found


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
        "calls": tree.usage.model_calls,
        "nodes": [_node(node, tree.visits[i], tree.values[i]) for i, node in enumerate(tree.nodes)],
        "splices": splices,
    }


def _node(node: Node, visits: int, value: float) -> list[Any]:
    """Return parent, thought, action, refusal, observation, outcome, score, visits, value, estimate, sample count."""
    step = node.step
    turn = (
        [clipped(step.thought), clipped(step.action), step.invalid and clipped(step.invalid)]
        if step
        else ["", "", None]
    )
    about = [node.outcome, node.score, visits, round(value, 4), node.estimate, node.sampled_count]
    return [node.parent, *turn, clipped(node.observation), *about]
