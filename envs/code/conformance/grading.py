"""Grades solutions for the checks of verdicts."""

from __future__ import annotations

import textwrap

from ..grader import Grader, Verdict
from ..problem import Problem
from ..sandbox.core import Limits
from .context import CheckContext, require

TESTS = """
SECRET = "hidden-" + "tests"
import calendar
def check(candidate):
    assert candidate(2) == 17
    assert candidate(3) == 24
    assert candidate(5) == 38
"""
LIMITS = Limits(seconds=60, cpu_seconds=2)


def grade(context: CheckContext, solution: str, tests: str = TESTS, limits: Limits = LIMITS) -> Verdict:
    """Return the verdict on a solution."""
    problem = Problem(type="", prompt="", goal="", entry="f", solution="", hidden_code=tests)
    return Grader(context.sandbox, limits).run_hidden(problem, textwrap.dedent(solution))


def expect_failure(context: CheckContext, solution: str, passed: int = 0, tests: str = TESTS) -> Verdict:
    """Check that a solution passes so many tests, and not all, and prints nothing of the tests. Return the verdict."""
    verdict = grade(context, solution, tests)
    require(
        verdict.passed == passed and not verdict.success,
        f"{verdict.passed} of {verdict.total} tests passed, expected {passed}; the failures are {verdict.failures}",
    )
    require("hidden-" not in verdict.printed, f"the solution printed {verdict.printed[:200]!r}")
    return verdict
