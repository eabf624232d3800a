"""`check_sandbox`: conformance checks that authors of sandbox backends can run.

All checks run, and one error at the end lists all failures. The docstring of a check states the requirement.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection

from ....errors import UsageError
from . import answers, attacks, basics, channels, forgery, frozen, isolation, leftovers, limits, paths, recovery
from .context import CheckContext, CheckFailed, Subject

__all__ = ["CHECKS", "CheckContext", "CheckFailed", "SandboxCheckError", "Subject", "check_sandbox", "run_check"]

Check = Callable[[CheckContext], None]


def _checks() -> dict[str, Check]:
    found: dict[str, Check] = {}
    for module in (basics, channels, limits, isolation, attacks, leftovers, paths, frozen, forgery, answers, recovery):
        for name, check in vars(module).items():
            if inspect.isfunction(check) and check.__module__ == module.__name__ and not name.startswith("_"):
                found[name] = check
    return found


CHECKS: dict[str, Check] = _checks()
"""All checks by name, in the order in which they run."""


class SandboxCheckError(UsageError):
    """Raised when a sandbox fails checks."""

    def __init__(self, name: str, failures: dict[str, str], checks: int) -> None:
        self.failures = failures
        """Messages of the failed checks, by the check's name."""
        lines = "".join(f"\n  {check}: {text}" for check, text in failures.items())
        super().__init__(f"the sandbox {name!r} fails {len(failures)} of {checks} checks:{lines}")


def check_sandbox(subject: Subject, *, known: Collection[str] = ()) -> int:
    """Run all checks on a sandbox backend.

    Args:
        subject: The backend to check.
        known: Names of checks to skip, because they are known to fail.

    Returns:
        The number of checks that passed.

    Raises:
        SandboxCheckError: If any check fails. The error lists all failures.
        UsageError: If a name in `known` is not a check.
    """
    for name in set(known) - CHECKS.keys():
        raise UsageError(f"unknown sandbox check {name!r}; expected one of {', '.join(CHECKS)}")
    chosen = [name for name in CHECKS if name not in known]
    failures = {}
    with CheckContext(subject) as context:
        for name in chosen:
            if text := run_check(context, name):
                failures[name] = text
        backend = context.sandbox.name
    if failures:
        raise SandboxCheckError(backend, failures, len(chosen))
    return len(chosen)


def run_check(context: CheckContext, name: str) -> str:
    """Run one check. Return its failure message, or an empty string if it passed."""
    check = CHECKS[name]
    demand = " ".join((check.__doc__ or "").split())
    try:
        check(context)
    except CheckFailed as failed:
        return f"{failed}. {demand}"
    except Exception as error:
        return f"{type(error).__name__} was raised ({error}). {demand}"
    return ""
