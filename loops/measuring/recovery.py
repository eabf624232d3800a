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
from typing import Any

from rich.table import Table
from rich.text import Text

from ..agents.models.core import LanguageModel, derived_seed
from ..agents.resuming import ResumingAgent
from ..agents.rollout import Job
from ..agents.trajectory import Trajectory
from ..envs.core import TaskSet
from ..envs.registry import find
from ..errors import UsageError
from ..loops.behaviour import Behaviour, behaviour
from ..loops.store import RunStore
from .measure import Measure, Subject, measured
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


def bad_beginnings(store: RunStore, base: Path, on: Measure, config: Recovery) -> list[Trajectory]:
    """Failed attempts of the base at the held-out tasks, the same for all models compared in `store`.

    Raises `UsageError` when none failed after more than `config.steps` turns.
    """
    subject, failed = Subject(base, None, on.together), list[Trajectory]()
    for split in on.splits:
        stage, tasks = f"collect/beginnings/{split}", on.task_set(split)
        attempts = store.trajectories(stage)
        if len(attempts) < len(tasks):
            agent = on.agent(subject.model(), config.temperature)
            jobs = [Job(task, agent, derived_seed(on.seed, stage, task.id)) for task in tasks]
            attempts = store.collect(stage, find(on.env).load(), jobs, at_once=on.together)
        failed += [t for t in attempts if t.outcome in ("failure", "truncated") and len(t.steps) > config.steps]
    if not failed:
        raise UsageError(
            f"no attempt of the base failed after more than {config.steps} turns, so there is nothing to recover from; "
            "set fewer steps, or take harder tasks"
        )
    most = min(config.most, len(failed))
    return [failed[number * len(failed) // most] for number in range(most)]


def measure_recovery(
    store: RunStore,
    name: str,
    base: Path,
    adapter: Path | None,
    on: Measure,
    config: Recovery,
    failed: Sequence[Trajectory],
) -> list[Trajectory]:
    """The attempts of `base` + `adapter` that go on from the first turns of `failed`, as `<name>/recovery`."""
    tasks = TaskSet({t.task for t in failed})

    def jobs(model: LanguageModel) -> list[Job]:
        agent = on.agent(model)
        return [
            Job(
                t.task,
                ResumingAgent(agent, t.steps[: config.steps]),
                derived_seed(on.seed, TASKS, t.key),
                t.sample,
                parents=(t.key,),
            )
            for t in failed
        ]

    return measured(store, name, TASKS, Subject(base, adapter, on.together), tasks, on, jobs, len(failed))


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


def rounds_table(results: Mapping[str, Any]) -> Table:
    """One line for each round of each seed: trees, splices, and what became of them."""
    shown = [
        "trees",
        "no pair",
        "good",
        "splices",
        "bad\nsteps",
        "as\nwritten",
        "searched",
        "counter-\nfactual",
        "not\nparsed",
    ]
    made = plain_table("Trees and splices", ["round"], shown, [])
    for name, r in results.items():
        if not name.rpartition("/")[2].startswith("round") or "splices" not in r:
            continue
        shares = [percent(r[how]) if how in r else "" for how in ("verified", "searched", "counterfactual")]
        unparsed = "" if r["unparsed_share"] is None else percent(r["unparsed_share"])
        steps = "" if r["bad_steps"] is None else f"{r['bad_steps']:.1f}"
        counts = [r["trees"], r["trees_without_a_pair"], r["good_paths"], r["splices"]]
        made.add_row(Text(name.replace("/round", " @")), *map(str, counts), steps, *shares, unparsed)
    return made
