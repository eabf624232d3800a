"""Measuring models within a run: attempts at held-out tasks, stored under `eval`, and their `Score`."""

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
from ..run import Attempts, Params, Run, check_numbers
from ..runs.stages import Stage
from .evaluation import Score, score

MeasuredAttempts = dict[str, list[Trajectory]]
"""Attempts by name of the task set: a split, or a set that a loop adds."""


@dataclass(frozen=True)
class Measure:
    """Settings of an evaluation: the held-out tasks, and how they are attempted."""

    params: Params = field(default_factory=dict)
    """Parameters of the environment's task sets, e.g. `size=small`."""
    splits: Annotated[tuple[str, ...], tyro.conf.arg(aliases=("--split",))] = ("valid_unseen",)
    """Splits to measure on; each gets its own score."""
    tasks: int = 200
    """Number of tasks of each split."""
    samples: int = 1
    """Number of attempts at each task."""
    decoding: Literal["free", "constrained"] = "free"
    """`constrained` samples among the admissible actions only."""
    temperature: float = 0.0
    """Sampling temperature; 0 is greedy."""
    max_tokens: int | None = None
    """Maximum number of tokens of one answer; by default, the environment's."""
    at_once: int | None = None
    """Number of episodes played in parallel; by default, the environment's `at_once`."""
    seed: int = 2026
    """Seed of the choice of tasks and of the sampling of actions."""

    def __post_init__(self) -> None:
        check_numbers(self)

    def resolved(self, env: EnvSpec) -> Measure:
        """Return a copy with the environment's defaults in place of None.

        Args:
            env: Environment whose defaults apply.
        """
        resolved = self.attempt_settings.resolved(env, self.params)
        return replace(self, max_tokens=resolved.max_tokens, at_once=resolved.at_once)

    @property
    def attempt_settings(self) -> Attempts:
        """The settings of the attempts at a task set."""
        return Attempts(self.samples, self.temperature, self.max_tokens, self.at_once)

    def task_set(self, env: EnvSpec, split: str) -> TaskSet:
        """Return the held-out tasks of one split.

        Args:
            env: Environment of the tasks.
            split: Name of the split.

        Raises:
            UsageError: The split is unknown or has no tasks.
        """
        return env.tasks(split, self.tasks, self.seed, **self.params)

    def task_sets(self, env: EnvSpec) -> dict[str, TaskSet]:
        """Return the held-out tasks by split.

        Args:
            env: Environment of the tasks.

        Raises:
            UsageError: `splits` is empty, or a split is unknown or has no tasks.
        """
        if not self.splits:
            raise UsageError("splits is empty; expected at least one split; pass --splits")
        return {split: self.task_set(env, split) for split in self.splits}

    def agent(self, run: Run, adapter: Path | None, temperature: float | None = None) -> Agent:
        """Return the run's agent with an adapter.

        Args:
            run: The run, which opens the model.
            adapter: Adapter folder; None for the base model.
            temperature: Replaces the configured temperature; None keeps it.
        """
        settings = self.resolved(run.env).attempt_settings
        return run.make_agent(adapter, settings, temperature=temperature, decoding=self.decoding)

    def jobs(self, agent: Agent, tasks: TaskSet) -> list[Job]:
        """Return the jobs: `samples` attempts at each task, with seeds derived from `seed`, task and sample.

        Args:
            agent: Agent that acts.
            tasks: Tasks to attempt.

        Returns:
            The jobs, ordered by task, then sample.
        """
        return [Job(t, agent, derived_seed(self.seed, t.id, i), i) for t in tasks for i in range(self.samples)]


def measure(run: Run, name: str, adapter: Path | None, held_out: Measure) -> MeasuredAttempts:
    """Evaluate the run's agent with an adapter on every split.

    Args:
        run: The run that plays and stores the attempts.
        name: Name of the score, and of the stages `eval/<name>/<split>`.
        adapter: The adapter; None for the base model.
        held_out: The held-out tasks and how they are attempted.

    Returns:
        The attempts by split, played now or read from the store.

    Raises:
        UsageError: A split is unknown or has no tasks, or the store holds attempts of another agent under `name`.
    """
    return measure_agent(run, name, held_out.agent(run, adapter), held_out)


def measure_agent(run: Run, name: str, agent: Agent, held_out: Measure) -> MeasuredAttempts:
    """Evaluate an existing agent, such as a rule, on every split; otherwise like `measure`."""
    sets = held_out.task_sets(run.env)
    return {
        split: play_and_score(run, name, split, tasks, held_out, held_out.jobs(agent, tasks))
        for split, tasks in sets.items()
    }


def play_and_score(
    run: Run, name: str, task_set_name: str, tasks: TaskSet, held_out: Measure, jobs: Sequence[Job]
) -> list[Trajectory]:
    """Play `jobs` as the stage `eval/<name>/<task_set_name>`, and store their score and timing.

    Attempts that the store already holds are not played again. Raises `UsageError` if they belong to another agent.
    """
    stage, timing = Stage.from_model_round("eval", name, task_set_name), Timing()
    attempts = run.play(stage, jobs, held_out.attempt_settings, timing)
    if timing.wall:
        run.store.result(stage.with_kind("timing"), asdict, timing)
    seconds = timing.wall or None
    run.store.result(
        stage.with_kind("score"), lambda: score_attempts(run, name, tasks, attempts, held_out, seconds).to_json()
    )
    return attempts


def score_attempts(
    run: Run, name: str, tasks: TaskSet, attempts: Sequence[Trajectory], held_out: Measure, seconds: float | None = None
) -> Score:
    """Return the score of the attempts at one task set, with the settings needed to reproduce it."""
    resolved, spec = held_out.resolved(run.env), attempts[0].made_by
    with contextlib.closing(run.env.make()) as env:
        step_limit = env.max_steps
    return score(
        name,
        tasks,
        attempts,
        seconds=seconds,
        # Agents without this setting, such as rules, have no decoding to state.
        decoding=spec.args.get("decoding", "unstated") if spec else "unstated",
        step_limit=step_limit,
        seeds=(held_out.seed,),
        repeatable=run.backend.repeatable,
        settings={"temperature": held_out.temperature, "max_tokens": resolved.max_tokens, "env": run.env.to_json()},
    )


def evaluate(
    agent: Agent, env: EnvSpec, tasks: TaskSet, *, samples: int = 1, at_once: int | None = None, seed: int = 2026
) -> list[Trajectory]:
    """Let an agent attempt a task set without a run; pass the result to `score` or `compare`.

    Args:
        agent: The agent.
        env: The environment, with its constructor arguments.
        tasks: The task set.
        samples: Number of attempts at each task.
        at_once: Number of episodes played in parallel; by default, the environment's `at_once`.
        seed: Seed of the attempts. Task and sample are mixed in, so a subset of the tasks gives the same attempts.

    Returns:
        The attempts by task, then by sample. Nothing is stored.
    """
    jobs = [Job(task, agent, derived_seed(seed, task.id, i), i) for task in tasks for i in range(samples)]
    return collect(env.make, jobs, at_once=at_once or env.metadata_value("at_once"))


def timing_summary(results: Mapping[Stage, Any]) -> str:
    """Return one line on the wall time of all evaluations of a run."""
    timings = [Timing(**result) for stage, result in results.items() if stage.kind == "timing"]
    total = Timing(*(sum(getattr(timing, part) for timing in timings) for part in ("wall", "model", "env")))
    return (
        f"measuring took {total.wall:.0f} s: model {total.model:.0f} s, environment {total.env:.1f} s, "
        f"overhead {100 * total.overhead:.1f} %"
    )
