"""A control group for one sandbox, where this process may make one: version 2, or version 1 beside it.

Every function that makes one returns None where it may not: rlimits and the worker's own watch then have to do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from . import owner
from .cell import Shape

ROOT = Path("/sys/fs/cgroup")
SELF = Path("/proc/self/cgroup")
PREFIX = "kintsugi-sandbox."


@dataclass(frozen=True)
class Group:
    """The folders that hold one sandbox, one a controller in version 1, one in all in version 2."""

    folders: tuple[Path, ...]
    oom_file: Path
    """Where the kernel counts what it killed for want of memory."""

    def admit(self, pid: int) -> None:
        """Move a process in; its children follow."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(pid))

    def remove(self) -> None:
        """End what is left inside and remove the folders."""
        for folder in self.folders:
            _remove(folder)


def make(shape: Shape, name: str, root: Path = ROOT, self_file: Path = SELF) -> Group | None:
    """A group with the limits of `shape`, in the group that this process is in."""
    try:
        places = _places(self_file.read_text())
    except OSError:
        return None
    made: list[Path] = []
    try:
        return _make_v2(shape, root, places, name, made) or _make_v1(shape, root, places, name, made)
    except OSError:
        for folder in made:
            _remove(folder)
        return None


def leftovers(root: Path = ROOT) -> list[Path]:
    """Groups of processes that have ended."""
    found = []
    for top, folders, _ in os.walk(root, onerror=None):
        found += [Path(top, each) for each in folders if each.startswith(PREFIX) and _orphaned(each)]
    return found


def clean(root: Path = ROOT) -> list[str]:
    """Remove the groups of processes that have ended; returns their names."""
    removed = []
    for folder in leftovers(root):
        _remove(folder)
        removed.append(folder.name)
    return sorted(set(removed))


def _orphaned(name: str) -> bool:
    return owner.is_gone(name.removeprefix(PREFIX).rpartition(".")[0].replace("_", ":"))


def _places(text: str) -> dict[str, str]:
    """Controller (empty for version 2) to this process's place."""
    places = {}
    for line in text.splitlines():
        _, controllers, place = line.split(":", 2)
        for controller in controllers.split(","):
            places[controller] = place.lstrip("/")
    return places


def _folder(parent: Path, name: str, made: list[Path]) -> Path:
    folder = parent / f"{PREFIX}{owner.this_process().replace(':', '_')}.{name}"
    folder.mkdir()
    made.append(folder)
    return folder


def _make_v2(shape: Shape, root: Path, places: dict[str, str], name: str, made: list[Path]) -> Group | None:
    here = root / places.get("", "")
    # A group that holds processes cannot hand controllers on, so the sandbox goes beside us rather than below.
    for parent in (here, here.parent if here != root else here):
        handed_on = parent / "cgroup.subtree_control"
        if "" in places and handed_on.exists() and {"memory", "pids"} <= set(handed_on.read_text().split()):
            folder = _folder(parent, name, made)
            (folder / "memory.max").write_text(str(shape.memory))
            with contextlib.suppress(OSError):
                (folder / "memory.swap.max").write_text("0")
            (folder / "pids.max").write_text(str(shape.processes + 2))
            with contextlib.suppress(OSError):
                (folder / "cpu.max").write_text(f"{int(shape.cpus * 100_000)} 100000")
            return Group((folder,), folder / "memory.events")
    return None


def _make_v1(shape: Shape, root: Path, places: dict[str, str], name: str, made: list[Path]) -> Group | None:
    if "memory" not in places:
        return None
    memory = _folder(root / "memory" / places["memory"], name, made)
    (memory / "memory.limit_in_bytes").write_text(str(shape.memory))
    with contextlib.suppress(OSError):
        (memory / "memory.memsw.limit_in_bytes").write_text(str(shape.memory))
    if "pids" in places:
        (_folder(root / "pids" / places["pids"], name, made) / "pids.max").write_text(str(shape.processes + 2))
    if "cpu" in places:
        cpu = _folder(root / "cpu" / places["cpu"], name, made)
        (cpu / "cpu.cfs_quota_us").write_text(str(int(shape.cpus * 100_000)))
    return Group(tuple(made), memory / "memory.oom_control")


def _remove(folder: Path) -> None:
    """The kernel removes a group only when it is empty, and empties it a moment after the last process has ended."""
    for _ in range(200):
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            with contextlib.suppress(OSError, ValueError):
                for pid in (folder / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.01)
