"""`kintsugi compare`: compare two evaluations of one or two runs, paired by task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from ..loops.measuring.evaluation import Comparison, Score, compare
from ..loops.measuring.references import pooled_score, read_evaluation
from ..loops.measuring.tables import comparison_table, score_table, type_table


@dataclass(frozen=True)
class CompareConfig:
    """Settings of `kintsugi compare`."""

    a: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FIRST")]
    """First evaluation: the run's folder followed by the name of the evaluation, e.g. `runs/demo/base/valid_unseen`."""
    b: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SECOND")]
    """Second evaluation, e.g. `runs/demo/re-rest/valid_unseen`."""
    by_type: bool = False
    """Also print the success rates by task type."""


def compare_references(config: CompareConfig) -> tuple[Comparison, Score, Score]:
    """Return the comparison and both scores; raise `UsageError` if they were measured on different tasks."""
    a, b = read_evaluation(config.a), read_evaluation(config.b)
    names = _names((a.name, b.name), (config.a, config.b))
    comparison = compare(a.pooled, b.pooled, names=names)
    first, second = [pooled_score(name, side.attempts, side.results) for name, side in zip(names, (a, b), strict=True)]
    return comparison, first, second


def _names(full: tuple[str, str], references: tuple[str, str]) -> tuple[str, str]:
    """Return the shortest names that differ: the models, the full names, or the references."""
    models = full[0].rpartition("/")[0], full[1].rpartition("/")[0]
    return next((names for names in (models, full) if names[0] != names[1]), references)


def run(config: CompareConfig, console: Console) -> None:
    """Run `kintsugi compare`."""
    comparison, *scores = compare_references(config)
    console.print(score_table(scores))
    if config.by_type:
        console.print(type_table(scores))
    console.print(comparison_table([comparison]))
