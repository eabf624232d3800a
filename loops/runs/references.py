"""What the names in a `RunStore` mean, and the attempts behind them.

eval/<model>/<tasks>            attempts that measure a model on a named TaskSet; <model> may hold slashes
eval/seed<N>/<model>/<tasks>    the same for one of several training seeds
collect/<...>[@<round>]         attempts made for training; `parents` are keys in a stage of the same round
score/<...>                     the `Score` of `eval/<...>` with what attempts do not say: seconds, decoding
clock/<...>                     where the wall time of a stage went: {"wall": s, "model": s, "env": s}
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..envs.core import TaskSet
from ..errors import UsageError, unknown
from ..loops.evaluation import Attempt, Score, score
from ..loops.store import RunStore


@dataclass(frozen=True)
class EvalStage:
    """A stage that measures."""

    stage: str
    """Its name in the store."""
    model: str
    """Who was measured."""
    tasks: str
    """The TaskSet's name."""
    seed: str | None
    """`seed0`, `seed1`, ... where the run was made with several training seeds."""

    @property
    def name(self) -> str:
        """What the seeds of one measurement have in common: `<model>/<tasks>`."""
        return f"{self.model}/{self.tasks}"


def parse_eval(stage: str) -> EvalStage | None:
    """What an `eval/...` stage measures; None for other stages."""
    match = re.fullmatch(r"eval/(?:(seed\d+)/)?(.+)/([^/]+)", stage)
    return EvalStage(stage, match[2], match[3], match[1]) if match else None


def eval_stages(stages: Iterable[str]) -> list[EvalStage]:
    """The measuring stages among `stages`, in their order."""
    return [found for found in map(parse_eval, stages) if found]


def parent_stage(stage: str, stages: Iterable[str]) -> list[str]:
    """Where the parents of the attempts in `stage` may be: nearest in name first, `stage` itself last."""
    here, turn = stage.split("/"), stage.partition("@")[2]

    def nearness(item: tuple[int, str]) -> tuple[int, bool, bool, int]:
        there = item[1].split("/")
        common = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], zip(here, there, strict=False))))
        return common, item[1].partition("@")[2] == turn, there[-1].startswith("policy"), item[0]

    others = [(number, name) for number, name in enumerate(stages) if name != stage]
    return [name for _, name in sorted(others, key=nearness, reverse=True)] + [stage]


@dataclass(frozen=True)
class Evaluation:
    """One measurement, read back from a run."""

    name: str
    """`<model>/<tasks>` for all training seeds together, else the stage's name without `eval/`."""
    attempts: dict[str, list[Attempt]]
    """By stage."""
    results: dict[str, Any]
    """Of the run, by stage."""

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
        parsed = parse_eval(chosen[0])
        name = parsed.name if parsed and chosen != [wanted] else chosen[0].removeprefix("eval/")
        return Evaluation(name, attempts, store.results())


def pooled_score(
    name: str, attempts: Mapping[str, Sequence[Attempt]], results: Mapping[str, Any], seed: int = 0
) -> Score:
    """The score of the attempts of all stages together, with what the stages' own scores say of how they were made.

    The TaskSet is that of the attempts. Raises what `score` raises.
    """
    pooled = [a for stage in attempts.values() for a in stage]
    names = ["score/" + stage.removeprefix("eval/") for stage in attempts]
    stored = [Score.from_json(results[n]) for n in names if n in results]
    seconds = [s.seconds for s in stored if s.seconds is not None]
    alike = {(s.decoding, s.step_cap) for s in stored}
    decoding, cap = alike.pop() if len(alike) == 1 else ("unstated", None)
    return score(
        name,
        TaskSet({a.task for a in pooled}),
        pooled,
        seed=seed,
        seconds=sum(seconds) if seconds else None,
        decoding=decoding,
        step_cap=cap,
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


def _choose(reference: str, wanted: str, stages: list[str]) -> list[str]:
    if wanted in stages:
        return [wanted]
    measured = eval_stages(stages)
    names = {e.name for e in measured}
    fitting = names if not wanted else names & {wanted} or {e.name for e in measured if e.model == wanted}
    if len(fitting) == 1:
        return [e.stage for e in measured if e.name in fitting]
    if fitting:
        names_of = ", ".join(sorted(fitting))
        raise UsageError(f"{reference!r} could be any of {names_of}; add one of these to the folder's name")
    raise unknown("evaluation", wanted, names or stages)
