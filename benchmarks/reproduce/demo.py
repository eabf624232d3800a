"""The comparison of `kintsugi demo`: the base model, self-training and Re-ReST, with one seed policy."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...loops.measuring.evaluation import Comparison
from ...loops.measuring.measure import Measure
from ...loops.measuring.tables import p_value, percent, percentage_points
from .re_rest import ReproduceReReST
from .seed_results import SeedResult, read_results
from .seed_tables import ALPHA, seed_difference

RESULTS = Path(__file__).parents[1] / "results" / "demo"
"""Results of this comparison over many seeds."""
PAIR = ("base", "re-rest")
TASKS = 750
"""Number of held-out tasks. It shows a difference of 5 points with a power of 80 % if two models differ on at most 22 %
of the tasks, as they did on practice tasks."""


@dataclass(frozen=True)
class Demo(ReproduceReReST):
    """Compare the base model, self-training and Re-ReST with one seed policy, and say what this shows."""

    held_out: Measure = field(
        default_factory=lambda: Measure(params={"size": "small"}, splits=("valid_unseen",), tasks=TASKS)
    )
    models: tuple[str, ...] = ("base", "self-training", "re-rest")
    seeds: int = 1

    def conclusion(self, compared: Sequence[Comparison]) -> str:
        """Return what this run shows about Re-ReST and the base model, and what the measured runs showed."""
        return conclude(compared, read_results(RESULTS))


def conclude(compared: Sequence[Comparison], results: Sequence[SeedResult]) -> str:
    """Return in words what a comparison of the base model and Re-ReST shows, and what other runs showed.

    Args:
        compared: Comparisons of one run. Nothing is said without one of this pair.
        results: Results of the same comparison with other seeds.
    """
    found = next((each for each in compared if (each.a, each.b) == PAIR), None)
    if found is None:
        return ""
    p = f"= {p_value(found.p)}".replace("= <", "<")
    is_shown = found.p < ALPHA and found.difference > 0
    sentences = [
        f"Re-ReST solves {percent(found.rate_b)} of {found.n} tasks that no model was trained on, the base model "
        f"{percent(found.rate_a)}: {percentage_points(found.difference)} points, p {p}.",
        "This run shows an improvement." if is_shown else "This run alone does not show an improvement.",
    ]
    if results:
        name = next(iter(results[0].task_sets))
        others = [seed_difference(each, PAIR, name) for each in results]
        differences = [difference for difference, _ in others]
        low, high, average = map(percentage_points, (min(differences), max(differences), statistics.mean(differences)))
        shown = sum(p < ALPHA and difference > 0 for difference, p in others)
        sentences.append(
            f"Of {len(results)} recorded runs, each with its own seed, {shown} showed one; the difference was "
            f"{average} points on average, from {low} to {high}."
        )
    return " ".join(sentences)
