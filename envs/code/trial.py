"""One run of the tests of a solution: the two programs, each in a sandbox of its own, and what passes between them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from . import harness
from .guest.link import HEADER_BYTES, MAX_MESSAGE_BYTES
from .guest.tests_peer import MAX_HANGS, MAX_STARTS, MESSAGE, START, VERDICT
from .problem import Problem
from .sandbox import Channel, Limits, Result, Sandbox

ENDED = b"E"
"""Kind of the frame that tells the tests why the solution's process has ended."""
MAX_FRAME_BYTES = MAX_MESSAGE_BYTES + HEADER_BYTES
UNREAD_BYTES = 2 * MAX_MESSAGE_BYTES
"""Bytes that a solution may send before the tests answer. A solution that sends more is stopped."""


class Trial:
    """Runs tests and solution side by side. Each message passes through this process, which does not read it."""

    def __init__(
        self, sandbox: Sandbox, limits: Limits, problem: Problem, solution: str, describe_end: Callable[[Result], str]
    ) -> None:
        self.sandbox = sandbox
        self.limits = limits
        self.request = {"solution": solution, "given": problem.given}
        self.describe_end = describe_end
        self.printed = ""
        """What the solution printed, in all its processes."""
        self.verdict: dict[str, Any] | None = None
        """The last verdict of the tests: `passed`, `total`, `earned` and `failed`, pairs of texts. Or None."""
        self._tests = Channel(self._hear_tests)
        self._heard = bytearray()
        self._started = 0
        self._solution: Channel | None = None
        self._unread = 0
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def run(self, job: dict[str, Any]) -> Result:
        """Run the tests that a job describes. Return the result of their program.

        Raises:
            InfraError: If a sandbox fails.
        """
        # The tests may wait for the solution as often as it may hang, and need time of their own.
        limits = replace(
            self.limits,
            seconds=min(86_400, self.limits.seconds * (MAX_HANGS + 2)),
            cpu_seconds=self.limits.cpu_seconds * 2 + 10,
            # They sleep while the solution works.
            idle_seconds=None,
        )
        self._start_solution()
        try:
            stdin = harness.stdin("tests", job)
            result = self.sandbox.run(harness.PROGRAM, stdin, limits=limits, channel=self._tests, trusted=True)
        finally:
            self._stop_solution()
        if self._failure:
            raise self._failure
        return result

    def _start_solution(self) -> None:
        self._started += 1
        self._unread = 0
        channel = Channel(self._hear_solution)
        self._solution = channel
        self._thread = threading.Thread(target=self._run_solution, args=(channel, self._started), daemon=True)
        self._thread.start()

    def _run_solution(self, channel: Channel, number: int) -> None:
        try:
            stdin = harness.stdin("solution", self.request)
            result = self.sandbox.run(harness.PROGRAM, stdin, limits=self.limits, channel=channel)
        except BaseException as error:
            self._failure = error
            self._tests.stop()
            return
        self.printed += result.errors
        end = [self.describe_end(result), result.timed_out]
        self._tests.send(_frame(ENDED, number, json.dumps(end).encode()))

    def _stop_solution(self) -> None:
        if self._solution and self._thread:
            self._solution.stop()
            self._thread.join()

    def _hear_solution(self, data: bytes) -> None:
        self._unread += len(data)
        if self._unread > UNREAD_BYTES and self._solution:
            self._solution.stop()
        else:
            self._tests.send(_frame(MESSAGE, self._started, data))

    def _hear_tests(self, data: bytes) -> None:
        self._heard += data
        while len(self._heard) >= 1 + HEADER_BYTES:
            size = int.from_bytes(self._heard[1 : 1 + HEADER_BYTES], "big")
            if size > MAX_FRAME_BYTES or self._heard[:1] not in (START, MESSAGE, VERDICT):
                # The tests have written to the channel themselves.
                self.verdict = None
                self._heard.clear()
                self._tests.stop()
                return
            end = 1 + HEADER_BYTES + size
            if len(self._heard) < end:
                return
            kind, body = bytes(self._heard[:1]), bytes(self._heard[1 + HEADER_BYTES : end])
            del self._heard[:end]
            if kind == MESSAGE and self._solution:
                self._unread = 0
                self._solution.send(body)
            elif kind == START and self._started < MAX_STARTS:
                self._stop_solution()
                self._start_solution()
            elif kind == VERDICT:
                self.verdict = _read_verdict(body)


def _read_verdict(body: bytes) -> dict[str, Any] | None:
    """Return the verdict in a frame, or None if it is none. Code of the tests can write such frames, too."""
    try:
        verdict = json.loads(body)
        numbers = {name: verdict[name] for name in ("passed", "total", "earned")}
        failed = [tuple(map(str, pair)) for pair in verdict["failed"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    are_counts = all(type(number) is int for number in numbers.values())
    is_verdict = are_counts and numbers["earned"] >= 0 and 0 <= numbers["passed"] <= numbers["total"]
    return {**numbers, "failed": failed} if is_verdict else None


def _frame(kind: bytes, number: int, body: bytes) -> bytes:
    return kind + number.to_bytes(HEADER_BYTES, "big") + len(body).to_bytes(HEADER_BYTES, "big") + body
