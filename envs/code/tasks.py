"""Task sets of the code environment. They contain only tasks whose reference solution passes all tests three times."""

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
from .grader import Grader
from .problem import Problem
from .sandbox import Limits, shared_sandbox

VERIFICATION_RUNS = 3
"""Number of times that a reference solution must pass before its task is used."""
BATCH_SIZE = 50
"""Number of reference solutions of generated tasks that are run in one program."""
SOURCES = ("steps", "humaneval", "mbpp")


@functools.lru_cache(maxsize=32)
def task_set(split: str, n: int | None, seed: int, source: str, path: str, backend: str | None) -> TaskSet:
    """Return the tasks of a source. Tasks whose reference solution fails are left out with a warning.

    See `CodeEnv.tasks` for the parameters. `backend` names the sandbox that runs the reference solutions.
    """
    grader = Grader(shared_sandbox(backend), Limits())
    if source == "steps":
        if path:
            raise UsageError(f"path is {path!r}, but source 'steps' generates its tasks; leave out path or set source")
        candidates = make_tasks(split, n, seed)
        return TaskSet(verified(grader, candidates, _verify_in_batches(grader, candidates.tasks)))
    if source not in SOURCES:
        raise unknown("source of code tasks", source, SOURCES)
    if not path:
        raise UsageError(f"{source} tasks are read from the published JSONL file; pass its location as path=FILE")
    read = published.read(source, Path(path), split)
    for bad_line in read.bad_lines:
        warnings.warn(f"{bad_line}; the line is skipped", stacklevel=2)
    return TaskSet(_sample_verified(grader, TaskSet(read.tasks), n, seed))


def _sample_verified(grader: Grader, tasks: TaskSet, n: int | None, seed: int) -> list[Task]:
    """Return `n` verified tasks drawn at random, or all of them if there are fewer."""
    if n is None or n >= len(tasks):
        return verified(grader, tasks)
    order = [tasks.tasks[i] for i in np.random.default_rng(seed).permutation(len(tasks))]
    kept: list[Task] = []
    while order and len(kept) < n:
        drawn, order = order[: n - len(kept)], order[n - len(kept) :]
        kept += verified(grader, drawn)
    return kept


def verified(grader: Grader, tasks: Iterable[Task], known: Iterable[str] = ()) -> list[Task]:
    """Return the tasks whose reference solution passes `VERIFICATION_RUNS` times, and warn about the others.

    Args:
        grader: Runs the solutions.
        tasks: Tasks to verify.
        known: Ids of tasks that have been verified.
    """
    known, kept, failed = set(known), [], {}
    for task in tasks:
        why = "" if task.id in known else solution_failure(grader, task)
        if why:
            failed[task.id] = why
        else:
            kept.append(task)
    if failed:
        named = "; ".join(f"{name} ({why})" for name, why in list(failed.items())[:10])
        warnings.warn(
            f"{len(failed)} of {len(failed) + len(kept)} code tasks are left out because their reference solution "
            "fails: " + named + ("; ..." if len(failed) > 10 else ""),
            stacklevel=3,
        )
    return kept


def solution_failure(grader: Grader, task: Task) -> str:
    """Return why a task's reference solution fails, or an empty string if it passes `VERIFICATION_RUNS` times."""
    problem = Problem.of(task)
    for number in range(VERIFICATION_RUNS):
        verdicts = [grader.run_hidden(problem, problem.solution)]
        if problem.visible or problem.visible_code:
            verdicts.append(grader.run_visible(problem, problem.solution))
        for verdict in verdicts:
            if verdict.passed < verdict.total or not verdict.total:
                why = verdict.failures[0] if verdict.failures else "it has no tests"
                return f"run {number + 1} of {VERIFICATION_RUNS}: {why}"
    return ""


def verified_task(split: str, index: int, backend: str | None) -> Task:
    """Return the first verified generated task at or after an index."""
    grader = Grader(shared_sandbox(backend), Limits())
    while solution_failure(grader, task := make_task(split, index)):
        index += 1
    return task


def _verify_in_batches(grader: Grader, tasks: Sequence[Task]) -> set[str]:
    """Return the ids of the tasks whose reference solution passes `VERIFICATION_RUNS` times, many tasks per program."""
    passed = {task.id for task in tasks}
    for first in range(0, len(tasks), BATCH_SIZE):
        batch = tasks[first : first + BATCH_SIZE]
        problems = [Problem.of(task) for task in batch]
        for _ in range(VERIFICATION_RUNS):
            results = grader.check_solutions(problems)
            passed -= {task.id for task, fine in zip(batch, results, strict=True) if not fine}
    return passed
