"""Recovery: how well models continue from a bad beginning, the first turns of a failed attempt.

The base model attempts the held-out tasks at a temperature above 0. The first turns of its failed attempts are the bad
beginnings, and every model continues from the same ones. Failures of greedy decoding are unsuitable: the greedy base
model would continue them in the same way. The bad beginnings belong to tasks that the base model failed, which biases a
comparison against the base model. Comparisons between trained models are not biased.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from ...agents.models.core import derived_seed
from ...agents.resuming import ResumingAgent
from ...agents.rollout import Job
from ...agents.trajectory import Trajectory
from ...envs.core import TaskSet
from ...errors import UsageError
from ..run import Run
from ..runs.stages import Stage
from .behaviour import Behaviour, measure_behaviour
from .measure import Measure, play_and_score
from .tables import percent, plain_table

RECOVERY_TASKS = "recovery"
"""Name of the task set of the bad beginnings, next to the splits."""


@dataclass(frozen=True)
class Recovery:
    """Settings of the bad beginnings that models have to recover from."""

    steps: int = 10
    """Number of turns of a bad beginning."""
    max_beginnings: int = 100
    """Maximum number of bad beginnings, spread evenly over the failed attempts."""
    temperature: float = 0.7
    """Sampling temperature of the base model that produces the bad beginnings."""


def bad_beginnings(run: Run, held_out: Measure, config: Recovery) -> dict[str, Trajectory]:
    """Sample failed attempts of the base model at the held-out tasks.

    Args:
        run: The run that plays and stores the attempts. All models that are compared must use the same run and scope.
        held_out: The held-out tasks.
        config: Settings of the bad beginnings.

    Returns:
        At most `config.max_beginnings` failed attempts of more than `config.steps` turns, by their key in the store.

    Raises:
        UsageError: No attempt failed after more than `config.steps` turns.
    """
    failed: dict[str, Trajectory] = {}
    agent = held_out.agent(run, None, config.temperature)
    for split, tasks in held_out.task_sets(run.env).items():
        stage, stream = Stage("beginnings", "base", split), f"collect/beginnings/{split}"
        jobs = [Job(task, agent, derived_seed(held_out.seed, stream, task.id)) for task in tasks]
        for t in run.play(stage, jobs, held_out.attempt_settings):
            if t.outcome in ("failure", "truncated") and len(t.steps) > config.steps:
                failed[run.store.key(stage, t.key)] = t
    if not failed:
        raise UsageError(
            f"no attempt of the base model failed after more than {config.steps} turns, so there is nothing to recover "
            "from; set --loop.recovery.steps lower, or choose harder tasks"
        )
    most, keys = min(config.max_beginnings, len(failed)), list(failed)
    return {key: failed[key] for key in (keys[number * len(keys) // most] for number in range(most))}


def measure_recovery(
    run: Run, name: str, adapter: Path | None, held_out: Measure, config: Recovery, failed: Mapping[str, Trajectory]
) -> list[Trajectory]:
    """Measure recovery: the agent with an adapter continues the first turns of failed attempts.

    Args:
        run: The run that plays and stores the attempts, as the stage `eval/<name>/recovery`.
        name: Name of the score.
        adapter: The adapter; None for the base model.
        held_out: How tasks are attempted.
        config: Settings of the bad beginnings.
        failed: The result of `bad_beginnings`.

    Returns:
        One attempt for each failed attempt. The pre-filled steps are not trainable.
    """
    agent = held_out.agent(run, adapter)
    jobs = [
        Job(
            t.task,
            ResumingAgent(agent, t.steps[: config.steps]),
            derived_seed(held_out.seed, RECOVERY_TASKS, t.key),
            t.sample,
            parents=(key,),
        )
        for key, t in failed.items()
    ]
    return play_and_score(run, name, RECOVERY_TASKS, TaskSet({t.task for t in failed.values()}), held_out, jobs)


def behaviour_by_model(
    attempts: Mapping[str, Mapping[str, Iterable[Trajectory]]], tasks: Sequence[str], revisions: Sequence[str]
) -> dict[str, Behaviour]:
    """Return the behaviour of each model over the task sets `tasks` together; skip models that lack one of them."""
    return {
        name: measure_behaviour((t for each in tasks for t in found[each]), revisions)
        for name, found in attempts.items()
        if all(each in found for each in tasks)
    }


def behaviour_table(found: Mapping[str, Behaviour], title: str) -> Table:
    """Return a table with one row per model."""
    table = plain_table(
        title, ["model"], ["steps", "repeated", "stuck", "turns\nto new", "revised", "turns to\nrevision"], []
    )
    for name, b in found.items():
        turns = [f"{each:.1f}" if each is not None else "" for each in (b.turns_until_new, b.turns_until_revision)]
        shares = [percent(each) for each in (b.repeated_share, b.stuck_share, b.revising_share)]
        table.add_row(Text(name), f"{b.own_steps:.1f}", shares[0], shares[1], turns[0], shares[2], turns[1])
    table.caption = Text("repeated: same action, same observation; stuck: no new action was accepted", style="dim")
    return table
