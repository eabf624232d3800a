"""What Agent-R's rounds did: statistics and a table of trees and splices, and the rounds that stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from rich.table import Table
from rich.text import Text

from ...agents.search.tree import SearchTree
from ...agents.trajectory import Trajectory
from ..learning.splice import Cut, Splice, SpliceStatus
from ..runs.stages import Stage
from .tables import percent, plain_table


def summary(
    trees: Mapping[str, SearchTree],
    good: Sequence[Trajectory],
    cuts: Sequence[Cut],
    splices: Sequence[Splice],
    own: int,
    verdicts: int,
    total: int,
) -> dict[str, Any]:
    """Return the statistics of a round; `own` counts examples of good paths and splices, `total` all examples."""
    scores = {key: {tree.nodes[end].score for end in tree.ends()} for key, tree in trees.items()}
    statuses = Counter(splice.status for splice in splices)
    judged, unparsed = sum(cut.judged for cut in cuts), sum(cut.unparsed for cut in cuts)
    bad_steps = [trees[cut.tree].depth(cut.last) - trees[cut.tree].depth(cut.fork) for cut in cuts]
    return {
        "trees": len(trees),
        "nodes": sum(map(len, trees.values())),
        "model_calls": sum(tree.usage.model_calls for tree in trees.values()),
        "trees_with_equal_ends": sum(len(distinct) < 2 for distinct in scores.values()),
        "trees_without_a_pair": len(trees.keys() - {cut.tree for cut in cuts}),
        "good_paths": len(good),
        "splices": len(splices),
        "bad_steps": sum(bad_steps) / len(bad_steps) if bad_steps else None,
        "no_error_found": sum(not cut.error_found for cut in cuts),
        "judged": judged,
        "unparsed_share": unparsed / judged if judged else None,
        **{status: statuses[status] / len(splices) for status in get_args(SpliceStatus) if splices},
        "own_examples": own,
        "verdict_examples": verdicts,
        "examples": total,
    }


def rounds_table(results: Mapping[Stage, Any]) -> Table:
    """Return a table of the trees and splices of each round."""
    names = [
        "trees",
        "no pair",
        "good",
        "splices",
        "bad\nsteps",
        "verified",
        "searched",
        "counter-\nfactual",
        "not\nparsed",
    ]
    table = plain_table("Trees and splices", ["round"], names, [])
    for stage, r in _counts(results):
        shares = [percent(r[status]) if status in r else "" for status in ("verified", "searched", "counterfactual")]
        unparsed = "" if r["unparsed_share"] is None else percent(r["unparsed_share"])
        steps = "" if r["bad_steps"] is None else f"{r['bad_steps']:.1f}"
        counts = [r["trees"], r["trees_without_a_pair"], r["good_paths"], r["splices"]]
        name = f"{_name(stage)}\nstopped" if "stopped" in r else _name(stage)
        table.add_row(Text(name), *map(str, counts), steps, *shares, unparsed)
    return table


def stop_lines(results: Mapping[Stage, Any]) -> list[str]:
    """Return one line for each round that stopped: what happened, and what to do."""
    return [f"{stage.scope} {r['stopped']}".lstrip() for stage, r in _counts(results) if "stopped" in r]


def _counts(results: Mapping[Stage, Any]) -> Iterator[tuple[Stage, dict[str, Any]]]:
    return ((stage, r) for stage, r in results.items() if stage.kind == "counts" and "splices" in r)


def _name(stage: Stage) -> str:
    return " ".join(filter(None, (stage.scope, stage.model_round)))
