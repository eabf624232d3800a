"""Grades solutions. A solution and its tests run in two sandboxes, so that the solution cannot reach its tests."""

from __future__ import annotations

import functools
import json
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import harness
from .problem import Call, Problem
from .sandbox import Limits, Result, Sandbox
from .trial import Trial

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]{6,}")


@dataclass(frozen=True)
class Verdict:
    """The result of running tests."""

    passed: int
    """Number of tests that passed."""
    total: int
    """Number of tests."""
    failures: tuple[str, ...] = ()
    """One text per failed test, usually one line."""
    printed: str = ""
    """Text that the solution printed during the tests."""
    earned: int = 0
    """Number of passed tests that count for the score: a function that returns None does not pass them."""

    @property
    def success(self) -> bool:
        """Whether all tests passed."""
        return self.passed == self.total > 0

    @property
    def score(self) -> float:
        """1 if all tests passed, and otherwise the share of tests that count, in [0, 1)."""
        return 1.0 if self.success else self.earned / self.total if self.total else 0.0


WALL_SECONDS = 60
WALL_PER_CPU = 20
"""Wall time of a run: at least this many seconds, and this many times its CPU time.

It ends programs that wait for ever. The CPU time decides what a solution can do, however busy the machine is.
"""
IDLE_SECONDS = 20
"""Wall time that a solution may sleep before it answers. Time that it waits for a core does not count."""


class Grader:
    """Runs the tests of solutions in one sandbox."""

    def __init__(self, sandbox: Sandbox, limits: Limits | None = None) -> None:
        """Create the grader.

        Args:
            sandbox: Runs all programs.
            limits: Limits of each program. None means the CPU time that the problem states, and the default limits.
        """
        self.sandbox = sandbox
        self.limits = limits

    def limits_for(self, problem: Problem) -> Limits:
        """Return the limits of a program that runs a solution of a problem."""
        seconds = max(WALL_SECONDS, WALL_PER_CPU * problem.cpu_seconds)
        return self.limits or Limits(seconds=seconds, cpu_seconds=problem.cpu_seconds, idle_seconds=IDLE_SECONDS)

    def load_error(self, problem: Problem, solution: str) -> str:
        """Return the error that loading a solution raises, or an empty string."""
        request = {"solution": solution, "given": problem.given, "entry": problem.entry}
        limits = self.limits_for(problem)
        # Loading takes little time, and other episodes wait for a solution that sleeps.
        limits = replace(limits, seconds=min(limits.seconds, WALL_SECONDS))
        result = self.sandbox.run(harness.PROGRAM, harness.stdin("check", request), limits=limits)
        try:
            return str(json.loads(result.stdout))
        except (ValueError, RecursionError):
            return describe_end(result, limits) or "nothing could be loaded"

    def run_visible(self, problem: Problem, solution: str) -> Verdict:
        """Run the visible tests."""
        return self._run_tests(problem, solution, problem.visible, problem.visible_code)

    def run_hidden(self, problem: Problem, solution: str) -> Verdict:
        """Run the hidden tests, which decide the score."""
        return self._run_tests(problem, solution, problem.hidden, problem.hidden_code)

    def check_solutions(self, problems: Sequence[Problem]) -> list[bool]:
        """Return for each problem whether its reference solution passes all tests.

        All solutions run together with their tests in one program, so they must be trusted. The problems must be tested
        by calls.
        """
        requests = [
            {
                "solution": each.solution,
                "given": each.given,
                "entry": each.entry,
                "calls": [[list(call.arguments), call.expected] for call in (*each.visible, *each.hidden)],
            }
            for each in problems
        ]
        limits = self.limits_for(problems[0])
        limits = replace(limits, cpu_seconds=limits.cpu_seconds * len(problems))
        result = self.sandbox.run(harness.PROGRAM, harness.stdin("plain", requests), limits=limits, trusted=True)
        try:
            answers = json.loads(result.stdout)
        except ValueError:
            answers = None
        if answers is None and len(problems) > 1:
            # One of them ended the program.
            return [self.check_solutions([each])[0] for each in problems]
        return answers or [False]

    def run_snippet(self, problem: Problem, solution: str, code: str) -> Result:
        """Run code of the agent after its solution."""
        request = {"solution": solution, "given": problem.given, "code": code}
        limits = self.limits_for(problem)
        limits = replace(limits, seconds=min(limits.seconds, WALL_SECONDS))
        return self.sandbox.run(harness.PROGRAM, harness.stdin("snippet", request), limits=limits)

    def _run_tests(self, problem: Problem, solution: str, calls: Sequence[Call], code: str) -> Verdict:
        job: dict[str, Any] = {"entry": problem.entry}
        if code:
            job |= {"setup": problem.setup, "tests": code}
        else:
            job["calls"] = [[call.text(problem.entry), list(call.arguments), call.expected] for call in calls]
        limits = self.limits_for(problem)
        trial = Trial(self.sandbox, limits, problem, solution, functools.partial(describe_end, limits=limits))
        result = trial.run(job)
        printed = hide_addresses(trial.printed)
        if trial.verdict is None:
            why = f"the tests gave no verdict: the program {describe_end(result, limits)}"
            return Verdict(0, len(calls) or max(1, code.count("assert ")), (why,), printed)
        joint = ": " if code else " "
        failures = [hide_addresses(joint.join(filter(None, each))) for each in trial.verdict["failed"]]
        passed, total, earned = (int(trial.verdict[name]) for name in ("passed", "total", "earned"))
        return Verdict(passed, total, tuple(failures), printed, earned)


def describe_end(result: Result, limits: Limits) -> str:
    """Return a description of how a program ended early."""
    if result.idle:
        return f"slept for {limits.idle_seconds:g} seconds and was stopped"
    if result.timed_out:
        whole = result.seconds >= limits.seconds
        return f"took more than {limits.seconds if whole else limits.cpu_seconds:g} seconds and was stopped"
    if result.oom:
        return f"took more than {limits.memory >> 20} MiB of memory and was stopped"
    if result.exit < 0:
        return f"crashed ({signal_name(-result.exit)})"
    if result.truncated:
        return f"printed more than {limits.output} bytes"
    return f"ended the program with exit code {result.exit}" if result.exit else "ended the program"


def signal_name(number: int) -> str:
    """Return the name of a signal, such as `SIGSEGV`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def hide_addresses(text: str) -> str:
    """Replace memory addresses, which differ between runs."""
    return _ADDRESS.sub(" at 0x...", text)
