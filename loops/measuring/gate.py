"""`Gate`: a paired test on separate tasks that decides whether the adapter of a round is kept."""

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
from .gain import Gain, metric_gain


@dataclass(frozen=True)
class Gate:
    """Decides whether the adapter of a round is adopted.

    The gate plays the old and the new model greedily on the same tasks. These tasks are neither practised nor scored
    on. The gate adopts the new model if its mean gain in the environment's metric is above 0; significance is reported,
    not required. Results of rounds that are not adopted stay in the store.
    """

    mode: Annotated[Literal["on", "off"], tyro.conf.arg(name="gate", prefix_name=False)] = "on"
    """`on` adopts a round only if it beats the previous model in the environment's metric; `off` adopts every round."""
    tasks: int = 100
    """Number of tasks of the gate."""
    split: str | None = None
    """Split of the gate's tasks; by default, the environment's `gate_split`."""
    seed: int = 12345
    """Seed that chooses the gate's tasks."""

    def resolved(self, env: EnvSpec) -> Gate:
        """Return a copy with the default split of the environment filled in."""
        return (
            self
            if self.split is not None or self.mode == "off"
            else replace(self, split=env.metadata_value("gate_split"))
        )

    def task_set(self, env: EnvSpec, practice: Practice) -> TaskSet:
        """Return the tasks of the gate; raise `UsageError` if the environment has no split or no tasks for it."""
        split = self.resolved(env).split
        if split is None:
            raise UsageError(
                f"environment {env.id!r} has no default split for the gate; pass --gate off to adopt every round, or "
                "choose a split that is not scored with --loop.gate.split"
            )
        try:
            return env.tasks(split, self.tasks, self.seed, **practice.params)
        except UsageError as error:
            raise UsageError(
                f"the gate has no tasks: {error}; choose a split that is not scored with --loop.gate.split, or pass "
                "--gate off to adopt every round"
            ) from error

    def check(
        self, env: EnvSpec, practice: Practice, practice_tasks: TaskSet, scored_tasks: Mapping[str, TaskSet]
    ) -> None:
        """Check that the gate has tasks, and that none of them is practised or scored on.

        Args:
            env: The environment.
            practice: The loop's practice settings. The gate's tasks have the same parameters.
            practice_tasks: The tasks that the loop practises on.
            scored_tasks: The task sets that models are measured on, by split.

        Raises:
            UsageError: The gate has no tasks, or shares its split or a task with the others.
        """
        if self.mode == "off":
            return
        gate_tasks = self.task_set(env, practice)
        split = self.resolved(env).split
        if split in scored_tasks or any(map(gate_tasks.count_shared, scored_tasks.values())):
            raise UsageError(
                f"the gate's split {split!r} is also scored, so the scores would be on tasks that selected the model; "
                "measure on other splits, choose another split with --loop.gate.split, or pass --gate off"
            )
        if shared := gate_tasks.count_shared(practice_tasks):
            raise UsageError(
                f"{shared} of the gate's tasks, from split {split!r}, are also practised on, so the gate would reward "
                "memorisation; choose another split with --loop.gate.split, or pass --gate off"
            )

    def admits(
        self, run: Run, old: Path | None, new: Path, *, practice: Practice, attempts: Attempts, seed: int
    ) -> bool:
        """Compare two adapters by greedy attempts at the gate's tasks, and decide whether the new one is adopted.

        The verdict is stored. A later call for the same adapter and split returns the stored verdict.

        Args:
            run: The run that plays and stores the attempts.
            old: The adapter adopted last; None for the base model.
            new: The adapter of the round.
            practice: The loop's practice settings. The gate's tasks have the same parameters.
            attempts: How tasks are attempted; one attempt per task at temperature 0.
            seed: Seed of the attempts.

        Returns:
            Whether the new adapter is adopted. Always True in mode `off`.
        """
        if self.mode == "off":
            return True
        tasks = self.task_set(run.env, practice)
        split = self.resolved(run.env).split or ""

        def played(adapter: Path | None) -> list[Trajectory]:
            agent = run.make_agent(adapter, attempts, temperature=0.0)
            who = adapter_name(adapter)
            jobs = [job(task, agent, 0, seed, f"gate/{who}") for task in tasks]
            return run.play(Stage.from_model_round("gate", who, split), jobs, attempts)

        found = metric_gain(played(old), played(new), run.env.cls, names=(adapter_name(old), new.name))
        verdict = run.store.result(
            Stage.from_model_round("verdict", new.name, split), Verdict(found, found.mean > 0).to_json
        )
        return bool(verdict["adopted"])


@dataclass(frozen=True)
class Verdict:
    """The decision of the gate on one round. JSON-serialisable through `to_json` and `from_json`."""

    gain: Gain
    """The gain of the new model over the previous one."""
    adopted: bool
    """Whether the new model was adopted."""

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as a JSON-serialisable dictionary, the inverse of `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """Return a verdict from the result of `to_json`."""
        return cls(Gain(**data["gain"]), data["adopted"])


def verdicts(results: Mapping[Stage, Any]) -> dict[Stage, Verdict]:
    """Return the verdicts among the results of a run, in their stored order."""
    return {stage: Verdict.from_json(found) for stage, found in results.items() if stage.kind == "verdict"}


def adapter_name(adapter: Path | None) -> str:
    """Return the name of an adapter: its folder's name, or `base` for None."""
    return adapter.name if adapter else "base"
