"""Task sets of the code environment. They contain only tasks whose reference solution passes all tests three times."""

from __future__ import annotations

import ast
import functools
import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import UsageError, unknown
from ..core import Task, TaskSet
from ..portable_rng import PortableGenerator
from . import published
from .family import make_task, make_tasks
from .grader import Grader
from .problem import Problem
from .sandbox import shared_sandbox

VERIFICATION_RUNS = 3
"""Number of times that a reference solution must pass before its task is used."""
BATCH_SIZE = 50
"""Number of reference solutions of generated tasks that are run in one program."""
SOURCES = ("steps", "humaneval", "mbpp")


@dataclass(frozen=True)
class Verified:
    """What running a task's reference solution showed."""

    task: Task
    """The task, without visible examples that its reference solution fails."""
    failure: str = ""
    """Why the reference solution fails the hidden tests. Empty if it passes."""
    dropped: tuple[str, ...] = ()
    """Visible examples that were left out."""


def task_set(split: str, n: int | None, seed: int, source: str, path: str, backend: str | None) -> TaskSet:
    """Return the tasks of a source. Tasks whose reference solution fails are left out with a warning.

    Equal calls return the same set without running the solutions again, unless the content of the file has changed.
    See `CodeEnv.tasks` for the parameters. `backend` names the sandbox that runs the reference solutions.
    """
    if source == "steps":
        if path:
            raise UsageError(f"path is {path!r}, but source 'steps' generates its tasks; leave out path or set source")
        return _generated_set(split, n, seed, backend)
    if source not in SOURCES:
        raise unknown("source of code tasks", source, SOURCES)
    if not path:
        raise UsageError(f"{source} tasks are read from the published file; pass its location as path=FILE")
    return _published_set(split, n, seed, source, path, published.read_content(Path(path)), backend)


@functools.lru_cache(maxsize=32)
def _generated_set(split: str, n: int | None, seed: int, backend: str | None) -> TaskSet:
    grader, candidates = _verifier(backend), make_tasks(split, n, seed)
    return TaskSet(verified(grader, candidates, _verify_in_batches(grader, candidates.tasks)))


@functools.lru_cache(maxsize=32)
def _published_set(
    split: str, n: int | None, seed: int, source: str, path: str, content: bytes, backend: str | None
) -> TaskSet:
    read = published.parse(source, content, split, Path(path))
    if read.bad_rows:
        warnings.warn(
            f"{len(read.bad_rows)} rows are not {source} tasks and are left out: {_first_ten(read.bad_rows)}",
            stacklevel=4,
        )
    return TaskSet(_sample_verified(_verifier(backend), TaskSet(read.tasks), n, seed))


def _verifier(backend: str | None) -> Grader:
    """Return a grader whose verdicts depend on CPU time only, so that a busy machine gives the same task set."""
    return Grader(shared_sandbox(backend))


def _sample_verified(grader: Grader, tasks: TaskSet, n: int | None, seed: int) -> list[Task]:
    """Return `n` verified tasks drawn at random, or all of them if there are fewer."""
    if n is None or n >= len(tasks):
        return verified(grader, tasks)
    order = [tasks.tasks[i] for i in PortableGenerator(seed).permutation(len(tasks))]
    kept: list[Task] = []
    while order and len(kept) < n:
        drawn, order = order[: n - len(kept)], order[n - len(kept) :]
        kept += verified(grader, drawn)
    return kept


def verified(grader: Grader, tasks: Iterable[Task], known: Iterable[str] = ()) -> list[Task]:
    """Return the tasks whose reference solution passes `VERIFICATION_RUNS` times, and warn about the others.

    Several tasks are verified at the same time. Visible examples that the reference solution fails are left out of
    their tasks. The result is a function of the tasks alone, as far as the reference solutions are deterministic.

    Args:
        grader: Runs the solutions.
        tasks: Tasks to verify.
        known: Ids of tasks that have been verified.

    Raises:
        InfraError: If the sandbox fails, so that it is not known whether a reference solution passes.
    """
    known = set(known)

    def check(task: Task) -> Verified:
        return Verified(task) if task.id in known else verify(grader, task)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        try:
            found = list(threads.map(check, tasks))
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
    if failed := [f"{each.task.id} ({each.failure})" for each in found if each.failure]:
        warnings.warn(
            f"{len(failed)} of {len(found)} code tasks are left out because their reference solution fails: "
            + _first_ten(failed),
            stacklevel=3,
        )
    kept = [each for each in found if not each.failure]
    if dropped := [f"{each.task.id} ({text})" for each in kept for text in each.dropped]:
        warnings.warn(
            f"left out of their tasks: {len(dropped)} visible examples that the reference solution fails: "
            + _first_ten(dropped),
            stacklevel=3,
        )
    return [each.task for each in kept]


def verify(grader: Grader, task: Task) -> Verified:
    """Run a task's reference solution `VERIFICATION_RUNS` times on its hidden and visible tests.

    Raises:
        UsageError: If the task is not a programming problem.
        InfraError: If the sandbox fails.
    """
    problem = Problem.of(task)
    for number in range(VERIFICATION_RUNS):
        verdicts = [grader.run_hidden(problem, problem.solution)]
        if problem.visible:
            verdicts.append(grader.run_visible(problem, problem.solution))
        for verdict in verdicts:
            if verdict.passed < verdict.total or not verdict.total:
                why = verdict.failures[0] if verdict.failures else "it has no tests"
                return Verified(task, f"run {number + 1} of {VERIFICATION_RUNS}: {why}")
    if not problem.visible_code or _passes_visible(grader, problem):
        return Verified(task)
    code, dropped = _right_examples(grader, problem)
    return Verified(replace(task, params={**task.params, "visible_code": code}), dropped=dropped)


def _passes_visible(grader: Grader, problem: Problem) -> bool:
    """Return whether the reference solution passes the visible assertions in all of `VERIFICATION_RUNS` runs."""
    if f"{problem.hidden_code}\n".startswith(f"{problem.visible_code}\n"):
        return True  # They have just been run, as the first of the hidden ones.
    verdicts = (grader.run_visible(problem, problem.solution) for _ in range(VERIFICATION_RUNS))
    return all(verdict.passed == verdict.total > 0 for verdict in verdicts)


def _right_examples(grader: Grader, problem: Problem) -> tuple[str, tuple[str, ...]]:
    """Return the visible code without the assertions that fail on their own, and the source of these assertions."""
    statements = ast.parse(problem.visible_code).body
    kept, dropped = list(statements), []
    for example in statements:
        if isinstance(example, ast.Assert):
            others = [each for each in statements if each is example or not isinstance(each, ast.Assert)]
            if not _passes_visible(grader, replace(problem, visible_code=_source(problem.visible_code, others))):
                kept.remove(example)
                dropped.append(_source(problem.visible_code, [example]))
    tests = any(isinstance(each, ast.Assert) for each in kept)
    return _source(problem.visible_code, kept) if tests else "", tuple(dropped)


def _source(code: str, statements: Sequence[ast.stmt]) -> str:
    return "\n".join(ast.get_source_segment(code, each) or "" for each in statements)


def _first_ten(items: Sequence[str]) -> str:
    return "; ".join(items[:10]) + ("; ..." if len(items) > 10 else "")


def verified_task(split: str, index: int, backend: str | None) -> Task:
    """Return the first verified generated task at or after an index."""
    grader = _verifier(backend)
    while verify(grader, task := make_task(split, index)).failure:
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
