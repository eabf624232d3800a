"""Removes what a program left behind, and checks that the sandbox is in the same state as before.

File names must not enter the memory of process 1, where a later program could read them. Code that handles file names
therefore runs in a fork, and the check compares numbers only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import stat
import time
import traceback
from collections.abc import Callable
from typing import Any

from .filter import libc

WRITABLE = ("/tmp", "/dev/shm", "/dev/mqueue")
DELETE_SECONDS = 2.0
FS_IOC_GETFLAGS = 0x80086601
IOPRIO_GET = {"x86_64": 252, "aarch64": 31}
"""Number of the system call that returns the I/O priority."""
RLIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]


def fork() -> int:
    """Fork this process. Waits up to a second for a free process slot.

    The kernel frees the slot of a process only shortly after the process has ended.
    """
    for _ in range(99):
        try:
            return os.fork()
        except BlockingIOError:
            time.sleep(0.01)
    return os.fork()


def run_in_fork(act: Callable[..., None], *args: Any) -> bool:
    """Call a function in a fork, so that it leaves no trace in this process. Return whether it succeeded."""
    pid = fork()
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


def delete_everything() -> None:
    """Delete everything in the writable folders, however deep or protected. Gives up after `DELETE_SECONDS`."""
    until = time.monotonic() + DELETE_SECONDS
    for root in WRITABLE:
        if os.path.isdir(root):
            os.chdir(root)
            number = 0
            while (found := os.listdir(".")) and time.monotonic() < until:
                for name in found:
                    number = _remove(name, number)


def _remove(name: str, number: int) -> int:
    """Remove a file or folder. Inner folders are first moved up, which keeps paths short in deep trees.

    `number` counts the moved folders, to give them unique names.
    """
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


def storage_state() -> list[Any]:
    """Return numbers that describe the content of each writable folder."""
    found: list[Any] = []
    for root in WRITABLE:
        try:
            space, status = os.statvfs(root), os.stat(root)
        except OSError:
            continue
        used = (space.f_files - space.f_ffree, space.f_blocks - space.f_bfree)
        found.append((used, status.st_size, status.st_mode, status.st_nlink, len(os.listxattr(root))))
    return found


def _inode_flags(folder: str) -> bytes:
    """Return the flags that `chattr` sets, or nothing if the file system has none."""
    flags = bytearray(8)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(fd, FS_IOC_GETFLAGS, flags)
    except OSError:
        return b""
    finally:
        os.close(fd)
    return bytes(flags)


def process_state() -> list[Any]:
    """Return attributes of process 1 and of folders that programs could change, and counts of what may remain."""
    found: list[Any] = [resource.getrlimit(limit) for limit in RLIMITS]
    found += [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), sorted(os.sched_getaffinity(0))]
    found += [_inode_flags(root) for root in WRITABLE if os.path.isdir(root)]
    found.append(libc.syscall(IOPRIO_GET.get(os.uname().machine, -1), 1, 0))
    for kind in ("shm", "msg", "sem"):
        found.append(len(_lines(f"/proc/sysvipc/{kind}")))
    for line in _lines("/proc/net/sockstat"):
        if line.startswith("TCP:"):
            # The other numbers of this line count sockets of the whole machine.
            found += [line.split()[i] for i in (2, 6)]
    return found


def _lines(path: str) -> list[str]:
    try:
        with open(path) as file:
            return file.readlines()
    except OSError:
        return []


def measure_state() -> tuple[list[Any], list[Any]]:
    """Return the state that must be the same before and after a program."""
    return storage_state(), process_state()


def clean_up(before: tuple[list[Any], list[Any]]) -> bool:
    """Remove what a program left behind. Return whether the state is the same as `before`."""
    # The program may have removed the file or replaced it by a folder. The comparison below detects leftovers.
    with contextlib.suppress(OSError):
        os.unlink("/tmp/main.py")
    _reset_folders()
    if storage_state() != before[0]:
        run_in_fork(delete_everything)
        # Listing and removing files has changed the times of the folders.
        _reset_folders()
    return measure_state() == before


def _reset_folders() -> None:
    """Reset mode and times of the writable folders."""
    for root in WRITABLE:
        try:
            os.chmod(root, 0o1777)
            os.utime(root, (0, 0))
        except OSError:
            # If this process may not change the folder, the program could not either.
            continue
