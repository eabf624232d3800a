"""Compute the contents of a report from a run's store: scores, comparisons, training attempts and timings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ...envs.core import TaskSet, canonical_json
from ...errors import InfraError, UsageError
from ...loops.measuring.evaluation import AttemptSummary, Comparison, Score, compare
from ...loops.measuring.gate import Verdict, verdicts
from ...loops.measuring.references import eval_stages, pooled_score
from ...loops.runs.stages import Stage

ALL_PAIRS = 6
"""Up to this number of models, all pairs are compared; beyond it, each model with the first and the previous one."""

T = TypeVar("T")
Results = Mapping[Stage, Any]
StageAttempts = Mapping[Stage, list[AttemptSummary]]


@dataclass(frozen=True)
class ModelScore:
    """The score of one model on one task set, pooled over training seeds."""

    model: str
    score: Score
    by_seed: dict[str, float] = field(default_factory=dict)
    """Success rate of each training seed, if there are several."""
    stages: tuple[Stage, ...] = ()
    """Stages that the attempts come from."""


@dataclass(frozen=True)
class Collected:
    """One stage of attempts made for training or for the gate, not for scores."""

    stage: Stage
    tasks: int
    taskset: str
    attempts: int
    successes: int
    infra_errors: int
    mending: int
    """Number of attempts that mend an earlier one."""


@dataclass(frozen=True)
class Summary:
    """Contents of the report's first page, except the settings."""

    measured: dict[str, list[ModelScore]]
    """Scores by task set name, in the order of evaluation."""
    comparisons: dict[str, list[Comparison]]
    """Paired comparisons by task set name."""
    collected: list[Collected]
    verdicts: dict[Stage, Verdict]
    """The gate's verdict on each round."""
    timings: dict[Stage, dict[str, float]]
    """Seconds per stage: `wall`, `model` and `env`."""
    notes: list[str]
    """Messages about scores and comparisons that could not be computed."""


def summarise(attempts: StageAttempts, results: Results, collected: Sequence[Collected]) -> Summary:
    """Score and compare attempts by stage; errors are collected in `Summary.notes` instead of raised."""
    notes: list[str] = []
    measured: dict[str, list[ModelScore]] = {}
    compared: dict[str, list[Comparison]] = {}
    stages = eval_stages(attempts)
    for tasks in dict.fromkeys(stage.tasks for stage in stages):
        groups = _by_model([stage for stage in stages if stage.tasks == tasks])
        found = [_or_note(notes, measure, model, group, attempts, results) for model, group in groups.items()]
        measured[tasks] = [m for m in found if m]
        pairs = [
            _or_note(notes, compare, _pooled(groups[a], attempts), _pooled(groups[b], attempts), names=(a, b))
            for a, b in _pairs([m.model for m in measured[tasks]])
        ]
        compared[tasks] = [pair for pair in pairs if pair]
    return Summary(measured, compared, list(collected), verdicts(results), timings(results), notes)


def measure(model: str, group: Sequence[Stage], attempts: StageAttempts, results: Results) -> ModelScore:
    """Score one model on one task set, pooled over seeds; raises what `score` raises."""
    whole = pooled_score(model, {stage: attempts[stage] for stage in group}, results)
    by_seed = {}
    if len(group) > 1:
        singles = [(s.scope or "no seed", pooled_score(model, {s: attempts[s]}, results)) for s in group]
        by_seed = {seed: single.success.value for seed, single in singles}
    return ModelScore(model, whole, by_seed, tuple(group))


def collected(stage: Stage, attempts: Sequence[AttemptSummary], mending: int) -> Collected:
    """Summarise one stage of attempts that were not made for scores."""
    tasks = TaskSet({a.task for a in attempts})
    return Collected(
        stage=stage,
        tasks=len(tasks),
        taskset=tasks.hash,
        attempts=len(attempts),
        successes=sum(a.success for a in attempts),
        infra_errors=sum(not a.counts for a in attempts),
        mending=mending,
    )


def timings(results: Results) -> dict[Stage, dict[str, float]]:
    """Return seconds of wall time per evaluation and search stage."""
    kinds = {"timing": "eval", "cost": "search"}
    return {
        stage.with_kind(kinds[stage.kind]): {key: float(result[key]) for key in ("wall", "model", "env")}
        for stage, result in results.items()
        if stage.kind in kinds
    }


def flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Flatten a configuration to dotted names and JSON values."""
    if isinstance(value, Mapping) and value:
        return {k: v for key, item in value.items() for k, v in flat(item, f"{prefix}{key}.").items()}
    return {prefix[:-1]: value if isinstance(value, str) else canonical_json(value)}


def _by_model(stages: Sequence[Stage]) -> dict[str, list[Stage]]:
    return {who: [s for s in stages if s.model_round == who] for who in dict.fromkeys(s.model_round for s in stages)}


def _pooled(group: Sequence[Stage], attempts: StageAttempts) -> list[AttemptSummary]:
    return [a for stage in group for a in attempts[stage]]


def _pairs(models: Sequence[str]) -> list[tuple[str, str]]:
    pairs = list(itertools.combinations(models, 2))
    if len(models) <= ALL_PAIRS:
        return pairs
    return [(a, b) for a, b in pairs if a == models[0] or models.index(b) == models.index(a) + 1]


def _or_note(notes: list[str], work: Callable[..., T], *args: Any, **named: Any) -> T | None:
    try:
        return work(*args, **named)
    except (UsageError, InfraError) as error:
        notes.append(str(error))
        return None
