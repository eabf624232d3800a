"""The Docker back end: programs run in warm containers that nothing leads out of."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Mapping, Sequence
from typing import Self

from . import docker_engine
from .cell import Cell, Lost, Request, Shape, infra
from .core import Limits, Result
from .pool import Pool


class DockerSandbox:
    """A pool of containers without network, capabilities, root or a writable root file system.

    Raises `Unavailable` where no engine answers and `UsageError` where the image is missing. What killed runs left is
    removed first. `warm` containers are started at once, for programs of the default limits; others when needed.
    """

    name = "docker"

    def __init__(self, *, image: str = docker_engine.IMAGE, size: int | None = None, warm: int = 1) -> None:
        self.image = image
        self.run_id = uuid.uuid4().hex[:12]
        client = docker_engine.connect()
        docker_engine.require_image(client, image)
        docker_engine.clean(client)
        self._pool = Pool(self._launch, size or max(2, os.cpu_count() or 1))
        self._pool.warm(Shape.of(Limits()), warm)

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
                return self._after_loss(cell, lost)

    def holdings(self) -> list[str]:
        """The containers of this sandbox, by name."""
        found = docker_engine.containers(docker_engine.connect(), run=self.run_id)
        return sorted(each["Names"][0].lstrip("/") for each in found)

    def close(self) -> None:
        """See `Sandbox.close`."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _launch(self, shape: Shape) -> Cell:
        # Connections are not shared: threads would wait for each other.
        return docker_engine.launch(docker_engine.reconnect(), self.image, shape, self.run_id)

    def _after_loss(self, cell: Cell, lost: Lost) -> Result:
        """Whose doing it was: the program's is a result, everybody else's an `InfraError`."""
        events = docker_engine.history(docker_engine.reconnect(), cell.name)
        if "kill" in events:
            raise infra("the sandbox container was killed from outside", cell.name[:12])
        if lost.silent or "oom" in events:
            return _ended(timed_out=lost.silent, oom="oom" in events)
        if events.get("die", {}).get("exitCode") == str(128 + signal.SIGKILL):
            # Programs can take their worker's limits away, and then the kernel ends both.
            return _ended()
        raise infra("the sandbox container was lost", events or "the engine has no record of it")


def _ended(timed_out: bool = False, oom: bool = False) -> Result:
    said = b"the sandbox ended together with the program\n"
    return Result(b"", said, -signal.SIGKILL, timed_out=timed_out, oom=oom)
