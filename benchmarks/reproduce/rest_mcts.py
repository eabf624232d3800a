"""Reproduction of ReST-MCTS*'s comparison with ReST-EM (arXiv 2406.03816, section 4.2), at an equal budget.

The budget of a round is the number of model calls of its search, those of the value model included, and in round 1
those of the first search as well. ReST-EM samples attempts until it has made as many calls. Its attempts end at the
depth limit of the search. Both train from the base in each round. The training of the value models is not counted.

ReST-EM trains on all attempts that passed, which are more than the traces that ReST-MCTS* trains on. Two controls train
on as few: ReST-EM's first round with at most `traces` attempts per task, and demonstrations alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ...agents.rollout import Job
from ...agents.trajectory import Trajectory
from ...errors import InfraError, UsageError
from ...loops.measuring.measure import Measure
from ...loops.measuring.tables import plain_table
from ...loops.registry import LoopConfig
from ...loops.rest_mcts import ReSTMCTS, first_search, total_cost, train_round
from ...loops.run import Practice, Run, job
from ...loops.runs.stages import Stage
from .core import UNGATED, Attempts, Lab, Reproduction

COUNTED = ("rest_mcts_first", "rest_mcts", "rest_em", "rest_em_few")
"""Models whose counts the table of budgets shows."""


@dataclass(frozen=True)
class ReproduceReSTMCTS(Reproduction):
    """Compare the base model, ReST-EM and ReST-MCTS* at an equal budget of model calls, over several seeds."""

    # One seed takes about 35 minutes of CPU time, of which the two value models take 14 and the searches 6.
    loop: ReSTMCTS = field(default_factory=lambda: ReSTMCTS(practice=Practice(tasks=120), gate=UNGATED))
    held_out: Measure = field(default_factory=lambda: Measure(splits=("valid_unseen",), tasks=200))

    paper: ClassVar[str] = "rest-mcts"
    gated: ClassVar[bool] = True
    pairs: ClassVar[tuple[tuple[str, str], ...]] = (
        ("rest-em 1", "rest-mcts 1"),
        ("rest-em 2", "rest-mcts 2"),
        ("rest-em 1 few", "rest-mcts 1"),
        ("base", "rest-em 2"),
        ("base", "rest-mcts 2"),
        ("demonstrations", "rest-mcts 2"),
        ("rest-em 1", "rest-em 2"),
        ("rest-mcts 1", "rest-mcts 2"),
    )

    @property
    def settings(self) -> LoopConfig:
        """The configuration of ReST-MCTS*; ReST-EM has the same tasks, sampling and training."""
        return self.loop

    def check(self) -> None:
        """See `Reproduction.check`. Also raises if ReST-EM would sample the same attempt again and again."""
        super().check()
        if self.loop.attempts.temperature == 0:
            raise UsageError(
                "temperature is 0, so all attempts of ReST-EM at a task would be equal; expected a positive number; "
                "pass --loop.attempts.temperature 1"
            )

    def one_seed(self, lab: Lab) -> None:
        """Run all models with one seed policy."""
        run, loop = lab.run, replace(self.loop, seed=self.loop.seed + lab.seed)
        lab.measure("base", None)

        lab.say("first search")
        trees = first_search(run, loop)
        budgets, spent = list[int](), 0
        searcher: Path | None = None
        sampler: Path | None = None
        for i in range(1, loop.rounds + 1):
            # REST-MCTS*
            lab.say(f"ReST-MCTS*, round {i}: value model, search, training")
            adapter, searched = train_round(run, searcher, trees, loop, i)
            trees += searched
            budgets.append(total_cost(trees).model_calls - spent)
            spent += budgets[-1]
            lab.measure(f"rest-mcts {i}", adapter)
            if loop.passes_gate(run, searcher, adapter):
                searcher = adapter

            # REST-EM
            lab.say(f"ReST-EM, round {i}: {budgets[-1]:,} model calls, training")
            adapter = train_on_samples(run, sampler, loop, i, budgets[-1])
            lab.measure(f"rest-em {i}", adapter)
            if loop.passes_gate(run, sampler, adapter):
                sampler = adapter

        # REST-EM ON AS FEW ATTEMPTS PER TASK AS REST-MCTS* TRAINS ON
        lab.say("training rest-em 1 few")
        adapter = train_on_samples(run, None, loop, 1, budgets[0], "rest_em_few", loop.traces)
        lab.measure("rest-em 1 few", adapter)

        # MORE TRAINING ON DEMONSTRATIONS ALONE, WITH AS MANY UPDATES AS THE LAST ROUND OF REST-MCTS*
        lab.say("training on demonstrations alone")
        alone = loop.data.examples(run.make_agent(None, loop.attempts), run.demonstrations)
        fit = replace(loop.fit, steps=lab.training(f"rest-mcts {loop.rounds}").get("steps"))
        adapter = run.train("demonstrations", alone, fit, seed=loop.seed, rename=loop.data.rename)
        lab.measure("demonstrations", adapter)

    def findings(self, attempts: Attempts, results: Mapping[Stage, Any]) -> list[RenderableType]:
        """Return a table of what each round searched or sampled, and at what budget."""
        return [budget_table(results)]


def train_on_samples(
    run: Run,
    start: Path | None,
    loop: ReSTMCTS,
    i: int,
    budget: int,
    name: str = "rest_em",
    limit: int | None = None,
) -> Path:
    """Run one round of ReST-EM.

    Args:
        run: The run.
        start: Adapter to sample with; None for the base model.
        loop: Configuration of ReST-MCTS*, whose tasks, sampling, training data and training apply.
        i: Round, from 1.
        budget: Model calls.
        name: Name of the adapter. Models with different names share the attempts of a round.
        limit: Maximum number of different attempts per task to train on; None takes all that passed.

    Returns:
        The adapter `<name>@<i>`, trained on the attempts that passed.

    Raises:
        UsageError: No attempt passed.
        InfraError: Infrastructure failures ended all attempts before their first turn.
    """
    sampled = sample(run, start, loop, i, budget)
    passed = distinct([attempt for attempt in sampled if attempt.success], limit)
    agent = run.make_agent(start, loop.attempts)
    examples = loop.data.mixture(agent, passed, run.demonstrations, loop.seed)
    adapter = run.train(f"{name}@{i}", examples, loop.fit, seed=loop.seed, rename=loop.data.rename)
    counts = {**sample_counts(sampled), "budget": budget, "traces": len(passed), "examples": len(examples)}
    run.store.result(Stage("counts", name, loop.practice.split, i), dict, counts)
    return adapter


def distinct(attempts: Sequence[Trajectory], limit: int | None) -> list[Trajectory]:
    """Return the first attempt with each sequence of actions, at most `limit` per task."""
    by_task: dict[str, dict[tuple[str, ...], Trajectory]] = {}
    for attempt in attempts:
        actions = tuple(step.action for step in attempt.steps)
        by_task.setdefault(attempt.task.id, {}).setdefault(actions, attempt)
    return [attempt for found in by_task.values() for attempt in list(found.values())[:limit]]


def sample(run: Run, start: Path | None, loop: ReSTMCTS, i: int, budget: int) -> list[Trajectory]:
    """Make attempts in turn at all practice tasks until the budget is used up, or take them from the store.

    Attempts are played in whole waves. Those of the last wave that the budget does not reach stay in the store, but are
    not returned. The last one returned may exceed the budget.
    """
    agent, tasks = run.make_agent(start, loop.attempts), loop.practice.task_set(run.env, loop.seed)
    stage, stream = Stage("collect", "rest_em", loop.practice.split, i), f"collect/rest_em@{i}"
    limited = replace(loop.attempts, max_steps=loop.search.max_depth)
    wave = loop.attempts.resolved(run.env).at_once or 1
    stored = len(run.store.trajectories(stage))
    # The first attempts at all tasks, then the second ones, without an end.
    endless = (job(task, agent, number, loop.seed, stream) for number in itertools.count() for task in tasks)
    jobs, attempts = list[Job](), list[Trajectory]()
    while (calls := sum(map(model_calls, attempts))) < budget:
        # A store does not return fewer attempts than it holds.
        jobs += itertools.islice(endless, max(wave, stored - len(jobs)))
        attempts = run.play(stage, jobs, limited)
        if sum(map(model_calls, attempts)) == calls:
            raise InfraError(
                f"infrastructure failures ended all {wave} attempts of a wave in stage {str(stage)!r} before their "
                "first turn; mend their cause and repeat the command in a new run folder"
            )
    used = itertools.accumulate(map(model_calls, attempts), initial=0)
    return [attempt for attempt, before in zip(attempts, used, strict=False) if before < budget]


def model_calls(attempt: Trajectory) -> int:
    """Return the number of model calls of an attempt; a turn without recorded calls is one."""
    return sum(max(1, len(step.calls)) for step in attempt.steps)


def sample_counts(attempts: Sequence[Trajectory]) -> dict[str, int]:
    """Count attempts, the tasks that they solved, and what they cost, in the terms of `search_counts`."""
    return {
        "tasks": len({attempt.task.id for attempt in attempts}),
        "solved": len({attempt.task.id for attempt in attempts if attempt.success}),
        "attempts": len(attempts),
        "infra_errors": sum(attempt.outcome == "infra_error" for attempt in attempts),
        "model_calls": sum(map(model_calls, attempts)),
        "env_steps": sum(len(attempt.steps) for attempt in attempts),
        "sampled_tokens": sum(attempt.sampled_tokens for attempt in attempts),
        "read_tokens": sum(attempt.prompt_tokens for attempt in attempts),
    }


def budget_table(results: Mapping[Stage, Any]) -> Table:
    """Return a table of the trees and attempts of each round and their cost.

    Args:
        results: Results of a run, among them the counts of rounds.
    """
    names = ["trees", "nodes", "attempts", "turns", "solved", "traces", "examples", "model\ncalls", "sampled\ntokens"]
    table = plain_table("Search and sampling at an equal number of model calls", ["round"], names, [])
    for stage, found in results.items():
        if stage.kind == "counts" and stage.model in COUNTED:
            sizes = [found.get(name) for name in ("trees", "nodes", "attempts")]
            turns = found["env_steps"] if "attempts" in found else None
            kept = [found.get(name) for name in ("traces", "examples")]
            cells = [*sizes, turns, f"{found['solved']}/{found['tasks']}", *kept]
            cost = [f"{found['model_calls']:,}", f"{found['sampled_tokens']:,}"]
            round_name = Text(" ".join(filter(None, (stage.scope, stage.model_round))))
            table.add_row(round_name, *("" if cell is None else str(cell) for cell in cells), *cost)
    table.caption = (
        "the budget of rest_em@1 is the calls of rest_mcts_first and rest_mcts@1, that of a later round the calls of "
        "rest_mcts in this round; rest_em_few trains on a part of the attempts of rest_em@1"
    )
    return table
