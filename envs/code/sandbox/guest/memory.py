"""Counts the memory of programs where no cgroup does it. It reads what the kernel says of processes and folders.

What cannot be counted from outside a process is refused by a filter: memory files, System V memory and shared mappings
without a file (`seccomp.make_memory_filter`).
"""

from __future__ import annotations

import os
import resource

FOLDERS = ("/tmp", "/dev/shm")
PAGE = resource.getpagesize()
INODE_BYTES = 1024
"""Kernel memory of one file in a writable folder, at most."""
SOCKET_BYTES = 416 * 1024
"""The most that one socket holds for its receivers, with the kernel's usual limits. TCP is counted separately."""


def exceeds(limit: int) -> bool:
    """Return whether the programs use more than `limit` bytes of RAM, their files included.

    Pages that processes share count once. That takes a while to find out, so it is only done where the memory of the
    processes, added up, is above the limit.
    """
    elsewhere = _file_bytes() + _socket_bytes()
    pids = [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]
    own = _private_bytes("1")
    if elsewhere + sum(map(_private_bytes, pids)) <= limit:
        return False
    return elsewhere + sum(_share_bytes(pid, own) for pid in pids) > limit


def _file_bytes() -> int:
    used = 0
    for folder in FOLDERS:
        space = os.statvfs(folder)
        used += (space.f_blocks - space.f_bfree) * space.f_frsize + (space.f_files - space.f_ffree) * INODE_BYTES
    return used


def _socket_bytes() -> int:
    """Return how much the sockets of this network namespace may hold."""
    try:
        with open("/proc/net/sockstat") as file:
            words = file.read().split()
        # The first line counts all sockets, and the next one has the number of TCP sockets: "TCP: inuse N".
        sockets, tcp = int(words[2]), int(words[words.index("TCP:") + 2])
        return sockets * SOCKET_BYTES + (_queued_bytes() if tcp else 0)
    except (OSError, ValueError, IndexError):
        return 0


def _queued_bytes() -> int:
    queued = 0
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(name):
            with open(name) as file:
                for line in file.readlines()[1:]:
                    queued += sum(int(part, 16) for part in line.split()[4].split(":"))
    return queued


def _private_bytes(pid: str) -> int:
    """Return the bytes of a process that do not belong to files, shared with its forks or not."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            _, held, shared, *_ = file.read().split()
        return (int(held) - int(shared)) * PAGE
    except (OSError, ValueError):
        return 0


def _share_bytes(pid: str, own: int) -> int:
    """Return the bytes of a process, where a page of several processes is divided among them.

    A process that forbids to look at it counts in full, without the pages of the worker, of which it may be a fork.
    """
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Pss_Anon:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return max(0, _private_bytes(pid) - own)
