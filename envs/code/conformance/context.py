"""Shared parts of the sandbox checks: the backend to check, and helpers to run programs in it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

from ..sandbox.core import MIB, Limits, Result, Sandbox

QUICK = Limits(seconds=20, cpu_seconds=5)
"""Limits for short programs, with a margin for busy machines."""
SMALL = replace(QUICK, memory=96 * MIB, processes=16, disk=8 * MIB)
"""Low limits, for programs that should reach them quickly."""


class CheckFailed(Exception):
    """Raised when a check fails."""


@dataclass(frozen=True)
class Subject:
    """A sandbox backend to check."""

    open: Callable[[], Sandbox]
    """Opens a new sandbox that can run at least 4 programs at the same time."""
    open_source: str
    """Python source that assigns such a sandbox to `sandbox`, for checks that start a new process."""
    kill_worker: Callable[[str], None]
    """Kills one of `Sandbox.open_workers()` from outside, as a failing engine would."""
    list_leftovers: Callable[[], list[str]]
    """Cleans up as opening a sandbox does. Returns the names of what still remains of processes that have ended."""


class CheckContext:
    """An open sandbox, with helpers to run programs in it."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.sandbox = subject.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sandbox.close()

    def run(self, program: str, limits: Limits = QUICK, **options: Any) -> Result:
        """Run a program, after removing the common indentation of its source."""
        return self.sandbox.run(textwrap.dedent(program), limits=limits, **options)

    def expect_output(self, program: str, expected: str, limits: Limits = QUICK, **options: Any) -> Result:
        """Check that a program ends with exit code 0 and prints exactly `expected`."""
        result = self.run(program, limits, **options)
        require(result.exit == 0, f"the program ended with exit code {result.exit}: {result.errors[-300:]}")
        require(result.text.strip() == expected, f"the program printed {result.text[:300]!r}, expected {expected!r}")
        return result

    def check_still_works(self) -> None:
        """Check that the next program runs normally."""
        self.expect_output("print(6 * 7)", "42")


def require(condition: bool, message: str) -> None:
    """Raise `CheckFailed` with a message if the condition is false."""
    if not condition:
        raise CheckFailed(message)
