"""The Docker engine: how it is reached, how a worker's container is made, and what became of one that was lost."""

from __future__ import annotations

import contextlib
import re
import socket
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ....errors import InfraError, MissingExtraError, UsageError
from . import owner
from .cell import WORKER_ENVIRONMENT, Cell, Lost, Shape, left, worker_command
from .core import MIB, Unavailable

Client = Any
"""A `docker.APIClient`; the library is imported when it is needed, and it brings no types."""
IMAGE = "kintsugi-sandbox:1"
"""What `kintsugi sandbox build` makes; the number changes when what it must hold does."""
LABEL = "kintsugi.sandbox"
LIFETIME = 3600.0
"""Seconds after which a container is replaced, and may be removed by anybody's clean-up."""
WORKER_MEMORY = 32 * MIB
"""What the worker itself may need beside the program."""
MOST_FILES = 4096
START_SECONDS = 60.0
USER = "65534:65534"
_IMAGE = re.compile(r"[a-z0-9]+([._/:-]+[a-z0-9]+)*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?")


def connect(seconds: float = 60.0) -> Client:
    """A connection to the engine that the environment names; raises `Unavailable`, saying what to do."""
    try:
        import docker
    except ImportError:
        raise MissingExtraError("docker", "code") from None
    try:
        client = docker.from_env(timeout=int(seconds)).api
        client.ping()
    except (docker.errors.DockerException, OSError) as error:
        text = str(error)
        if "PermissionError" in text or "Permission denied" in text:
            raise Unavailable(
                "the Docker socket refuses this user (permission denied); add the user to the group 'docker' and log "
                "in again, or choose the back end 'bubblewrap'"
            ) from None
        raise Unavailable(
            f"no Docker engine answers ({text}); start one (systemctl start docker, or dockerd), set DOCKER_HOST, or "
            "choose the back end 'bubblewrap'"
        ) from None
    return client


def reconnect() -> Client:
    """As `connect`, for an engine that answered before: raises `InfraError`."""
    try:
        return connect()
    except Unavailable as error:
        raise InfraError(f"the Docker engine is gone: {error}") from None


def require_name(image: str) -> None:
    """Raise `UsageError` for what cannot be the name of an image."""
    if not _IMAGE.fullmatch(image):
        raise UsageError(f"{image!r} is no name of an image; give one like 'kintsugi-sandbox:1', in lower case")


def require_image(client: Client, image: str) -> None:
    """Raise `UsageError` when the engine does not have the image, and for what is no name of one."""
    import docker

    require_name(image)
    try:
        client.inspect_image(image)
    except docker.errors.ImageNotFound:
        raise UsageError(
            f"the Docker engine has no image {image!r}; make it with: kintsugi sandbox build, or name another image "
            "that has python3 (3.9 or later)"
        ) from None


@contextlib.contextmanager
def engine_errors(what: str) -> Iterator[None]:
    """Turn the engine's and the network's exceptions into `InfraError`."""
    import docker
    import requests

    try:
        yield
    except (docker.errors.DockerException, requests.RequestException, OSError, Lost) as error:
        raise InfraError(f"{what}: {error}; see that the Docker engine works, then run it again") from error


class DockerStream:
    """A stream over the socket of an attached container, which mixes stdout and stderr in frames."""

    def __init__(self, connection: Any) -> None:
        self._holder = connection
        self._socket: socket.socket = getattr(connection, "_sock", connection)
        self._raw = bytearray()
        self.complaints = bytearray()
        """The end of what the worker wrote to its stderr."""

    def send(self, data: bytes, deadline: float) -> None:
        """See `Stream`."""
        self._socket.settimeout(left(deadline))
        self._socket.sendall(data)

    def receive(self, deadline: float) -> bytes:
        """See `Stream`."""
        while not (said := self._said()):
            self._socket.settimeout(left(deadline))
            got = self._socket.recv(1 << 16)
            if not got:
                return b""
            self._raw += got
        return said

    def quiet(self) -> bool:
        """See `Stream`; complaints do not count."""
        self._socket.settimeout(0)
        try:
            got = self._socket.recv(1 << 16)
            self._raw += got
            return bool(got) and not self._said()
        except BlockingIOError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        """Hang up, which ends the worker."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._socket.close()
            self._holder.close()

    def _said(self) -> bytes:
        """All stdout that has come whole."""
        said = bytearray()
        while len(self._raw) >= 8:
            size = int.from_bytes(self._raw[4:8], "big")
            if len(self._raw) < 8 + size:
                break
            body = self._raw[8 : 8 + size]
            if self._raw[0] == 2:
                self.complaints = (self.complaints + body)[-4096:]
            else:
                said += body
            del self._raw[: 8 + size]
        return bytes(said)


class DockerCell(Cell):
    """A worker in a container of its own."""

    def __init__(self, client: Client, container: str, shape: Shape, stream: DockerStream, expires: float) -> None:
        super().__init__(container, shape, stream, expires)
        self.stream = stream
        self.client = client

    def discard(self) -> None:
        """Remove the container with all that belongs to it."""
        # Without an engine there is nothing to be done now; the next start removes what is left by its label.
        with contextlib.suppress(InfraError):
            remove(self.client, self.name)


def launch(client: Client, image: str, shape: Shape, run_id: str) -> DockerCell:
    """Start a container and wait for its worker; raises `InfraError`."""
    with engine_errors("a sandbox container could not be started"):
        expires = time.monotonic() + LIFETIME - 120
        container: str = client.create_container(**_settings(client, image, shape, run_id))["Id"]
        try:
            wanted = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            cell = DockerCell(client, container, shape, DockerStream(client.attach_socket(container, wanted)), expires)
            client.start(container)
            try:
                cell.greet(START_SECONDS)
            except Lost as lost:
                said = cell.stream.complaints.decode("utf-8", "replace").strip() or lost
                raise InfraError(f"the worker in the image {image!r} did not start: {said}") from None
        except BaseException:
            with contextlib.suppress(InfraError):
                remove(client, container)
            raise
    return cell


def labels(run_id: str) -> dict[str, str]:
    """What tells whose a container is and when it may go."""
    return {
        LABEL: "1",
        "kintsugi.run": run_id,
        "kintsugi.owner": owner.this_process(),
        "kintsugi.expires": str(int(time.time() + LIFETIME)),
    }


def _settings(client: Client, image: str, shape: Shape, run_id: str) -> dict[str, Any]:
    config = {"rlimits": {"RLIMIT_NOFILE": 256, "RLIMIT_FSIZE": shape.disk}, "watched_memory": 0}
    memory = shape.memory + WORKER_MEMORY
    space = f"rw,noexec,nosuid,nodev,mode=1777,size={shape.disk},nr_inodes={MOST_FILES}"
    host = client.create_host_config(
        auto_remove=True,
        cap_drop=["ALL"],
        ipc_mode="private",
        # The worker's stdout is the channel: it must not be kept on the engine's disk.
        log_config={"type": "none"},
        mem_limit=memory,
        memswap_limit=memory,
        # An engine refuses more than it has.
        nano_cpus=int(min(shape.cpus, client.info()["NCPU"]) * 1e9),
        network_mode="none",
        # One more for the worker, one for its helpers.
        pids_limit=shape.processes + 2,
        read_only=True,
        security_opt=["no-new-privileges:true"],
        shm_size=shape.disk,
        tmpfs={"/tmp": space},
    )
    return {
        "image": image,
        "command": worker_command("python3", config),
        "entrypoint": [],
        "environment": WORKER_ENVIRONMENT,
        "hostname": "sandbox",
        "host_config": host,
        "labels": labels(run_id),
        "name": f"kintsugi-{run_id}-{uuid.uuid4().hex[:8]}",
        "network_disabled": True,
        "stdin_open": True,
        "user": USER,
        "working_dir": "/",
    }


def remove(client: Client, container: str) -> None:
    """Remove a container and its volumes, and wait until it is gone; one that is gone already is fine."""
    import docker

    with engine_errors("a sandbox container could not be removed"):
        for _ in range(100):
            try:
                client.remove_container(container, force=True, v=True)
                return
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as error:
                # 409: somebody else, such as the engine itself after the worker's end, is removing it.
                if error.status_code != 409:
                    raise
            time.sleep(0.1)


def containers(client: Client, **wanted: str) -> list[dict[str, Any]]:
    """All sandbox containers, running or not, that have these labels (without their prefix)."""
    names = [LABEL, *(f"kintsugi.{name}={value}" for name, value in wanted.items())]
    with engine_errors("the sandbox containers could not be listed"):
        found: list[dict[str, Any]] = client.containers(all=True, filters={"label": names})
    return found


def clean(client: Client, everything: bool = False) -> list[str]:
    """Remove the containers whose process has ended or whose time is over (or all); returns their names."""
    removed = []
    for each in containers(client):
        about = each["Labels"]
        over = float(about.get("kintsugi.expires", 0)) < time.time()
        if everything or over or owner.is_gone(about.get("kintsugi.owner", owner.UNKNOWN)):
            remove(client, each["Id"])
            removed.append(each["Names"][0].lstrip("/") if each["Names"] else each["Id"])
    return removed


def history(client: Client, container: str) -> dict[str, dict[str, str]]:
    """What happened to a container, as far as the engine remembers: event to its attributes. Waits for its end.

    The engine remembers a few hundred events: of an old container often nothing until its end is told.
    """
    events: dict[str, dict[str, str]] = {}
    for _ in range(30):
        with engine_errors("the Docker engine does not answer any more"):
            # The engine's own clock, in the only form that it takes: seconds since 1970.
            now = datetime.fromisoformat(client.info()["SystemTime"]).timestamp()
            for event in client.events(since=0, until=f"{now:.6f}", filters={"container": [container]}, decode=True):
                events[event["Action"]] = event["Actor"]["Attributes"]
        if "die" in events:
            break
        time.sleep(0.1)
    return events
