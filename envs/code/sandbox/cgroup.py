"""Control groups (version 2 or 1), each of which limits one worker.

`make` returns None if this process cannot create a group. Rlimits and the worker's memory checks then take its place.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from . import owner
from .worker_handle import Resources

ROOT = Path("/sys/fs/cgroup")
SELF = Path("/proc/self/cgroup")
PREFIX = "kintsugi-sandbox."


@dataclass(frozen=True)
class Group:
    """The control group of one worker: one folder per controller in version 1, one folder in version 2."""

    folders: tuple[Path, ...]
    oom_file: Path
    """File in which the kernel counts the processes that it killed because of the memory limit."""

    def add(self, pid: int) -> None:
        """Move a process into the group. Its later children belong to the group, too."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(pid))

    def oom_kills(self) -> int:
        """Return how many of its processes the kernel has killed because of the memory limit, or 0 if unknown."""
        with contextlib.suppress(OSError):
            for line in self.oom_file.read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        return 0

    def remove(self) -> None:
        """Kill the remaining processes and remove the folders."""
        for folder in self.folders:
            _remove(folder)


def make(resources: Resources, name: str, root: Path = ROOT, self_file: Path = SELF) -> Group | None:
    """Create a group with the limits of `resources`, next to or below this process's group; None on failure."""
    try:
        own_paths = _own_paths(self_file.read_text())
    except OSError:
        return None
    made: list[Path] = []
    try:
        return _make_v2(resources, root, own_paths, name, made) or _make_v1(resources, root, own_paths, name, made)
    except OSError:
        for folder in made:
            _remove(folder)
        return None


def leftovers(root: Path = ROOT) -> list[Path]:
    """Return the folders of groups whose owner process has ended."""
    found = []
    for top, folders, _ in os.walk(root, onerror=None):
        found += [Path(top, each) for each in folders if each.startswith(PREFIX) and _is_orphaned(each)]
    return found


def clean(root: Path = ROOT) -> list[str]:
    """Remove the folders of groups whose owner process has ended. Return the names of these folders."""
    removed = []
    for folder in leftovers(root):
        _remove(folder)
        removed.append(folder.name)
    return sorted(set(removed))


def _is_orphaned(name: str) -> bool:
    return owner.has_ended(name.removeprefix(PREFIX).rpartition(".")[0].replace("_", ":"))


def _own_paths(text: str) -> dict[str, str]:
    """Return the path of this process's group for each controller. The key for version 2 is the empty string."""
    own_paths = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            own_paths[controller] = path.lstrip("/")
    return own_paths


def _make_folder(parent: Path, name: str, made: list[Path]) -> Path:
    folder = parent / f"{PREFIX}{owner.this_process().replace(':', '_')}.{name}"
    folder.mkdir()
    made.append(folder)
    return folder


def _make_v2(resources: Resources, root: Path, own_paths: dict[str, str], name: str, made: list[Path]) -> Group | None:
    here = root / own_paths.get("", "")
    # A group that holds processes cannot delegate controllers, so the parent of this process's group is tried, too.
    for parent in (here, here.parent if here != root else here):
        delegated = parent / "cgroup.subtree_control"
        if "" in own_paths and delegated.exists() and {"memory", "pids"} <= set(delegated.read_text().split()):
            folder = _make_folder(parent, name, made)
            (folder / "memory.max").write_text(str(resources.memory))
            with contextlib.suppress(OSError):
                (folder / "memory.swap.max").write_text("0")
            (folder / "pids.max").write_text(str(resources.processes + 2))
            with contextlib.suppress(OSError):
                (folder / "cpu.max").write_text(f"{_cpu_quota(resources)} 100000")
            return Group((folder,), folder / "memory.events")
    return None


def _make_v1(resources: Resources, root: Path, own_paths: dict[str, str], name: str, made: list[Path]) -> Group | None:
    if "memory" not in own_paths:
        return None
    memory = _make_folder(root / "memory" / own_paths["memory"], name, made)
    (memory / "memory.limit_in_bytes").write_text(str(resources.memory))
    with contextlib.suppress(OSError):
        (memory / "memory.memsw.limit_in_bytes").write_text(str(resources.memory))
    if "pids" in own_paths:
        (_make_folder(root / "pids" / own_paths["pids"], name, made) / "pids.max").write_text(
            str(resources.processes + 2)
        )
    if "cpu" in own_paths:
        cpu = _make_folder(root / "cpu" / own_paths["cpu"], name, made)
        (cpu / "cpu.cfs_quota_us").write_text(str(_cpu_quota(resources)))
    return Group(tuple(made), memory / "memory.oom_control")


def _cpu_quota(resources: Resources) -> int:
    """Return the microseconds of CPU time in each 0.1 s. The kernel refuses numbers that are too large."""
    return round(min(resources.cpus, os.cpu_count() or 1) * 100_000)


def _remove(folder: Path) -> None:
    """Kill the processes of a group and remove its folder.

    Retries for about 2 seconds, because the kernel empties a group only shortly after its last process has ended.
    """
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
