"""`kintsugi compare`: two evaluations, of one run or of two, paired by task."""

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
    """Which two evaluations are compared."""

    a: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FIRST")]
    """The first: the folder of a run, then what it measured there, e.g. `runs/demo/base/valid_unseen`."""
    b: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SECOND")]
    """The second, e.g. `runs/demo/re-rest/valid_unseen`."""
    seed: int = 0
    """Of the bootstrap."""
    by_type: bool = False
    """Also print success by task type."""


def compare_references(config: CompareConfig) -> tuple[Comparison, Score, Score]:
    """The comparison and both scores; raises `UsageError` when the two were not measured on the same tasks."""
    a, b = read_evaluation(config.a), read_evaluation(config.b)
    names = _names((a.name, b.name), (config.a, config.b))
    found = compare(a.pooled, b.pooled, names=names, seed=config.seed)
    first, second = [
        pooled_score(name, side.attempts, side.results, config.seed) for name, side in zip(names, (a, b), strict=True)
    ]
    return found, first, second


def _names(full: tuple[str, str], references: tuple[str, str]) -> tuple[str, str]:
    """The models' names where these tell the two apart, else more."""
    models = full[0].rpartition("/")[0], full[1].rpartition("/")[0]
    return next((names for names in (models, full) if names[0] != names[1]), references)


def run(config: CompareConfig, console: Console) -> None:
    """The command `kintsugi compare`."""
    found, *scores = compare_references(config)
    console.print(score_table(scores))
    if config.by_type:
        console.print(type_table(scores))
    console.print(comparison_table([found]))
