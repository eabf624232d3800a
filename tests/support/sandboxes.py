"""Our back ends as subjects of the sandbox checks, and sandboxes that count, or that only remember."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from kintsugi.envs.code.sandbox import Limits, Result, Sandbox, cgroup, docker_engine, owner
from kintsugi.envs.code.sandbox.bubblewrap import BubblewrapSandbox
from kintsugi.envs.code.sandbox.conformance import Subject
from kintsugi.envs.code.sandbox.docker_sandbox import DockerSandbox


def docker() -> Subject:
    """Containers are killed by the engine; those, and volumes, of processes that are gone count as left behind."""
    client = docker_engine.connect()
    volumes = set(_volumes(client))

    def left_behind() -> list[str]:
        docker_engine.clean(client)
        found = docker_engine.containers(client)
        lost = [each["Names"][0] for each in found if owner.is_gone(each["Labels"]["kintsugi.owner"])]
        return lost + sorted(set(_volumes(client)) - volumes)

    return Subject(
        open=lambda: DockerSandbox(size=4),
        opener="from kintsugi.envs.code.sandbox.docker_sandbox import DockerSandbox as S; sandbox = S(size=4)",
        sabotage=lambda name: client.kill(name),
        left_behind=left_behind,
    )


def _volumes(client: Any) -> list[str]:
    return [volume["Name"] for volume in client.volumes()["Volumes"] or []]


def bubblewrap(cls: type[BubblewrapSandbox] = BubblewrapSandbox, **options: Any) -> Subject:
    """Namespaces end with their first process; those and cgroups of processes that are gone count as left behind.

    Of a subclass, only checks that need no process of their own say anything.
    """

    def left_behind() -> list[str]:
        cgroup.clean()
        return [*map(str, cgroup.leftovers()), *_orphans("kintsugi")]

    return Subject(
        open=lambda: cls(size=4, **options),
        opener="from kintsugi.envs.code.sandbox.bubblewrap import BubblewrapSandbox as S; sandbox = S(size=4)",
        sabotage=lambda name: os.kill(int(name.rpartition("-")[2]), signal.SIGKILL),
        left_behind=left_behind,
    )


def _orphans(mark: str) -> list[str]:
    """Workers that nobody waits for any more."""
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


class Counting:
    """Another sandbox, whose runs are counted."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.name = sandbox.name
        self.runs = 0

    def run(self, *arguments: Any, **options: Any) -> Result:
        self.runs += 1
        return self.sandbox.run(*arguments, **options)

    def holdings(self) -> list[str]:
        return self.sandbox.holdings()

    def close(self) -> None:
        self.sandbox.close()

    def __enter__(self) -> Counting:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Scripted:
    """A sandbox that gives prepared results and remembers what it was asked."""

    name = "scripted"

    def __init__(self, *results: Result | BaseException) -> None:
        self.results = list(results)
        self.asked: list[dict[str, Any]] = []
        self.closed = False

    def run(
        self, program: Any, stdin: Any = b"", files: Any = None, limits: Limits | None = None, *, want: Any = ()
    ) -> Result:
        self.asked.append({"program": program, "stdin": stdin, "files": files, "limits": limits, "want": want})
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, BaseException):
            raise result
        return result

    def holdings(self) -> list[str]:
        return [] if self.closed else ["nothing"]

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
