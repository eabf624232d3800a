"""Which tasks enter a set: those whose own solution passes all their tests, three times in a row."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ...errors import UsageError, unknown
from ..core import Task, TaskSet
from . import published
from .family import make_task, make_tasks
from .judge import Judge
from .problem import Problem
from .sandbox import Limits, shared_sandbox

RUNS = 3
"""How often a gold solution is run before its task enters a set."""
BATCH = 50
"""So many gold solutions of the embedded family are run in one program."""
SOURCES = ("steps", "humaneval", "mbpp")


@functools.lru_cache(maxsize=32)
def task_set(split: str, n: int | None, seed: int, source: str, path: str, backend: str | None) -> TaskSet:
    """The tasks of a source, without those whose gold solution fails, which a warning counts and names."""
    judge = Judge(shared_sandbox(backend), Limits())
    if source == "steps":
        if path:
            raise UsageError(f"the path {path!r} was given, but the embedded tasks (source 'steps') come from no file")
        candidates = make_tasks(split, n, seed)
        return TaskSet(proven(judge, candidates, _in_batches(judge, candidates.tasks)))
    if source not in SOURCES:
        raise unknown("source of code tasks", source, SOURCES)
    if not path:
        raise UsageError(f"{source} tasks come from its published JSONL file; say where it is: path FILE")
    read = published.read(source, Path(path), split)
    for problem in read.problems:
        warnings.warn(f"{problem}; the rest is loaded", stacklevel=2)
    return TaskSet(_drawn(judge, TaskSet(read.tasks), n, seed))


def _drawn(judge: Judge, tasks: TaskSet, n: int | None, seed: int) -> list[Task]:
    """`n` proven tasks, or all that there are."""
    if n is None or n >= len(tasks):
        return proven(judge, tasks)
    order = [tasks.tasks[i] for i in np.random.default_rng(seed).permutation(len(tasks))]
    kept: list[Task] = []
    while order and len(kept) < n:
        drawn, order = order[: n - len(kept)], order[n - len(kept) :]
        kept += proven(judge, drawn)
    return kept


def proven(judge: Judge, tasks: Iterable[Task], known: Iterable[str] = ()) -> list[Task]:
    """The tasks whose gold solution passes `RUNS` times; those in `known` (ids) have passed already."""
    known, kept, failed = set(known), [], {}
    for task in tasks:
        why = "" if task.id in known else failing(judge, task)
        if why:
            failed[task.id] = why
        else:
            kept.append(task)
    if failed:
        named = "; ".join(f"{name} ({why})" for name, why in list(failed.items())[:10])
        warnings.warn(
            f"{len(failed)} of {len(failed) + len(kept)} code tasks are left out, since their own solution fails: "
            + named
            + ("; ..." if len(failed) > 10 else ""),
            stacklevel=3,
        )
    return kept


def failing(judge: Judge, task: Task) -> str:
    """Why a task's gold solution does not pass; empty when it does, `RUNS` times."""
    problem = Problem.of(task)
    for number in range(RUNS):
        verdicts = [judge.hidden(problem, problem.solution)]
        if problem.visible or problem.visible_code:
            verdicts.append(judge.visible(problem, problem.solution))
        for verdict in verdicts:
            if verdict.passed < verdict.total or not verdict.total:
                said = verdict.failures[0] if verdict.failures else "there are no tests"
                return f"run {number + 1} of {RUNS}: {said}"
    return ""


def proven_task(split: str, index: int, backend: str | None) -> Task:
    """One embedded task, or the next that is in order."""
    judge = Judge(shared_sandbox(backend), Limits())
    while failing(judge, task := make_task(split, index)):
        index += 1
    return task


def _in_batches(judge: Judge, tasks: Sequence[Task]) -> set[str]:
    """Ids of the tasks whose gold solutions pass when many are run in one program, `RUNS` programs in a row."""
    passed = {task.id for task in tasks}
    for first in range(0, len(tasks), BATCH):
        batch = tasks[first : first + BATCH]
        problems = [Problem.of(task) for task in batch]
        for _ in range(RUNS):
            results = judge.golds(problems)
            passed -= {task.id for task, fine in zip(batch, results, strict=True) if not fine}
    return passed
