"""Compares the grader with plain Python on published tasks: `python tests/support/judge_checks.py CHECK --out FILE`.

The check `mutants` makes wrong solutions of right ones and keeps those that fail in plain Python. None may pass. The
check `dressings` gives the results of right solutions other types. The grader's verdict must be plain Python's.

Each finished task is one line of JSON in FILE. A call that finds lines there continues after them. The exit code is 1
if a verdict was wrong. Files are looked for in `$KINTSUGI_DATA/code`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from dressings import DRESSINGS, dressed
from kintsugi.envs.code import Problem, published
from kintsugi.envs.code.grader import Grader
from kintsugi.envs.code.sandbox import Sandbox, shared_sandbox
from mutants import mutants
from plain_python import defined_names, plain_verdicts

FILES = (("humaneval", "HumanEval.jsonl"), ("mbpp", "mbpp.jsonl"), ("mbpp", "sanitized-mbpp.json"))


def published_problems(folder: Path, files: Sequence[tuple[str, str]] = FILES) -> Iterator[tuple[str, Problem]]:
    """Yield the name and the problem of every task of the published files, whatever its split."""
    for source, name in files:
        splits = ("test",) if source == "humaneval" else tuple(published.MBPP_SPLITS)
        for split in splits:
            for task in published.read(source, folder / name, split).tasks:
                prefix = "sanitized-" if name.startswith("sanitized") else ""
                yield f"{prefix}{task.id}", Problem.of(task)


def passes(sandbox: Sandbox, problem: Problem, solution: str) -> bool:
    """Return whether the grader says that a solution passes all hidden tests."""
    verdict = Grader(sandbox).run_hidden(problem, solution)
    return verdict.passed == verdict.total > 0


def check_mutants(sandbox: Sandbox, problem: Problem, count: int | None = None, seed: int = 0) -> dict[str, Any]:
    """Grade the mutants of one reference solution that fail in plain Python. Helpers of the prompt stay as they are.

    Returns:
        `made` (mutants), `graded` (those that fail in plain Python in time) and `wrong` (graded ones that passed).
    """
    made = mutants(problem.solution, count, seed, spare=defined_names(problem.given))
    verdicts = plain_verdicts(sandbox, problem, [each.source for each in made], cpu_seconds=0.4)
    failing = [each for each, verdict in zip(made, verdicts, strict=True) if verdict.status == "failed"]
    quick = replace(problem, cpu_seconds=2)
    wrong = [each.change for each in failing if passes(sandbox, quick, each.source)]
    return {"made": len(made), "graded": len(failing), "wrong": wrong}


def check_dressings(sandbox: Sandbox, problem: Problem, names: Sequence[str] = DRESSINGS) -> dict[str, Any]:
    """Grade one reference solution in all dressings that change something.

    Returns:
        `made` (dressings), `graded` (those that changed something, and on which plain Python gave a verdict in time),
        `passed` (in plain Python) and `wrong` (dressings in which the grader says something else).
    """
    sources = {name: dressed(problem.solution, problem.entry, name) for name in names}
    verdicts = plain_verdicts(sandbox, problem, list(sources.values()), cpu_seconds=problem.cpu_seconds)
    plain = {
        name: verdict.passed
        for name, verdict in zip(sources, verdicts, strict=True)
        if verdict.applied and verdict.status != "timeout"
    }
    wrong = [
        f"{name}: {'passes' if right else 'fails'} in plain Python"
        for name, right in plain.items()
        if passes(sandbox, problem, sources[name]) != right
    ]
    return {"made": len(sources), "graded": len(plain), "passed": sum(plain.values()), "wrong": wrong}


def main() -> int:
    """Run one check on all tasks, or on a part of them, and print what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("check", choices=("mutants", "dressings"))
    parser.add_argument("--out", type=Path, required=True, help="JSON lines; finished tasks in it are not repeated")
    parser.add_argument("--count", type=int, default=8, help="mutants per task")
    parser.add_argument("--every", type=int, default=1, help="take every n-th task only")
    parser.add_argument("--only", default="", help="take tasks whose name contains this")
    parser.add_argument("--dressing", default="", help="take dressings whose name contains this")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backend", default=None, help="docker or bubblewrap")
    options = parser.parse_args()
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    done = {each["task"]: each for each in map(json.loads, lines)}
    folder = Path(os.environ["KINTSUGI_DATA"]) / "code"
    tasks = [each for each in published_problems(folder) if options.only in each[0]][:: options.every]
    names = [name for name in DRESSINGS if options.dressing in name]
    sandbox = shared_sandbox(options.backend)

    def check(problem: Problem) -> dict[str, Any]:
        if options.check == "mutants":
            return check_mutants(sandbox, problem, options.count)
        return check_dressings(sandbox, problem, names)

    with ThreadPoolExecutor(options.threads) as threads, options.out.open("a") as out:
        waiting = {threads.submit(check, problem): name for name, problem in tasks if name not in done}
        for future in as_completed(waiting):
            done[waiting[future]] = found = {"task": waiting[future], **future.result()}
            out.write(json.dumps(found) + "\n")
            out.flush()
            for each in found["wrong"]:
                print(f"{found['task']}: {each}", flush=True)
    graded, wrong = sum(each["graded"] for each in done.values()), sum(len(each["wrong"]) for each in done.values())
    print(f"{len(done)} tasks, {sum(each['made'] for each in done.values())} solutions, {graded} graded, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
