"""The bubblewrap backend: runs each worker in new Linux namespaces, for machines without a Docker engine."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Self

from ....errors import InfraError
from . import cgroup, seccomp
from .core import MIB, Channel, Limits, Result, Unavailable
from .pool import Pool
from .worker_handle import (
    WORKER_ENVIRONMENT,
    Request,
    Resources,
    SocketStream,
    WorkerHandle,
    WorkerLost,
    sandbox_error,
    worker_command,
)

NOBODY = 65534
SYSTEM_FOLDERS = ("/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/share/zoneinfo")
"""Folders of the host that programs can read."""
LINKED = ("/bin", "/lib", "/lib32", "/lib64")
"""Links into `/usr`, or separate folders on some systems."""
ADDRESS_SPACE_MARGIN = 64 * MIB
"""Address space in bytes that an interpreter reserves in addition to the memory that it uses."""
START_SECONDS = 30.0
"""Seconds that a new worker may take until its first message."""


class BubblewrapWorkerHandle(WorkerHandle):
    """The handle of a worker that bubblewrap started in new namespaces."""

    def __init__(
        self, process: subprocess.Popen[bytes], resources: Resources, stream: SocketStream, group: cgroup.Group | None
    ) -> None:
        super().__init__(f"bwrap-{process.pid}", resources, stream)
        self.process = process
        self.group = group

    def discard(self) -> None:
        """Kill bubblewrap, and with it the worker and all other processes in its namespaces. Remove the cgroup."""
        self.process.kill()
        self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()
        if self.group:
            self.group.remove()


class BubblewrapSandbox:
    """A pool of workers in bubblewrap namespaces.

    The user, PID, mount, network, IPC, UTS and cgroup namespaces are all new. The host's system folders are mounted
    read-only. A cgroup limits memory and processes if this process may create one. Otherwise, rlimits and the worker's
    memory checks limit them. If this process is root, the workers run as `nobody`.
    """

    name = "bubblewrap"

    def __init__(self, *, size: int | None = None, warm: int = 1, cgroups: bool = True) -> None:
        """Start the pool.

        Args:
            size: Maximum number of workers, and of further workers for trusted programs. None means one per CPU core,
                at least 2.
            warm: Number of workers to start now, at least 1, for programs with the default limits.
            cgroups: Whether to use cgroups if possible.

        Raises:
            Unavailable: If bubblewrap is missing or may not create namespaces.
        """
        self.cgroups = cgroups
        self.executable = find_executable()
        self.python = find_python()
        cgroup.clean()
        # `--die-with-parent` ends a worker when the thread that started it ends, so one thread starts all of them.
        self._starter = concurrent.futures.ThreadPoolExecutor(1, "kintsugi-bubblewrap")
        self._number = itertools.count()
        size = size or max(2, os.cpu_count() or 1)
        self._pool, self._trusted = Pool(self._launch, size), Pool(self._launch, size)
        try:
            self._pool.prewarm(Resources.of(Limits()), max(1, warm))
        except InfraError as error:
            self.close()
            raise Unavailable(
                f"bubblewrap cannot create namespaces ({error}); allow unprivileged user namespaces, or start a Docker "
                "engine and choose the backend 'docker'"
            ) from None

    def run(
        self,
        program: str | bytes,
        stdin: str | bytes = b"",
        files: Mapping[str, str | bytes] | None = None,
        limits: Limits | None = None,
        *,
        return_files: Sequence[str] = (),
        channel: Channel | None = None,
        trusted: bool = False,
    ) -> Result:
        """See `Sandbox.run`."""
        request = Request.of(program, stdin, files, limits, return_files, channel)
        with (self._trusted if trusted else self._pool).worker(Resources.of(request.limits)) as worker:
            try:
                return worker.run(request)
            except WorkerLost as lost:
                if lost.unresponsive:
                    return Result(b"", b"the sandbox was ended together with the program\n", -9, timed_out=True)
                raise sandbox_error("the connection to the sandbox was lost", worker.name) from None

    def open_workers(self) -> list[str]:
        """See `Sandbox.open_workers`. The names contain the process ids."""
        return [worker.name for pool in (self._pool, self._trusted) for worker in pool.workers()]

    def close(self) -> None:
        """See `Sandbox.close`."""
        self._pool.close()
        self._trusted.close()
        self._starter.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def command(self, config: Mapping[str, Any]) -> list[str]:
        """Return the command that starts a worker with this configuration."""
        return worker_command(self.python, config)

    def _launch(self, resources: Resources) -> WorkerHandle:
        group = cgroup.make(resources, str(next(self._number))) if self.cgroups else None
        ours, theirs = socket.socketpair()
        worker: BubblewrapWorkerHandle | None = None
        try:
            with theirs:
                process, child = self._starter.submit(self._spawn, resources, theirs, group).result()
            worker = BubblewrapWorkerHandle(process, resources, SocketStream(ours), group)
            if group:
                group.add(child)
            worker.wait_for_hello(START_SECONDS)
        except (OSError, WorkerLost, ValueError) as error:
            why: object = error
            if worker:
                worker.process.kill()
                stderr = worker.process.stderr.read() if worker.process.stderr else b""
                why = stderr.decode("utf-8", "replace").strip() or error
                worker.close()
            elif group:
                group.remove()
            raise InfraError(f"a bubblewrap sandbox could not be started: {why}") from None
        return worker

    def _spawn(
        self, resources: Resources, channel: socket.socket, group: cgroup.Group | None
    ) -> tuple[subprocess.Popen[bytes], int]:
        """Start bubblewrap. Return its process, and the worker's process id in this process's PID namespace."""
        status, to_status = os.pipe()
        filter_, to_filter = os.pipe()
        with contextlib.ExitStack() as stack:
            for fd in (to_status, filter_):
                stack.callback(os.close, fd)
            with open(to_filter, "wb") as file:
                file.write(seccomp.make_filter() or b"")
            arguments = [
                self.executable,
                *("--json-status-fd", str(to_status)),
                *(("--seccomp", str(filter_)) if seccomp.make_filter() else ()),
                *bwrap_arguments(resources, group, self.python),
                *self.command(_worker_config(resources, group)),
            ]
            root = os.geteuid() == 0
            process = subprocess.Popen(
                arguments,
                stdin=channel.fileno(),
                stdout=channel.fileno(),
                stderr=subprocess.PIPE,
                cwd="/",
                env={},
                pass_fds=(to_status, filter_),
                user=NOBODY if root else None,
                group=NOBODY if root else None,
                extra_groups=[] if root else None,
            )
        with open(status) as file:
            line = file.readline()
        if not line:
            stderr = process.communicate()[1].decode("utf-8", "replace").strip()
            raise OSError(stderr or f"{self.executable} ended with exit code {process.returncode}")
        return process, json.loads(line)["child-pid"]


def find_executable() -> str:
    """Return the path of the program `bwrap`. Raises `Unavailable` if it is not installed."""
    found = shutil.which("bwrap")
    if not found:
        raise Unavailable("bubblewrap is not installed; install the package 'bubblewrap', which provides bwrap")
    return found


def find_python() -> str:
    """Return the path of the system's Python, or of the running Python if the system has none."""
    system = "/usr/bin/python3"
    return system if os.path.exists(system) else os.path.realpath(sys.executable)


def bwrap_arguments(resources: Resources, group: cgroup.Group | None, python: str) -> list[str]:
    """Return the arguments of bubblewrap, except file descriptors and the command to run."""
    arguments = [
        "--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv",
        "--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "sandbox", "--cap-drop", "ALL",
    ]  # fmt: skip
    if not python.startswith("/usr/bin/"):
        arguments += ["--ro-bind", sys.base_prefix, sys.base_prefix]
    for path in SYSTEM_FOLDERS:
        arguments += ["--ro-bind-try", path, path]
    for path in LINKED:
        if os.path.islink(path):
            arguments += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            arguments += ["--ro-bind", path, path]
    arguments += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", "--proc", "/proc", "--dev", "/dev"]
    for path in ("/tmp", "/dev/shm"):
        arguments += ["--perms", "1777", "--size", str(resources.disk), "--tmpfs", path]
    arguments += ["--mqueue", "/dev/mqueue"]
    if group:
        arguments += ["--ro-bind", str(group.oom_file), "/run/oom"]
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]
    for name, value in WORKER_ENVIRONMENT.items():
        arguments += ["--setenv", name, value]
    return arguments


def _worker_config(resources: Resources, group: cgroup.Group | None) -> Mapping[str, Any]:
    rlimits = {"RLIMIT_NOFILE": 256, "RLIMIT_FSIZE": resources.disk, "RLIMIT_NPROC": resources.processes + 2}
    if group is None:
        rlimits["RLIMIT_AS"] = resources.memory + ADDRESS_SPACE_MARGIN
    return {"rlimits": rlimits, "watched_memory": 0 if group else resources.memory}
