"""What the checks of sandboxes share: the sandbox under check, and how to ask it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

from ..core import MIB, Limits, Result, Sandbox

QUICK = Limits(seconds=20, cpu_seconds=5)
"""For programs that are done in no time, on a machine that may be busy."""
SMALL = replace(QUICK, memory=96 * MIB, processes=16, disk=8 * MIB)
"""For programs that run into limits, so that they get there soon."""


class Failed(Exception):
    """What a check found."""


@dataclass(frozen=True)
class Subject:
    """A back end under check."""

    open: Callable[[], Sandbox]
    """Opens a new sandbox with room for at least 4 programs at a time."""
    opener: str
    """Python source that binds such a sandbox to `sandbox`, for checks that need a process of their own."""
    sabotage: Callable[[str], None]
    """Ends one of `Sandbox.holdings()` from outside, as an engine that dies would."""
    left_behind: Callable[[], list[str]]
    """Clean up as at the start of the next run, then name what is still there of sandboxes whose process is gone."""


class Bench:
    """One open sandbox and short ways to use it."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.sandbox = subject.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sandbox.close()

    def run(self, program: str, limits: Limits = QUICK, **options: Any) -> Result:
        """Run a program, written as an indented string."""
        return self.sandbox.run(textwrap.dedent(program), limits=limits, **options)

    def says(self, program: str, expected: str, limits: Limits = QUICK, **options: Any) -> Result:
        """Run a program that must end well and print exactly `expected`."""
        result = self.run(program, limits, **options)
        require(result.exit == 0, f"the program ended with {result.exit}: {result.errors[-300:]}")
        require(result.text.strip() == expected, f"the program printed {result.text[:300]!r}, expected {expected!r}")
        return result

    def still_works(self) -> None:
        """The next program must not notice what was before."""
        self.says("print(6 * 7)", "42")


def require(fine: bool, found: str) -> None:
    """Raise `Failed` with what was found."""
    if not fine:
        raise Failed(found)
