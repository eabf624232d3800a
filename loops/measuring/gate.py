"""`Gate`: a round's model is kept only if it measurably helps, paired by task, on held-out tasks that no score is taken
on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ...agents.trajectory import Trajectory
from ...envs.core import TaskSet
from ...envs.registry import EnvSpec
from ...errors import UsageError
from ..run import Attempts, Practice, Run, job
from ..runs.stages import Stage
from .gain import Gain, gain


@dataclass(frozen=True)
class Gate:
    """When a round's model is adopted. Rounds that are not stay on record."""

    mode: Annotated[Literal["on", "off"], tyro.conf.arg(name="gate", prefix_name=False)] = "on"
    """`on`: a round is adopted if and only if it beats the model before it by the environment's metric. `off`: every
    round is adopted, and nothing is compared."""
    tasks: int = 100
    """Held-out tasks that each round is compared on."""
    split: str | None = None
    """Their split; None is the one that the environment names for this."""
    seed: int = 12345
    """Of the choice of tasks."""

    def resolved(self, env: EnvSpec) -> Gate:
        """The same with a split in place of None, where the environment names one."""
        return self if self.split is not None or self.mode == "off" else replace(self, split=env.default("gate_split"))

    def task_set(self, env: EnvSpec, practice: Practice) -> TaskSet:
        """The tasks of the gate; raises `UsageError` when the environment has none for it."""
        split = self.resolved(env).split
        if split is None:
            raise UsageError(
                f"environment {env.id!r} names no split for the gate; pass --gate off to adopt every round, or name a "
                "split that no score is taken on with --loop.gate.split"
            )
        try:
            return env.tasks(split, self.tasks, self.seed, **practice.params)
        except UsageError as error:
            raise UsageError(
                f"the gate has no tasks: {error}; name a split that no score is taken on with --loop.gate.split, or "
                "pass --gate off to adopt every round"
            ) from error

    def check(self, env: EnvSpec, practice: Practice, practised: TaskSet, scored: Mapping[str, TaskSet]) -> None:
        """Raise `UsageError` when there is no task for the gate, or one that is practised or scored on too.

        `practised` are the loop's tasks, `scored` the sets that models are measured on, by split.
        """
        if self.mode == "off":
            return
        own = self.task_set(env, practice)
        split = self.resolved(env).split
        if split in scored or any(map(own.shared, scored.values())):
            raise UsageError(
                f"the gate would choose models on split {split!r}, on which they are scored too, so the score would be "
                "of tasks that chose the model; measure on other splits, name another one with --loop.gate.split, or "
                "pass --gate off"
            )
        if shared := own.shared(practised):
            raise UsageError(
                f"the gate would choose models on split {split!r}, of which {shared} tasks are practised on too, "
                "so it would adopt what was learnt by heart; name another with --loop.gate.split, or pass --gate off"
            )

    def admits(
        self, run: Run, old: Path | None, new: Path, *, practice: Practice, attempts: Attempts, seed: int
    ) -> bool:
        """Compare two adapters (None is the base itself), greedily; the verdict is stored and stays the same."""
        if self.mode == "off":
            return True
        tasks = self.task_set(run.env, practice)
        split = self.resolved(run.env).split or ""

        def played(adapter: Path | None) -> list[Trajectory]:
            agent = run.acting(adapter, attempts, temperature=0.0)
            who = name_of(adapter)
            jobs = [job(task, agent, 0, seed, f"gate/{who}") for task in tasks]
            return run.play(Stage.named("gate", who, split), jobs, attempts)

        found = gain(played(old), played(new), run.env.cls, names=(name_of(old), new.name))
        verdict = run.store.result(Stage.named("verdict", new.name, split), Verdict(found, found.mean > 0).to_json)
        return bool(verdict["adopted"])


@dataclass(frozen=True)
class Verdict:
    """What the gate said of a round. JSON-clean through `to_json`."""

    gain: Gain
    """Of the new model over the one before it."""
    adopted: bool

    def to_json(self) -> dict[str, Any]:
        """JSON-clean; `from_json` gives an equal verdict."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """What `to_json` gave."""
        return cls(Gain(**data["gain"]), data["adopted"])


def verdicts(results: Mapping[Stage, Any]) -> dict[Stage, Verdict]:
    """The verdicts among a run's results, in the order in which they were given."""
    return {stage: Verdict.from_json(found) for stage, found in results.items() if stage.kind == "verdict"}


def name_of(adapter: Path | None) -> str:
    """What an adapter is called; `base` is the base itself."""
    return adapter.name if adapter else "base"
