"""Path-like references to what a run measured, and the attempts behind them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...envs.core import TaskSet
from ...errors import UsageError, unknown
from ..runs.stages import Stage
from ..runs.store import RunStore
from .evaluation import Attempt, Score, score


def eval_stages(stages: Iterable[Stage]) -> list[Stage]:
    """The stages that measure a model for scores, in their order."""
    return [stage for stage in stages if stage.kind == "eval"]


def name_of(stage: Stage) -> str:
    """What the training seeds of one measurement have in common: `<model>/<tasks>`."""
    return f"{stage.who}/{stage.tasks}"


@dataclass(frozen=True)
class Evaluation:
    """One measurement, read back from a run."""

    name: str
    """`<model>/<tasks>`, with the seed before it where only that one is meant."""
    attempts: dict[Stage, list[Attempt]]
    results: dict[Stage, Any]
    """Of the run."""

    @property
    def pooled(self) -> list[Attempt]:
        """The attempts of all stages, seed after seed."""
        return [a for attempts in self.attempts.values() for a in attempts]


def read_evaluation(reference: str) -> Evaluation:
    """What a path-like reference means: the folder of a run, then what it measured.

    `runs/demo/eval/base/valid_unseen` is one stage; `runs/demo/base/valid_unseen` all training seeds of it together;
    `runs/demo/base` is enough when the run measured `base` on one TaskSet only, and `runs/demo` when the run holds one
    measurement. Raises `UsageError` with the names that there are when the reference fits none or several.
    """
    folder, wanted = _split(reference)
    with RunStore.read(folder) as store:
        chosen = _choose(reference, wanted, store.trajectory_stages())
        attempts = {stage: [Attempt.of(t) for t in store.trajectories(stage)] for stage in chosen}
        whole = len(chosen) > 1 or not chosen[0].scope or str(chosen[0]) != wanted
        name = name_of(chosen[0]) if whole else f"{chosen[0].scope}/{name_of(chosen[0])}"
        return Evaluation(name, attempts, store.results())


def pooled_score(
    name: str, attempts: Mapping[Stage, Sequence[Attempt]], results: Mapping[Stage, Any], seed: int = 0
) -> Score:
    """The score of the attempts of all stages together, with what the stages' own scores say of how they were made.

    The TaskSet is that of the attempts. Raises what `score` raises.
    """
    pooled = [a for stage in attempts.values() for a in stage]
    own = [stage.of("score") for stage in attempts]
    stored = [Score.from_json(results[stage]) for stage in own if stage in results]
    seconds = [s.seconds for s in stored if s.seconds is not None]
    alike = {(s.decoding, s.step_cap, s.repeatable) for s in stored}
    decoding, cap, repeatable = alike.pop() if len(alike) == 1 else ("unstated", None, None)
    return score(
        name,
        TaskSet({a.task for a in pooled}),
        pooled,
        seed=seed,
        seconds=sum(seconds) if seconds else None,
        decoding=decoding,
        step_cap=cap,
        repeatable=repeatable,
    )


def _split(reference: str) -> tuple[Path, str]:
    path = Path(os.path.normpath(reference))
    for folder in (path, *path.parents):
        if (folder / "run.db").is_file():
            return folder, "" if folder == path else path.relative_to(folder).as_posix()
    raise UsageError(
        f"{reference!r} does not begin with the folder of a run (none of its folders holds a run.db); "
        "expected FOLDER/STAGE, e.g. runs/demo/eval/base/valid_unseen"
    )


def _choose(reference: str, wanted: str, stages: list[Stage]) -> list[Stage]:
    exact = [stage for stage in stages if str(stage) == wanted]
    if exact:
        return exact
    measured = eval_stages(stages)
    names = {name_of(stage) for stage in measured}
    fitting = names if not wanted else names & {wanted} or {name_of(s) for s in measured if s.who == wanted}
    if len(fitting) == 1:
        return [stage for stage in measured if name_of(stage) in fitting]
    if fitting:
        names_of = ", ".join(sorted(fitting))
        raise UsageError(f"{reference!r} could be any of {names_of}; add one of these to the folder's name")
    raise unknown("evaluation", wanted, names or map(str, stages))
