"""The bubblewrap back end: the same worker in namespaces of its own, for machines without a Docker engine."""

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
from .cell import WORKER_ENVIRONMENT, Cell, Lost, Request, Shape, SocketStream, infra, worker_command
from .core import MIB, Limits, Result, Unavailable
from .pool import Pool

NOBODY = 65534
SYSTEM = ("/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/share/zoneinfo")
"""What programs see of the host, read-only."""
ALIASES = ("/bin", "/lib", "/lib32", "/lib64")
"""Links into `/usr`, or folders on systems that keep them apart."""
SLACK = 64 * MIB
"""Address space that an interpreter takes beside the memory that it uses."""
START_SECONDS = 30.0


class BubblewrapCell(Cell):
    """A worker in namespaces of its own."""

    def __init__(
        self, process: subprocess.Popen[bytes], shape: Shape, stream: SocketStream, group: cgroup.Group | None
    ) -> None:
        super().__init__(f"bwrap-{process.pid}", shape, stream)
        self.process = process
        self.group = group

    def discard(self) -> None:
        """End the worker, which ends its namespaces with all that is in them."""
        self.process.kill()
        self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()
        if self.group:
            self.group.remove()


class BubblewrapSandbox:
    """A pool of bubblewrap namespaces: user, PID, mount, network, IPC, UTS and cgroup all unshared.

    The system is mounted read-only; memory and processes are limited by a cgroup where this process may make one, by
    rlimits and the worker's watch where it may not, and with `cgroups=False`. Root starts it as `nobody`. Raises
    `Unavailable` where bubblewrap is missing or may not make namespaces.
    """

    name = "bubblewrap"

    def __init__(self, *, size: int | None = None, warm: int = 1, cgroups: bool = True) -> None:
        self.cgroups = cgroups
        self.executable = find_executable()
        self.python = find_python()
        cgroup.clean()
        # The kernel ends what was started with `--die-with-parent` when the thread that started it ends.
        self._starter = concurrent.futures.ThreadPoolExecutor(1, "kintsugi-bubblewrap")
        self._number = itertools.count()
        self._pool = Pool(self._launch, size or max(2, os.cpu_count() or 1))
        try:
            self._pool.warm(Shape.of(Limits()), max(1, warm))
        except InfraError as error:
            self.close()
            raise Unavailable(
                f"bubblewrap cannot make its namespaces here ({error}); allow unprivileged user namespaces, or start a "
                "Docker engine and choose the back end 'docker'"
            ) from None

    def run(
        self,
        program: str | bytes,
        stdin: str | bytes = b"",
        files: Mapping[str, str | bytes] | None = None,
        limits: Limits | None = None,
        *,
        want: Sequence[str] = (),
    ) -> Result:
        """See `Sandbox.run`."""
        request = Request.of(program, stdin, files, limits, want)
        with self._pool.cell(Shape.of(request.limits)) as cell:
            try:
                return cell.run(request)
            except Lost as lost:
                if lost.silent:
                    return Result(b"", b"the sandbox was ended together with the program\n", -9, timed_out=True)
                raise infra("the sandbox was lost", cell.name) from None

    def holdings(self) -> list[str]:
        """The namespaces of this sandbox, by the process that holds them."""
        return [cell.name for cell in self._pool.cells()]

    def close(self) -> None:
        """See `Sandbox.close`."""
        self._pool.close()
        self._starter.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def command(self, config: Mapping[str, Any]) -> list[str]:
        """The command that starts a worker of this configuration."""
        return worker_command(self.python, config)

    def _launch(self, shape: Shape) -> Cell:
        group = cgroup.make(shape, str(next(self._number))) if self.cgroups else None
        ours, theirs = socket.socketpair()
        cell: BubblewrapCell | None = None
        try:
            with theirs:
                process, child = self._starter.submit(self._spawn, shape, theirs, group).result()
            cell = BubblewrapCell(process, shape, SocketStream(ours), group)
            if group:
                group.admit(child)
            cell.greet(START_SECONDS)
        except (OSError, Lost, ValueError) as error:
            why: object = error
            if cell:
                cell.process.kill()
                said = cell.process.stderr.read() if cell.process.stderr else b""
                why = said.decode("utf-8", "replace").strip() or error
                cell.close()
            elif group:
                group.remove()
            raise InfraError(f"a bubblewrap sandbox could not be started: {why}") from None
        return cell

    def _spawn(
        self, shape: Shape, channel: socket.socket, group: cgroup.Group | None
    ) -> tuple[subprocess.Popen[bytes], int]:
        """Start bubblewrap; returns its process and the id of the worker as seen from here."""
        status, to_status = os.pipe()
        filter_, to_filter = os.pipe()
        with contextlib.ExitStack() as stack:
            for fd in (to_status, filter_):
                stack.callback(os.close, fd)
            with open(to_filter, "wb") as file:
                file.write(seccomp.program() or b"")
            arguments = [
                self.executable,
                *("--json-status-fd", str(to_status)),
                *(("--seccomp", str(filter_)) if seccomp.program() else ()),
                *arguments_for(shape, group, self.python),
                *self.command(_config(shape, group)),
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
            said = process.communicate()[1].decode("utf-8", "replace").strip()
            raise OSError(said or f"{self.executable} ended with exit code {process.returncode}")
        return process, json.loads(line)["child-pid"]


def find_executable() -> str:
    """Where bubblewrap is; raises `Unavailable`."""
    found = shutil.which("bwrap")
    if not found:
        raise Unavailable("bubblewrap is not installed; install the package 'bubblewrap', which has the program bwrap")
    return found


def find_python() -> str:
    """The interpreter that programs run with: the system's, or else the one that runs this."""
    system = "/usr/bin/python3"
    return system if os.path.exists(system) else os.path.realpath(sys.executable)


def arguments_for(shape: Shape, group: cgroup.Group | None, python: str) -> list[str]:
    """What bubblewrap is told, apart from descriptors and the command."""
    arguments = [
        "--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv",
        "--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "sandbox", "--cap-drop", "ALL",
    ]  # fmt: skip
    if not python.startswith("/usr/bin/"):
        arguments += ["--ro-bind", sys.base_prefix, sys.base_prefix]
    for place in SYSTEM:
        arguments += ["--ro-bind-try", place, place]
    for place in ALIASES:
        if os.path.islink(place):
            arguments += ["--symlink", os.readlink(place), place]
        elif os.path.isdir(place):
            arguments += ["--ro-bind", place, place]
    arguments += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", "--proc", "/proc", "--dev", "/dev"]
    for place in ("/tmp", "/dev/shm"):
        arguments += ["--perms", "1777", "--size", str(shape.disk), "--tmpfs", place]
    arguments += ["--mqueue", "/dev/mqueue"]
    if group:
        arguments += ["--ro-bind", str(group.oom_file), "/run/oom"]
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]
    for name, value in WORKER_ENVIRONMENT.items():
        arguments += ["--setenv", name, value]
    return arguments


def _config(shape: Shape, group: cgroup.Group | None) -> Mapping[str, Any]:
    rlimits = {"RLIMIT_NOFILE": 256, "RLIMIT_FSIZE": shape.disk, "RLIMIT_NPROC": shape.processes + 2}
    if group is None:
        rlimits["RLIMIT_AS"] = shape.memory + SLACK
    return {"rlimits": rlimits, "watched_memory": 0 if group else shape.memory}
