"""Unique names of processes, to distinguish leftovers of ended processes from sandboxes in use."""

from __future__ import annotations

import os
from pathlib import Path

UNKNOWN = "unknown"
PROC = Path("/proc")


def this_process() -> str:
    """Return a unique name of this process: boot id, PID namespace, process id and start time."""
    started = _start_time(os.getpid())
    return f"{_machine_id()}:{os.getpid()}:{started}" if started is not None else UNKNOWN


def has_ended(owner: str) -> bool:
    """Return whether the process with this name has ended. False if that cannot be determined."""
    machine, _, rest = owner.partition(":")
    pid, _, started = rest.partition(":")
    if owner == UNKNOWN or machine != _machine_id() or not pid.isdigit():
        return False
    return str(_start_time(int(pid))) != started


def _machine_id() -> str:
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip().replace("-", "")
        return f"{boot[:16]}.{os.stat(PROC / 'self/ns/pid').st_ino}"
    except OSError:
        return UNKNOWN


def _start_time(pid: int) -> str | None:
    """Return the start time of a process in clock ticks since boot, or None if it does not exist."""
    try:
        line = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name of the program may contain spaces and parentheses, so fields are counted from the last parenthesis.
    state, *fields = line.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]
