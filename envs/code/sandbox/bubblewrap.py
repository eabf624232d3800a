"""The bubblewrap backend: runs each worker in new Linux namespaces, for machines without a Docker engine."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Self, TextIO

from ....errors import InfraError
from . import cgroup, user_ids
from .core import MIB, Channel, Limits, Result, Unavailable
from .pool import Pool
from .worker_handle import (
    ENDED_TOGETHER,
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
END_SECONDS = 5.0
"""Seconds that bubblewrap may take to report the end of its worker."""


class BubblewrapWorkerHandle(WorkerHandle):
    """The handle of a worker that bubblewrap started in new namespaces."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        status: TextIO,
        resources: Resources,
        stream: SocketStream,
        group: cgroup.Group | None,
    ) -> None:
        super().__init__(f"bwrap-{process.pid}", resources, stream)
        self.process = process
        self.status = status
        """What bubblewrap reports of the worker."""
        self.group = group

    def exit_code(self) -> int | None:
        """Return the exit code of a worker that has ended. None if bubblewrap was killed before it could report it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_SECONDS)
            for line in self.status:
                with contextlib.suppress(ValueError, KeyError):
                    return int(json.loads(line)["exit-code"])
        return None

    def discard(self) -> None:
        """Kill bubblewrap, and with it the worker and all other processes in its namespaces. Remove the cgroup."""
        self.process.kill()
        self.process.wait()
        self.status.close()
        if self.process.stderr:
            self.process.stderr.close()
        if self.group:
            self.group.remove()


class BubblewrapSandbox:
    """A pool of workers in bubblewrap namespaces.

    The user, PID, mount, network, IPC, UTS and cgroup namespaces are all new. The host's system folders are mounted
    read-only. A cgroup limits memory and processes if this process may create one. Otherwise, rlimits and the worker's
    memory checks limit them, and programs get no memory that cannot be counted. If this process is root, each worker
    has a user id of its own. Otherwise, all have the one of this process. Inside, it is always that of `nobody`.
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
                return _classify_loss(worker, lost)

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
                process, status, child = self._starter.submit(self._spawn, resources, theirs, group).result()
            worker = BubblewrapWorkerHandle(process, status, resources, SocketStream(ours), group)
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
    ) -> tuple[subprocess.Popen[bytes], TextIO, int]:
        """Start bubblewrap. Return its process, its reports, and the worker's process id in this PID namespace."""
        status, to_status = os.pipe()
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, to_status)
            arguments = [
                self.executable,
                *("--json-status-fd", str(to_status)),
                *bwrap_arguments(resources, group, self.python),
                *self.command(_worker_config(resources, group)),
            ]
            # The program must not share a user with other programs, since the kernel has limits for each user.
            user = user_ids.choose_id(user_ids.is_mapped()) if os.geteuid() == 0 else None
            process = subprocess.Popen(
                arguments,
                stdin=channel.fileno(),
                stdout=channel.fileno(),
                stderr=subprocess.PIPE,
                cwd="/",
                env={},
                pass_fds=(to_status,),
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
        reports = open(status)  # noqa: SIM115
        line = reports.readline()
        if not line:
            reports.close()
            stderr = process.communicate()[1].decode("utf-8", "replace").strip()
            raise OSError(stderr or f"{self.executable} ended with exit code {process.returncode}")
        return process, reports, json.loads(line)["child-pid"]


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
    # The owner of the namespaces, which the program is, could change their settings for the next program.
    arguments += ["--ro-bind", "/proc/sys", "/proc/sys"]
    for path in ("/tmp", "/dev/shm"):
        arguments += ["--perms", "1777", "--size", str(resources.disk), "--tmpfs", path]
    arguments += ["--mqueue", "/dev/mqueue"]
    if group:
        arguments += ["--ro-bind", str(group.oom_file), "/run/oom"]
    else:
        # Mappings of this device are shared memory that cannot be counted. Bound this way, it cannot be opened.
        arguments += ["--ro-bind", "/dev/null", "/dev/zero"]
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]
    for name, value in WORKER_ENVIRONMENT.items():
        arguments += ["--setenv", name, value]
    return arguments


def _classify_loss(worker: WorkerHandle, lost: WorkerLost) -> Result:
    """Return a result if the program caused the loss of its worker. Raises `InfraError` otherwise.

    Nothing but the program runs in the worker's namespaces. So if the worker has ended by itself, or the kernel has
    ended it, the program did it.
    """
    assert isinstance(worker, BubblewrapWorkerHandle)
    if lost.unresponsive:
        return Result(b"", ENDED_TOGETHER, -signal.SIGKILL, timed_out=True)
    # A worker ends with exit code 0 if this process has disconnected. There is no code if bubblewrap itself was killed,
    # which no program can do.
    if not worker.exit_code():
        raise sandbox_error("the connection to the sandbox was lost", worker.name) from None
    oom = worker.group is not None and worker.group.oom_kills() > 0
    return Result(b"", ENDED_TOGETHER, -signal.SIGKILL, oom=oom)


def _worker_config(resources: Resources, group: cgroup.Group | None) -> Mapping[str, Any]:
    rlimits = {"RLIMIT_NOFILE": 256, "RLIMIT_FSIZE": resources.disk, "RLIMIT_NPROC": resources.processes + 2}
    if group is None:
        # Open pipes hold memory, too.
        rlimits |= {"RLIMIT_AS": resources.memory + ADDRESS_SPACE_MARGIN, "RLIMIT_NOFILE": 128}
    if os.geteuid() != 0:
        # These are counted for a user, and all workers have the same one.
        rlimits |= {"RLIMIT_SIGPENDING": 64, "RLIMIT_MSGQUEUE": 0}
    return {"rlimits": rlimits, "watched_memory": 0 if group else resources.memory}
