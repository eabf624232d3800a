"""Runs a solution's tests in a sandbox; what is expected of calls never enters it."""

from __future__ import annotations

import functools
import json
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import harness
from .guest.values import decode, encode, loads
from .problem import Call, Problem
from .sandbox import Limits, Result, Sandbox

HANGS = 2
"""After so many calls that took too long, those that are left count as failed without being run."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]{6,}")


@dataclass(frozen=True)
class Verdict:
    """How tests went."""

    passed: int
    total: int
    failures: tuple[str, ...] = ()
    """What went wrong, a line or so each."""
    printed: str = ""
    """What the solution printed meanwhile."""

    @property
    def score(self) -> float:
        """Share of the tests that passed."""
        return self.passed / self.total if self.total else 0.0


class Judge:
    """Runs solutions in one sandbox with one set of limits."""

    def __init__(self, sandbox: Sandbox, limits: Limits) -> None:
        self.sandbox = sandbox
        self.limits = limits

    def load(self, problem: Problem, solution: str) -> str:
        """What is wrong with a solution before it is called; empty when nothing is."""
        answers, result = self._calls([request_of(problem, solution, [])])
        if not answers:
            return ended(result, self.limits) or "nothing could be loaded"
        return str(answers[0].get("error", ""))

    def visible(self, problem: Problem, solution: str) -> Verdict:
        """Run the tests that the agent may see."""
        return self._judge(problem, solution, problem.visible, problem.visible_code)

    def hidden(self, problem: Problem, solution: str) -> Verdict:
        """Run the tests that score."""
        return self._judge(problem, solution, problem.hidden, problem.hidden_code)

    def golds(self, problems: Sequence[Problem]) -> list[bool]:
        """Whether the solutions of problems that are tested by calls pass all their tests, all run in one program."""
        requests = [request_of(each, each.solution, [*each.visible, *each.hidden]) for each in problems]
        answers, _ = self._calls(requests)
        passed, at = [], 0
        for each in problems:
            calls = [*each.visible, *each.hidden]
            got = answers[at : at + 1 + len(calls)]
            loaded = len(got) == 1 + len(calls) and "loaded" in got[0]
            passed.append(loaded and not any(map(functools.partial(wrong, each), calls, got[1:])))
            at += 1 + len(calls) if got and "loaded" in got[0] else 1
        return passed

    def snippet(self, problem: Problem, solution: str, code: str) -> Result:
        """Run code of the agent's own after its solution."""
        request = json.dumps({"solution": solution, "given": problem.given, "code": code})
        return self.sandbox.run(harness.program("snippet"), request, limits=self.limits)

    def _judge(self, problem: Problem, solution: str, calls: Sequence[Call], code: str) -> Verdict:
        if code:
            return self._by_code(problem, solution, code)
        return self._by_calls(problem, solution, calls)

    def _by_calls(self, problem: Problem, solution: str, calls: Sequence[Call]) -> Verdict:
        failures: list[str] = []
        printed, done, hung = "", 0, 0
        while done < len(calls) and hung < HANGS:
            answers, result = self._calls([request_of(problem, solution, calls[done:])])
            printed += result.errors
            if not answers or "error" in answers[0]:
                why = answers[0]["error"] if answers else ended(result, self.limits)
                return Verdict(0, len(calls), (str(why),), plain(printed))
            got = answers[1 : len(calls) - done + 1]
            failures += [
                text for call, one in zip(calls[done:], got, strict=False) if (text := wrong(problem, call, one))
            ]
            done += len(got)
            if done < len(calls):
                failures.append(f"{calls[done].text(problem.entry)} {ended(result, self.limits)}")
                done += 1
                hung += result.timed_out
        failures += [f"{call.text(problem.entry)} was not run" for call in calls[done:]]
        return Verdict(len(calls) - len(failures), len(calls), tuple(failures), plain(printed))

    def _calls(self, requests: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Result]:
        """The answers that could be read; of each request, the one to loading first."""
        limits = replace(self.limits, output=self.limits.output * len(requests))
        result = self.sandbox.run(harness.program("calls"), json.dumps(requests), limits=limits)
        answers: list[dict[str, Any]] = []
        for line in result.stdout.split(b"\n")[:-1]:
            try:
                answer = loads(line)
            except ValueError:
                break
            if not isinstance(answer, dict):
                break
            answers.append(answer)
        return answers, result

    def _by_code(self, problem: Problem, solution: str, code: str) -> Verdict:
        head = json.dumps({"solution": solution, "given": problem.given}).encode()
        rest = json.dumps({"setup": problem.setup, "tests": code, "entry": problem.entry}).encode()
        stdin = len(head).to_bytes(8, "big") + head + rest
        result = self.sandbox.run(harness.program("asserts"), stdin, limits=self.limits)
        try:
            said = loads(result.stdout)
            failures = [plain(f"{text}: {why}") for text, why in said["failed"]]
            return Verdict(int(said["passed"]), int(said["total"]), tuple(failures), plain(result.errors))
        except (ValueError, TypeError, KeyError):
            why = ended(result, self.limits) or "the tests gave no verdict"
            return Verdict(0, max(1, code.count("assert ")), (why,), plain(result.errors))


def request_of(problem: Problem, solution: str, calls: Sequence[Call]) -> dict[str, Any]:
    """What the harness for calls reads."""
    arguments = [encode(list(call.arguments)) for call in calls]
    return {"solution": solution, "given": problem.given, "entry": problem.entry, "calls": arguments}


def wrong(problem: Problem, call: Call, answer: dict[str, Any]) -> str:
    """What is wrong with the answer to a call; empty when it is right."""
    head = call.text(problem.entry)
    if "error" in answer:
        return plain(f"{head} raised {answer['error']}, expected {call.expected!r}")
    try:
        value = decode(answer.get("value"))
        if bool(value == call.expected):
            return ""
        return plain(f"{head} gave {value!r}, expected {call.expected!r}")
    except (ValueError, RecursionError):
        return f"{head} gave no plain value, expected {call.expected!r}"


def ended(result: Result, limits: Limits) -> str:
    """How a program ended that did not end well, in words; empty when it did."""
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
    """E.g. `SIGSEGV`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def plain(text: str) -> str:
    """Without addresses, which differ from run to run."""
    return _ADDRESS.sub(" at 0x...", text)
