"""Grades solutions by running their tests in a sandbox, which the expected values of calls never enter."""

from __future__ import annotations

import functools
import json
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import harness
from .guest.values import decode, encode, parse_json
from .problem import Call, Problem
from .sandbox import Limits, Result, Sandbox

MAX_HANGS = 2
"""Number of calls that may time out. After that, the remaining calls count as failed without being run."""
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

    @property
    def score(self) -> float:
        """Share of the tests that passed, in [0, 1]."""
        return self.passed / self.total if self.total else 0.0


class Grader:
    """Runs the tests of solutions in one sandbox, with one set of limits."""

    def __init__(self, sandbox: Sandbox, limits: Limits) -> None:
        self.sandbox = sandbox
        self.limits = limits

    def load_error(self, problem: Problem, solution: str) -> str:
        """Return the error that loading a solution raises, or an empty string."""
        answers, result = self._run_calls([encode_request(problem, solution, [])])
        if not answers:
            return describe_end(result, self.limits) or "nothing could be loaded"
        return str(answers[0].get("error", ""))

    def run_visible(self, problem: Problem, solution: str) -> Verdict:
        """Run the visible tests."""
        return self._run_tests(problem, solution, problem.visible, problem.visible_code)

    def run_hidden(self, problem: Problem, solution: str) -> Verdict:
        """Run the hidden tests, which decide the score."""
        return self._run_tests(problem, solution, problem.hidden, problem.hidden_code)

    def check_solutions(self, problems: Sequence[Problem]) -> list[bool]:
        """Return for each problem whether its reference solution passes all tests.

        All solutions run in one program. The problems must be tested by calls.
        """
        requests = [encode_request(each, each.solution, [*each.visible, *each.hidden]) for each in problems]
        answers, _ = self._run_calls(requests)
        passed, at = [], 0
        for each in problems:
            calls = [*each.visible, *each.hidden]
            got = answers[at : at + 1 + len(calls)]
            loaded = len(got) == 1 + len(calls) and "loaded" in got[0]
            passed.append(loaded and not any(map(functools.partial(failure_text, each), calls, got[1:])))
            at += 1 + len(calls) if got and "loaded" in got[0] else 1
        return passed

    def run_snippet(self, problem: Problem, solution: str, code: str) -> Result:
        """Run code of the agent after its solution."""
        request = json.dumps({"solution": solution, "given": problem.given, "code": code})
        return self.sandbox.run(harness.program("snippet"), request, limits=self.limits)

    def _run_tests(self, problem: Problem, solution: str, calls: Sequence[Call], code: str) -> Verdict:
        if code:
            return self._test_by_assertions(problem, solution, code)
        return self._test_by_calls(problem, solution, calls)

    def _test_by_calls(self, problem: Problem, solution: str, calls: Sequence[Call]) -> Verdict:
        failures: list[str] = []
        printed, done, hangs = "", 0, 0
        while done < len(calls) and hangs < MAX_HANGS:
            answers, result = self._run_calls([encode_request(problem, solution, calls[done:])])
            printed += result.errors
            if not answers or "error" in answers[0]:
                why = answers[0]["error"] if answers else describe_end(result, self.limits)
                return Verdict(0, len(calls), (str(why),), hide_addresses(printed))
            got = answers[1 : len(calls) - done + 1]
            failures += [
                text
                for call, answer in zip(calls[done:], got, strict=False)
                if (text := failure_text(problem, call, answer))
            ]
            done += len(got)
            if done < len(calls):
                failures.append(f"{calls[done].text(problem.entry)} {describe_end(result, self.limits)}")
                done += 1
                hangs += result.timed_out
        failures += [f"{call.text(problem.entry)} was not run" for call in calls[done:]]
        return Verdict(len(calls) - len(failures), len(calls), tuple(failures), hide_addresses(printed))

    def _run_calls(self, requests: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Result]:
        """Run the calls of all requests.

        Returns:
            The answers that could be parsed, and the result of the program. The first answer to each request says
            whether its solution could be loaded.
        """
        limits = replace(self.limits, output=self.limits.output * len(requests))
        result = self.sandbox.run(harness.program("calls"), json.dumps(requests), limits=limits)
        answers: list[dict[str, Any]] = []
        for line in result.stdout.split(b"\n")[:-1]:
            try:
                answer = parse_json(line)
            except ValueError:
                break
            if not isinstance(answer, dict):
                break
            answers.append(answer)
        return answers, result

    def _test_by_assertions(self, problem: Problem, solution: str, code: str) -> Verdict:
        head = json.dumps({"solution": solution, "given": problem.given}).encode()
        rest = json.dumps({"setup": problem.setup, "tests": code, "entry": problem.entry}).encode()
        stdin = len(head).to_bytes(8, "big") + head + rest
        result = self.sandbox.run(harness.program("asserts"), stdin, limits=self.limits)
        try:
            reply = parse_json(result.stdout)
            failures = [hide_addresses(f"{text}: {why}") for text, why in reply["failed"]]
            return Verdict(int(reply["passed"]), int(reply["total"]), tuple(failures), hide_addresses(result.errors))
        except (ValueError, TypeError, KeyError):
            why = describe_end(result, self.limits) or "the tests gave no verdict"
            return Verdict(0, max(1, code.count("assert ")), (why,), hide_addresses(result.errors))


def encode_request(problem: Problem, solution: str, calls: Sequence[Call]) -> dict[str, Any]:
    """Return the request for the `calls` harness."""
    arguments = [encode(list(call.arguments)) for call in calls]
    return {"solution": solution, "given": problem.given, "entry": problem.entry, "calls": arguments}


def failure_text(problem: Problem, call: Call, answer: dict[str, Any]) -> str:
    """Return why the answer to a call is wrong, or an empty string if it is right."""
    head = call.text(problem.entry)
    if "error" in answer:
        return hide_addresses(f"{head} raised {answer['error']}, expected {call.expected!r}")
    try:
        value = decode(answer.get("value"))
        if bool(value == call.expected):
            return ""
        return hide_addresses(f"{head} gave {value!r}, expected {call.expected!r}")
    except (ValueError, RecursionError):
        return f"{head} gave no plain value, expected {call.expected!r}"


def describe_end(result: Result, limits: Limits) -> str:
    """Return a description of how a program ended early."""
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
