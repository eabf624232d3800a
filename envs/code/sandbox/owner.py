"""Whose a sandbox is, so that what a killed process left can be told from what a living one uses."""

from __future__ import annotations

import os
from pathlib import Path

UNKNOWN = "unknown"
PROC = Path("/proc")


def this_process() -> str:
    """Machine boot, PID namespace, process id and start time: no other process is ever called the same."""
    started = _started(os.getpid())
    return f"{_machine()}:{os.getpid()}:{started}" if started is not None else UNKNOWN


def is_gone(owner: str) -> bool:
    """Whether the process of that name has ended; False where that cannot be told from here."""
    machine, _, rest = owner.partition(":")
    pid, _, started = rest.partition(":")
    if owner == UNKNOWN or machine != _machine() or not pid.isdigit():
        return False
    return str(_started(int(pid))) != started


def _machine() -> str:
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip().replace("-", "")
        return f"{boot[:16]}.{os.stat(PROC / 'self/ns/pid').st_ino}"
    except OSError:
        return UNKNOWN


def _started(pid: int) -> str | None:
    """Ticks since boot when the process began; None when there is no such process."""
    try:
        about = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name of the program may hold spaces and brackets; what follows the last bracket does not.
    state, *fields = about.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]
