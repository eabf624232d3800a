"""Path-like references to the evaluations of a run, such as `runs/demo/base/valid_unseen`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...envs.core import TaskSet
from ...errors import UsageError, unknown
from ..runs.folder import holds_run
from ..runs.stages import Stage
from ..runs.store import RunStore
from .evaluation import AttemptSummary, Score, score


def eval_stages(stages: Iterable[Stage]) -> list[Stage]:
    """Return the stages of kind `eval`, in order."""
    return [stage for stage in stages if stage.kind == "eval"]


def evaluation_name(stage: Stage) -> str:
    """Return the name of an evaluation without its training seed: `<model>[@<round>]/<tasks>`."""
    return f"{stage.model_round}/{stage.tasks}"


@dataclass(frozen=True)
class Evaluation:
    """One evaluation, read from the store of a run."""

    name: str
    """`<model>[@<round>]/<tasks>`, prefixed with the scope if the reference names one training seed."""
    attempts: dict[Stage, list[AttemptSummary]]
    """Attempts by stage, one stage per training seed."""
    results: dict[Stage, Any]
    """All results of the run."""

    @property
    def pooled(self) -> list[AttemptSummary]:
        """The attempts of all stages, one training seed after another."""
        return [a for attempts in self.attempts.values() for a in attempts]


def read_evaluation(reference: str) -> Evaluation:
    """Read an evaluation. A reference is the folder of a run, followed by the name of an evaluation.

    `runs/demo/eval/base/valid_unseen` names one stage; stages of other kinds can be named in the same way.
    `runs/demo/base/valid_unseen` names the stages of all training seeds. `runs/demo/base` suffices if the run evaluated
    `base` on only one task set, and `runs/demo` if the run holds only one evaluation.

    Args:
        reference: The reference.

    Returns:
        The attempts of the evaluation, and all results of the run.

    Raises:
        UsageError: There is no run in this folder, or the reference names none or several of its evaluations.
    """
    folder, wanted = _split_reference(reference)
    with RunStore.read(folder) as store:
        chosen = _choose_stages(reference, wanted, store.trajectory_stages())
        attempts = {stage: [AttemptSummary.from_trajectory(t) for t in store.trajectories(stage)] for stage in chosen}
        all_seeds = len(chosen) > 1 or not chosen[0].scope or str(chosen[0]) != wanted
        name = evaluation_name(chosen[0]) if all_seeds else f"{chosen[0].scope}/{evaluation_name(chosen[0])}"
        return Evaluation(name, attempts, store.results())


def pooled_score(name: str, attempts: Mapping[Stage, Sequence[AttemptSummary]], results: Mapping[Stage, Any]) -> Score:
    """Return one score for the attempts of all stages.

    Decoding, step limit and repeatability come from the stored scores of the stages if these agree. Otherwise, they are
    not stated.

    Args:
        name: Name of the score.
        attempts: Attempts by stage. Their tasks are the task set of the score.
        results: Results of the run, with the stored scores of the stages.

    Returns:
        The pooled score.

    Raises:
        InfraError: Infrastructure failures ended every attempt.
    """
    pooled = [a for stage in attempts.values() for a in stage]
    score_stages = [stage.with_kind("score") for stage in attempts]
    stored = [Score.from_json(results[stage]) for stage in score_stages if stage in results]
    seconds = [s.seconds for s in stored if s.seconds is not None]
    settings = {(s.decoding, s.step_limit, s.repeatable) for s in stored}
    decoding, cap, repeatable = settings.pop() if len(settings) == 1 else ("unstated", None, None)
    return score(
        name,
        TaskSet({a.task for a in pooled}),
        pooled,
        seconds=sum(seconds) if seconds else None,
        decoding=decoding,
        step_limit=cap,
        repeatable=repeatable,
    )


def _split_reference(reference: str) -> tuple[Path, str]:
    path = Path(os.path.normpath(reference))
    for folder in (path, *path.parents):
        if holds_run(folder):
            return folder, "" if folder == path else path.relative_to(folder).as_posix()
    raise UsageError(
        f"{reference!r} is not in the folder of a run: no folder on this path holds a run.db; "
        "expected RUN/MODEL/TASKS, e.g. runs/demo/base/valid_unseen"
    )


def _choose_stages(reference: str, wanted: str, stages: list[Stage]) -> list[Stage]:
    exact = [stage for stage in stages if str(stage) == wanted]
    if exact:
        return exact
    evaluated = eval_stages(stages)
    names = {evaluation_name(stage) for stage in evaluated}
    matching = (
        names if not wanted else names & {wanted} or {evaluation_name(s) for s in evaluated if s.model_round == wanted}
    )
    if len(matching) == 1:
        return [stage for stage in evaluated if evaluation_name(stage) in matching]
    if matching:
        listed = ", ".join(sorted(matching))
        raise UsageError(f"{reference!r} matches several evaluations: {listed}; append one of them to the run's folder")
    raise unknown("evaluation", wanted, names or map(str, stages))
