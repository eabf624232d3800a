"""The Docker backend: runs programs in isolated containers that are started in advance."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Mapping, Sequence
from typing import Self

from . import docker_engine
from .core import Channel, Limits, Result
from .pool import Pool
from .worker_handle import ENDED_TOGETHER, Request, Resources, WorkerHandle, WorkerLost, sandbox_error


class DockerSandbox:
    """A pool of containers without network, capabilities, root or a writable root file system.

    Expired containers and those of ended processes are removed first.
    """

    name = "docker"

    def __init__(self, *, image: str = docker_engine.IMAGE, size: int | None = None, warm: int = 1) -> None:
        """Start the pool.

        Args:
            image: Image of the containers. It needs Python 3.9 or later.
            size: Maximum number of containers, and of further containers for trusted programs. None means one per CPU
                core, at least 2.
            warm: Number of containers to start now, for programs with the default limits.

        Raises:
            Unavailable: If no Docker engine answers.
            UsageError: If the engine does not have the image.
        """
        self.image = image
        self.run_id = uuid.uuid4().hex[:12]
        client = docker_engine.connect()
        docker_engine.require_image(client, image)
        docker_engine.clean(client)
        size = size or max(2, os.cpu_count() or 1)
        self._pool, self._trusted = Pool(self._launch, size), Pool(self._launch, size)
        self._pool.prewarm(Resources.of(Limits()), warm)

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
                return self._classify_loss(worker, lost)

    def open_workers(self) -> list[str]:
        """See `Sandbox.open_workers`."""
        found = docker_engine.containers(docker_engine.connect(), run=self.run_id)
        return sorted(each["Names"][0].lstrip("/") for each in found)

    def close(self) -> None:
        """See `Sandbox.close`."""
        self._pool.close()
        self._trusted.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _launch(self, resources: Resources) -> WorkerHandle:
        # Each container has its own connection, so that threads do not wait for each other.
        return docker_engine.launch(docker_engine.reconnect(), self.image, resources, self.run_id)

    def _classify_loss(self, worker: WorkerHandle, lost: WorkerLost) -> Result:
        """Return a result if the program caused the loss of its worker. Raises `InfraError` otherwise."""
        events = docker_engine.container_events(docker_engine.reconnect(), worker.name)
        if "kill" in events:
            raise sandbox_error("the sandbox container was killed from outside", worker.name[:12])
        # Nothing but the program runs in the container. So if the worker has ended by itself, or the kernel has ended
        # it, the program did it. A worker ends with exit code 0 if this process has disconnected.
        ended = events.get("die", {}).get("exitCode", "0") != "0"
        if lost.unresponsive or "oom" in events or ended:
            return Result(b"", ENDED_TOGETHER, -signal.SIGKILL, timed_out=lost.unresponsive, oom="oom" in events)
        raise sandbox_error("the connection to the sandbox container was lost", events or "the engine has no events")
