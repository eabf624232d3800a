"""Leaving nothing: what a program wrote is removed, and whether all is as before is measured in numbers.

Names of files never enter the memory of process 1, from where a later program could read them: what has names to handle
is done in a fork.
"""

from __future__ import annotations

import contextlib
import os
import resource
import stat
import time
import traceback
from collections.abc import Callable
from typing import Any

WRITABLE = ("/tmp", "/dev/shm", "/dev/mqueue")
SWEEP_SECONDS = 2.0
RLIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]


def in_fork(act: Callable[..., None], *args: Any) -> bool:
    """Do something that must leave no trace in this process; whether it went well."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            act(*args)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


def sweep() -> None:
    """Remove all that programs can have written, however deep or protected; gives up after `SWEEP_SECONDS`."""
    until = time.monotonic() + SWEEP_SECONDS
    for root in WRITABLE:
        if os.path.isdir(root):
            os.chdir(root)
            number = 0
            while (found := os.listdir(".")) and time.monotonic() < until:
                for name in found:
                    number = _remove(name, number)


def _remove(name: str, number: int) -> int:
    """Remove a file; of a folder, lift what is inside first, which keeps paths short however deep the tree."""
    if not stat.S_ISDIR(os.lstat(name).st_mode):
        os.unlink(name)
        return number
    os.chmod(name, 0o700)
    for inner in os.listdir(name):
        path = os.path.join(name, inner)
        if stat.S_ISDIR(os.lstat(path).st_mode):
            os.chmod(path, 0o700)
            number += 1
            os.rename(path, f".swept-{os.getpid()}-{number}")
        else:
            os.unlink(path)
    os.rmdir(name)
    return number


def room() -> list[Any]:
    """What each writable place holds."""
    found: list[Any] = []
    for root in WRITABLE:
        try:
            space, about = os.statvfs(root), os.stat(root)
        except OSError:
            continue
        used = (space.f_files - space.f_ffree, space.f_blocks - space.f_bfree)
        found.append((used, about.st_size, about.st_mode, about.st_nlink, len(os.listxattr(root))))
    return found


def standing() -> list[Any]:
    """What programs can change about process 1, and what outlives them without being a file."""
    found: list[Any] = [resource.getrlimit(limit) for limit in RLIMITS]
    found += [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), sorted(os.sched_getaffinity(0))]
    for kind in ("shm", "msg", "sem"):
        found.append(len(_lines(f"/proc/sysvipc/{kind}")))
    for line in _lines("/proc/net/sockstat"):
        if line.startswith("TCP:"):
            # The other numbers of this line are the machine's, not the sandbox's.
            found += [line.split()[i] for i in (2, 6)]
    return found


def _lines(path: str) -> list[str]:
    try:
        with open(path) as file:
            return file.readlines()
    except OSError:
        return []


def measure() -> tuple[list[Any], list[Any]]:
    """All that must be as it was before."""
    return room(), standing()


def clean_up(before: tuple[list[Any], list[Any]]) -> bool:
    """Remove what is left of a program; whether all is as it was `before`."""
    # The program may have removed it, or made it a folder; what counts is what is measured below.
    with contextlib.suppress(OSError):
        os.unlink("/tmp/main.py")
    for root in WRITABLE:
        try:
            os.chmod(root, 0o1777)
            os.utime(root, (0, 0))
        except OSError:
            # Not ours to change, so not the program's either.
            continue
    if room() != before[0]:
        in_fork(sweep)
    return measure() == before
