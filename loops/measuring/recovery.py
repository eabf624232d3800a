"""Recovery: which models get out of a bad beginning that another one made, and how soon they turn round.

The base attempts the held-out tasks by sampling; the first turns of attempts that failed are the bad beginnings. Every
model goes on from the same ones. The base's own greedy failures would not do: it would go on with them to the letter.
Even so the beginnings are of tasks that the base has just failed, which weighs against the base; not so between models
that were trained.
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
from .behaviour import Behaviour, behaviour
from .measure import Measure, measured
from .tables import percent, plain_table

TASKS = "recovery"
"""What the set of bad beginnings is called beside the splits."""


@dataclass(frozen=True)
class Recovery:
    """Which bad beginnings models have to recover from."""

    steps: int = 10
    """Turns of a bad beginning."""
    most: int = 100
    """Bad beginnings, spread over the failed attempts."""
    temperature: float = 0.7
    """At which the base made them."""


def bad_beginnings(run: Run, on: Measure, config: Recovery) -> dict[str, Trajectory]:
    """Failed attempts of the base at the held-out tasks, by full key: the same for all models compared in `run`.

    Raises `UsageError` when none failed after more than `config.steps` turns.
    """
    failed: dict[str, Trajectory] = {}
    agent = on.agent(run, None, config.temperature)
    for split, tasks in on.task_sets(run.env).items():
        stage, stream = Stage("beginnings", "base", split), f"collect/beginnings/{split}"
        jobs = [Job(task, agent, derived_seed(on.seed, stream, task.id)) for task in tasks]
        for t in run.play(stage, jobs, on.attempts):
            if t.outcome in ("failure", "truncated") and len(t.steps) > config.steps:
                failed[run.store.key(stage, t.key)] = t
    if not failed:
        raise UsageError(
            f"no attempt of the base failed after more than {config.steps} turns, so there is nothing to recover from; "
            "set fewer steps, or take harder tasks"
        )
    most, keys = min(config.most, len(failed)), list(failed)
    return {key: failed[key] for key in (keys[number * len(keys) // most] for number in range(most))}


def measure_recovery(
    run: Run, name: str, adapter: Path | None, on: Measure, config: Recovery, failed: Mapping[str, Trajectory]
) -> list[Trajectory]:
    """The attempts of the base with an adapter that go on from the first turns of `failed`, as `<name>/recovery`."""
    agent = on.agent(run, adapter)
    jobs = [
        Job(
            t.task,
            ResumingAgent(agent, t.steps[: config.steps]),
            derived_seed(on.seed, TASKS, t.key),
            t.sample,
            parents=(key,),
        )
        for key, t in failed.items()
    ]
    return measured(run, name, TASKS, TaskSet({t.task for t in failed.values()}), on, jobs)


def behaviours(
    attempts: Mapping[str, Mapping[str, Iterable[Trajectory]]], tasks: Sequence[str], revisions: Sequence[str]
) -> dict[str, Behaviour]:
    """By model, all of `tasks` together."""
    return {
        name: behaviour((t for each in tasks for t in found[each]), revisions)
        for name, found in attempts.items()
        if all(each in found for each in tasks)
    }


def behaviour_table(found: Mapping[str, Behaviour], title: str) -> Table:
    """One line a model."""
    made = plain_table(
        title, ["model"], ["steps", "repeated", "stuck", "turns\nto new", "takes\nback", "turns\nto that"], []
    )
    for name, b in found.items():
        turns = [f"{each:.1f}" if each is not None else "" for each in (b.turns_until_new, b.turns_until_revision)]
        shares = [percent(each) for each in (b.repeated, b.stuck, b.revising)]
        made.add_row(Text(name), f"{b.own_steps:.1f}", shares[0], shares[1], turns[0], shares[2], turns[1])
    made.caption = Text("repeated: same action, same answer; stuck: no new action was accepted", style="dim")
    return made
