"""`check_sandbox`: what every sandbox must keep to, as checks that the author of a back end can run.

All checks run; the one error at the end names every one that failed and says what was found. What a check demands is
its docstring.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection

from .....errors import UsageError
from . import basics, frozen, isolation, leftovers, limits, paths, recovery
from .bench import Bench, Failed, Subject

__all__ = ["CHECKS", "Bench", "Failed", "SandboxCheckError", "Subject", "check_sandbox", "run_check"]

Check = Callable[[Bench], None]


def _checks() -> dict[str, Check]:
    found: dict[str, Check] = {}
    for module in (basics, limits, isolation, leftovers, paths, frozen, recovery):
        for name, check in vars(module).items():
            if inspect.isfunction(check) and check.__module__ == module.__name__ and not name.startswith("_"):
                found[name] = check
    return found


CHECKS: dict[str, Check] = _checks()
"""Every check by its name, in the order in which they run."""


class SandboxCheckError(UsageError):
    """A sandbox breaks the contract."""

    def __init__(self, name: str, failures: dict[str, str], checks: int) -> None:
        self.failures = failures
        """What each failed check said, by the check's name."""
        lines = "".join(f"\n  {check}: {text}" for check, text in failures.items())
        super().__init__(f"the sandbox {name!r} fails {len(failures)} of {checks} checks:{lines}")


def check_sandbox(subject: Subject, *, known: Collection[str] = ()) -> int:
    """Run every check but those in `known`, which the author says it fails; returns how many passed.

    Raises one `SandboxCheckError` that lists those that fail, and `UsageError` for a `known` that is no check.
    """
    for name in set(known) - CHECKS.keys():
        raise UsageError(f"there is no sandbox check {name!r}; the checks are {', '.join(CHECKS)}")
    chosen = [name for name in CHECKS if name not in known]
    failures = {}
    with Bench(subject) as bench:
        for name in chosen:
            if text := run_check(bench, name):
                failures[name] = text
        backend = bench.sandbox.name
    if failures:
        raise SandboxCheckError(backend, failures, len(chosen))
    return len(chosen)


def run_check(bench: Bench, name: str) -> str:
    """What one check found wrong; empty when it passed."""
    check = CHECKS[name]
    lesson = " ".join((check.__doc__ or "").split())
    try:
        check(bench)
    except Failed as failed:
        return f"{failed}. {lesson}"
    except Exception as error:
        return f"{type(error).__name__} was raised ({error}). {lesson}"
    return ""
