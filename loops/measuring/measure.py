"""Measuring a model within a run: held-out attempts, stored under `eval`, and their `Score`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ...agents.core import Agent
from ...agents.models.core import derived_seed
from ...agents.rollout import Job, Timing, collect
from ...agents.trajectory import Trajectory
from ...envs.core import TaskSet
from ...envs.registry import EnvSpec
from ...errors import UsageError
from ..run import Attempts, Params, Run, checked
from ..runs.stages import Stage
from .evaluation import Score, score

Measured = dict[str, list[Trajectory]]
"""Attempts by the name of the set of tasks: a split, or a set that a loop adds."""


@dataclass(frozen=True)
class Measure:
    """What models are measured on, and how they act there."""

    params: Params = field(default_factory=dict)
    """What the environment's task sets take, e.g. `size=small`."""
    splits: Annotated[tuple[str, ...], tyro.conf.arg(aliases=("--split",))] = ("valid_unseen",)
    tasks: int = 200
    """Of each split."""
    samples: int = 1
    """Attempts at each task."""
    decoding: Literal["free", "constrained"] = "free"
    temperature: float = 0.0
    """0 is greedy."""
    max_tokens: int | None = None
    """Of one answer; None is the environment's usual number."""
    at_once: int | None = None
    """Episodes played together; None is the environment's usual number."""
    seed: int = 2026
    """Of the choice of tasks and of the sampling."""

    def __post_init__(self) -> None:
        checked(self)

    def resolved(self, env: EnvSpec) -> Measure:
        """The same with numbers in place of None."""
        made = self.attempts.resolved(env)
        return replace(self, max_tokens=made.max_tokens, at_once=made.at_once)

    @property
    def attempts(self) -> Attempts:
        """How tasks are attempted."""
        return Attempts(self.samples, self.temperature, self.max_tokens, self.at_once)

    def task_set(self, env: EnvSpec, split: str) -> TaskSet:
        """The held-out tasks of one split; raises `UsageError` when there are none."""
        return env.tasks(split, self.tasks, self.seed, **self.params)

    def task_sets(self, env: EnvSpec) -> dict[str, TaskSet]:
        """The held-out tasks of each split; raises `UsageError` when there are none."""
        if not self.splits:
            raise UsageError("splits is empty; name at least one split to measure on")
        return {split: self.task_set(env, split) for split in self.splits}

    def agent(self, run: Run, adapter: Path | None, temperature: float | None = None) -> Agent:
        """Who is measured; `temperature` replaces the configured one."""
        return run.acting(adapter, self.attempts, temperature=temperature, decoding=self.decoding)

    def jobs(self, agent: Agent, tasks: TaskSet) -> list[Job]:
        """`samples` attempts at each task."""
        return [Job(t, agent, derived_seed(self.seed, t.id, i), i) for t in tasks for i in range(self.samples)]


def measure(run: Run, name: str, adapter: Path | None, on: Measure) -> Measured:
    """The attempts of the run's agent with an adapter at every split, played or taken from the store.

    Raises `UsageError` when the store holds another agent's attempts under `name`.
    """
    return measure_agent(run, name, on.agent(run, adapter), on)


def measure_agent(run: Run, name: str, agent: Agent, on: Measure) -> Measured:
    """The same for an agent that is there already, such as a rule."""
    sets = on.task_sets(run.env)
    return {split: measured(run, name, split, tasks, on, on.jobs(agent, tasks)) for split, tasks in sets.items()}


def measured(run: Run, name: str, what: str, tasks: TaskSet, on: Measure, jobs: Sequence[Job]) -> list[Trajectory]:
    """The attempts of `jobs` with their score and clock, as `eval/<name>/<what>`; played or taken from the store.

    Raises `UsageError` when the store holds another agent's attempts there.
    """
    stage, timing = Stage.named("eval", name, what), Timing()
    attempts = run.play(stage, jobs, on.attempts, timing)
    if timing.wall:
        run.store.result(stage.of("clock"), asdict, timing)
    seconds = timing.wall or None
    run.store.result(stage.of("score"), lambda: score_of(run, name, tasks, attempts, on, seconds).to_json())
    return attempts


def score_of(
    run: Run, name: str, tasks: TaskSet, attempts: Sequence[Trajectory], on: Measure, seconds: float | None = None
) -> Score:
    """The score of one set, with everything that has to be known to measure it again."""
    made, spec = on.resolved(run.env), attempts[0].made_by
    with contextlib.closing(run.env.make()) as env:
        step_cap = env.max_steps
    return score(
        name,
        tasks,
        attempts,
        seconds=seconds,
        # What an agent does not know of, it does not heed.
        decoding=spec.args.get("decoding", "unstated") if spec else "unstated",
        step_cap=step_cap,
        seeds=(on.seed,),
        repeatable=run.backend.repeatable,
        settings={"temperature": on.temperature, "max_tokens": made.max_tokens, "env": run.env.to_json()},
    )


def evaluate(
    agent: Agent, env: EnvSpec, tasks: TaskSet, *, samples: int = 1, at_once: int | None = None, seed: int = 2026
) -> list[Trajectory]:
    """`samples` attempts of an agent at each task, for `score` and `compare`; nothing is stored."""
    jobs = [Job(task, agent, derived_seed(seed, task.id, i), i) for task in tasks for i in range(samples)]
    return collect(env.make, jobs, at_once=at_once or env.default("at_once"))


def where_time_went(results: Mapping[Stage, Any]) -> str:
    """One line on the wall time of all measuring stages among a run's results."""
    timings = [Timing(**result) for stage, result in results.items() if stage.kind == "clock"]
    total = Timing(*(sum(getattr(timing, part) for timing in timings) for part in ("wall", "model", "env")))
    return (
        f"measuring took {total.wall:.0f} s: model {total.model:.0f} s, environment {total.env:.1f} s, "
        f"all else {100 * total.overhead:.1f} %"
    )
