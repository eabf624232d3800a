"""The verdict of one plain Python process that holds a solution and its tests: what the grader must agree with."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass

import plain_guest
from kintsugi.envs.code import Problem
from kintsugi.envs.code.sandbox import Limits, Sandbox
from kintsugi.errors import InfraError

BATCH = 40
"""Number of programs per run of the sandbox."""


@dataclass(frozen=True)
class PlainVerdict:
    """What plain Python says about one solution."""

    status: str
    """`passed`, `failed` or `timeout`."""
    why: str
    """Name of the exception, or how the process ended."""
    applied: int
    """Value of the solution's global `_applied_` at the end: how often a dressing changed something."""

    @property
    def passed(self) -> bool:
        """Whether all tests passed."""
        return self.status == "passed"


def program_parts(problem: Problem, solution: str) -> list[str]:
    """Return the sources that are executed in one module, in order: helpers, solution, setup and hidden tests.

    The setup of HumanEval is the prompt, which defines a stub of the solution, so it comes before the solution. The
    setup of MBPP may use classes of the solution, so it comes after.
    """
    before, after = [problem.given, solution], [problem.setup]
    if problem.entry in defined_names(problem.setup):
        before, after = [problem.setup, *before], []
    check = [f"check({problem.entry})"] if "check" in defined_names(problem.hidden_code) else []
    return [part for part in [*before, *after, problem.hidden_code, *check] if part.strip()]


def plain_verdicts(
    sandbox: Sandbox, problem: Problem, solutions: Sequence[str], cpu_seconds: float = 2.0
) -> list[PlainVerdict]:
    """Return plain Python's verdict on each solution. Raises `InfraError` if the programs were not all run."""
    found: list[PlainVerdict] = []
    for first in range(0, len(solutions), BATCH):
        batch = solutions[first : first + BATCH]
        request = {"programs": [program_parts(problem, each) for each in batch], "cpu_seconds": cpu_seconds}
        limits = Limits(seconds=1200, cpu_seconds=600, memory=2 << 30, output=1 << 20)
        result = sandbox.run(inspect.getsource(plain_guest), json.dumps(request), limits=limits)
        lines = result.text.splitlines()
        if len(lines) != len(batch):
            raise InfraError(f"{len(lines)} of {len(batch)} programs were run: {result.errors[-500:]}")
        found += [PlainVerdict(**json.loads(line)) for line in lines]
    return found


def defined_names(code: str) -> set[str]:
    """Return the names of the functions and classes that a program defines."""
    return {node.name for node in ast.parse(code).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
