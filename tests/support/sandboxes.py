"""Subjects of the sandbox checks for the built-in backends, and fake sandboxes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from kintsugi.envs.code.conformance import Subject
from kintsugi.envs.code.sandbox import Channel, Limits, Result, Sandbox, cgroup, docker_engine, owner
from kintsugi.envs.code.sandbox.bubblewrap import BubblewrapSandbox
from kintsugi.envs.code.sandbox.docker_sandbox import DockerSandbox


def docker() -> Subject:
    """Return the Docker backend. Containers and volumes of ended processes count as leftovers."""
    client = docker_engine.connect()
    volumes = set(_volumes(client))

    def list_leftovers() -> list[str]:
        docker_engine.clean(client)
        found = docker_engine.containers(client)
        lost = [each["Names"][0] for each in found if owner.has_ended(each["Labels"]["kintsugi.owner"])]
        return lost + sorted(set(_volumes(client)) - volumes)

    return Subject(
        open=lambda: DockerSandbox(size=4),
        open_source="from kintsugi.envs.code.sandbox.docker_sandbox import DockerSandbox as S; sandbox = S(size=4)",
        kill_worker=lambda name: client.kill(name),
        list_leftovers=list_leftovers,
    )


def _volumes(client: Any) -> list[str]:
    return [volume["Name"] for volume in client.volumes()["Volumes"] or []]


def bubblewrap(cls: type[BubblewrapSandbox] = BubblewrapSandbox, **options: Any) -> Subject:
    """Return the bubblewrap backend. Workers and cgroups of ended processes count as leftovers.

    Checks that start a new process use `BubblewrapSandbox` itself, even if `cls` is a subclass.
    """

    def list_leftovers() -> list[str]:
        cgroup.clean()
        return [*map(str, cgroup.leftovers()), *_orphans("kintsugi")]

    return Subject(
        open=lambda: cls(size=4, **options),
        open_source="from kintsugi.envs.code.sandbox.bubblewrap import BubblewrapSandbox as S; sandbox = S(size=4)",
        kill_worker=lambda name: os.kill(int(name.rpartition("-")[2]), signal.SIGKILL),
        list_leftovers=list_leftovers,
    )


def _orphans(mark: str) -> list[str]:
    """Return the workers whose parent process has ended."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            with open(f"/proc/{pid}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == 1 and any(b"guest.worker" in word for word in words) and mark:
            found.append(f"process {pid}")
    return found


SUBJECTS: dict[str, Callable[[], Subject]] = {"docker": docker, "bwrap": bubblewrap}


class CountingSandbox:
    """Wraps a sandbox and counts its runs."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.name = sandbox.name
        self.runs = 0

    def run(self, *arguments: Any, **options: Any) -> Result:
        self.runs += 1
        return self.sandbox.run(*arguments, **options)

    def open_workers(self) -> list[str]:
        return self.sandbox.open_workers()

    def close(self) -> None:
        self.sandbox.close()

    def __enter__(self) -> CountingSandbox:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class ScriptedSandbox:
    """Returns prepared results and records the arguments of each run."""

    name = "scripted"

    def __init__(self, *results: Result | BaseException) -> None:
        self.results = list(results)
        self.requests: list[dict[str, Any]] = []
        self.closed = False

    def run(
        self,
        program: Any,
        stdin: Any = b"",
        files: Any = None,
        limits: Limits | None = None,
        *,
        return_files: Any = (),
        channel: Channel | None = None,
        trusted: bool = False,
    ) -> Result:
        self.requests.append(
            {"program": program, "stdin": stdin, "files": files, "limits": limits, "return_files": return_files}
        )
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, BaseException):
            raise result
        return result

    def open_workers(self) -> list[str]:
        return [] if self.closed else ["nothing"]

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> ScriptedSandbox:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
