"""Access to the Docker engine: connecting, starting, listing and removing containers, and reading their events."""

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
from . import owner, user_ids
from .core import MIB, Unavailable
from .worker_handle import WORKER_ENVIRONMENT, Resources, WorkerHandle, WorkerLost, seconds_left, worker_command

Client = Any
"""A `docker.APIClient`. The library has no type hints and is imported lazily."""
IMAGE = "kintsugi-sandbox:1"
"""Image that `kintsugi sandbox build` makes. The tag changes when the required content does."""
LABEL = "kintsugi.sandbox"
LIFETIME_SECONDS = 3600.0
"""Seconds after which `clean` removes a container. The pool replaces it two minutes earlier."""
WORKER_MEMORY = 32 * MIB
"""Memory of the worker process in bytes, in addition to the program's limit."""
MAX_INODES = 4096
USER = "65534:65534"
"""User of the image, for containers that are started by hand. Those of a sandbox have one each."""
START_SECONDS = 60.0
_IMAGE = re.compile(r"[a-z0-9]+([._/:-]+[a-z0-9]+)*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?")


def connect(seconds: float = 60.0) -> Client:
    """Connect to the Docker engine that environment variables such as `DOCKER_HOST` select.

    Args:
        seconds: Timeout of each request.

    Raises:
        Unavailable: If no engine answers or the permission is denied.
        MissingExtraError: If the library `docker` is not installed.
    """
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
                "this user has no permission to use the Docker socket; add the user to the group 'docker' and log in "
                "again, or choose the backend 'bubblewrap'"
            ) from None
        raise Unavailable(
            f"no Docker engine answers ({text}); start one (systemctl start docker, or dockerd), set DOCKER_HOST, or "
            "choose the backend 'bubblewrap'"
        ) from None
    return client


def reconnect() -> Client:
    """Connect to an engine that answered earlier. Raises `InfraError` if it no longer answers."""
    try:
        return connect()
    except Unavailable as error:
        raise InfraError(f"the Docker engine no longer answers: {error}") from None


def require_image_name(image: str) -> None:
    """Raise `UsageError` if this is not a valid image name."""
    if not _IMAGE.fullmatch(image):
        raise UsageError(f"the image name is {image!r}; expected a lower-case name like 'kintsugi-sandbox:1'")


def require_image(client: Client, image: str) -> None:
    """Raise `UsageError` if the image name is invalid or the engine does not have the image."""
    import docker

    require_image_name(image)
    try:
        client.inspect_image(image)
    except docker.errors.ImageNotFound:
        raise UsageError(
            f"the Docker engine has no image {image!r}; make it with: kintsugi sandbox build, or choose another image "
            "with python3 (3.9 or later)"
        ) from None


@contextlib.contextmanager
def engine_errors(what: str) -> Iterator[None]:
    """Convert exceptions of the Docker engine and of the network to `InfraError`."""
    import docker
    import requests

    try:
        yield
    except (docker.errors.DockerException, requests.RequestException, OSError, WorkerLost) as error:
        raise InfraError(f"{what}: {error}; check that the Docker engine works, then try again") from error


class DockerStream:
    """A `Stream` over the socket of an attached container, which interleaves frames of stdout and stderr."""

    def __init__(self, connection: Any) -> None:
        self._response = connection
        self._socket: socket.socket = getattr(connection, "_sock", connection)
        self._raw = bytearray()
        self.stderr_tail = bytearray()
        """The last bytes that the worker wrote to stderr."""

    def send(self, data: bytes, deadline: float) -> None:
        """See `Stream`."""
        self._socket.settimeout(seconds_left(deadline))
        self._socket.sendall(data)

    def receive(self, deadline: float) -> bytes:
        """See `Stream`."""
        while not (stdout := self._take_stdout()):
            self._socket.settimeout(seconds_left(deadline))
            got = self._socket.recv(1 << 16)
            if not got:
                return b""
            self._raw += got
        return stdout

    def is_idle(self) -> bool:
        """See `Stream`. Output on stderr is ignored."""
        self._socket.settimeout(0)
        try:
            got = self._socket.recv(1 << 16)
            self._raw += got
            return bool(got) and not self._take_stdout()
        except BlockingIOError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        """Close the connection, which ends the worker."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._socket.close()
            self._response.close()

    def _take_stdout(self) -> bytes:
        """Remove the complete frames from the buffer and return their stdout."""
        stdout = bytearray()
        while len(self._raw) >= 8:
            size = int.from_bytes(self._raw[4:8], "big")
            if len(self._raw) < 8 + size:
                break
            body = self._raw[8 : 8 + size]
            if self._raw[0] == 2:
                self.stderr_tail = (self.stderr_tail + body)[-4096:]
            else:
                stdout += body
            del self._raw[: 8 + size]
        return bytes(stdout)


class DockerWorkerHandle(WorkerHandle):
    """The handle of a worker in a container."""

    def __init__(
        self, client: Client, container: str, resources: Resources, stream: DockerStream, expires: float
    ) -> None:
        super().__init__(container, resources, stream, expires)
        self.stream = stream
        self.client = client

    def discard(self) -> None:
        """Remove the container and its volumes."""
        # If the engine does not answer, the next sandbox removes the container by its labels.
        with contextlib.suppress(InfraError):
            remove(self.client, self.name)


def launch(client: Client, image: str, resources: Resources, run_id: str) -> DockerWorkerHandle:
    """Start a container and wait for its worker. Raises `InfraError`."""
    with engine_errors("a sandbox container could not be started"):
        expires = time.monotonic() + LIFETIME_SECONDS - 120
        container: str = client.create_container(**_container_settings(client, image, resources, run_id))["Id"]
        try:
            wanted = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            worker = DockerWorkerHandle(
                client, container, resources, DockerStream(client.attach_socket(container, wanted)), expires
            )
            client.start(container)
            try:
                worker.wait_for_hello(START_SECONDS)
            except WorkerLost as lost:
                why = worker.stream.stderr_tail.decode("utf-8", "replace").strip() or lost
                raise InfraError(f"the worker in the image {image!r} did not start: {why}") from None
        except BaseException:
            with contextlib.suppress(InfraError):
                remove(client, container)
            raise
    return worker


def labels(run_id: str) -> dict[str, str]:
    """Return the labels that record a container's owner and its expiry time."""
    return {
        LABEL: "1",
        "kintsugi.run": run_id,
        "kintsugi.owner": owner.this_process(),
        "kintsugi.expires": str(int(time.time() + LIFETIME_SECONDS)),
    }


def _container_settings(client: Client, image: str, resources: Resources, run_id: str) -> dict[str, Any]:
    config = {"rlimits": {"RLIMIT_NOFILE": 256, "RLIMIT_FSIZE": resources.disk}, "watched_memory": 0}
    memory = resources.memory + WORKER_MEMORY
    space = f"rw,noexec,nosuid,nodev,mode=1777,size={resources.disk},nr_inodes={MAX_INODES}"
    about = client.info()
    # An engine in a user namespace, or with one for its containers, has fewer ids.
    user = user_ids.choose_id(any("userns" in each or "rootless" in each for each in about["SecurityOptions"] or ()))
    host = client.create_host_config(
        auto_remove=True,
        cap_drop=["ALL"],
        ipc_mode="private",
        # The worker's stdout is the connection to the host. The engine must not log it to disk.
        log_config={"type": "none"},
        mem_limit=memory,
        memswap_limit=memory,
        # The engine rejects values above the number of cores.
        nano_cpus=int(min(resources.cpus, about["NCPU"]) * 1e9),
        network_mode="none",
        # One more process for the worker, and one for its forks.
        pids_limit=resources.processes + 2,
        read_only=True,
        security_opt=["no-new-privileges:true"],
        shm_size=resources.disk,
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
        # The kernel has limits for each user, so the container must not share one with other programs.
        "user": f"{user}:{user}",
        "working_dir": "/",
    }


def remove(client: Client, container: str) -> None:
    """Remove a container and its volumes, and wait for the removal. A missing container is not an error."""
    import docker

    with engine_errors("a sandbox container could not be removed"):
        for _ in range(100):
            try:
                client.remove_container(container, force=True, v=True)
                return
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as error:
                # 409: a removal is in progress, for example by the engine itself after the worker's end.
                if error.status_code != 409:
                    raise
            time.sleep(0.1)


def containers(client: Client, **wanted: str) -> list[dict[str, Any]]:
    """Return all sandbox containers, running or not, with these labels, given without the prefix `kintsugi.`."""
    names = [LABEL, *(f"kintsugi.{name}={value}" for name, value in wanted.items())]
    with engine_errors("the sandbox containers could not be listed"):
        found: list[dict[str, Any]] = client.containers(all=True, filters={"label": names})
    return found


def clean(client: Client, everything: bool = False) -> list[str]:
    """Remove the containers that have expired or whose owner process has ended, or all of them. Return their names."""
    removed = []
    for each in containers(client):
        values = each["Labels"]
        expired = float(values.get("kintsugi.expires", 0)) < time.time()
        if everything or expired or owner.has_ended(values.get("kintsugi.owner", owner.UNKNOWN)):
            remove(client, each["Id"])
            removed.append(each["Names"][0].lstrip("/") if each["Names"] else each["Id"])
    return removed


def container_events(client: Client, container: str) -> dict[str, dict[str, str]]:
    """Return the attributes of a container's events by event name. Waits up to 3 seconds for the event `die`.

    The engine remembers only a few hundred events, so the early events of an old container may be missing.
    """
    events: dict[str, dict[str, str]] = {}
    for _ in range(30):
        with engine_errors("the Docker engine no longer answers"):
            # `until` takes the time of the engine's clock in seconds since 1970.
            now = datetime.fromisoformat(client.info()["SystemTime"]).timestamp()
            for event in client.events(since=0, until=f"{now:.6f}", filters={"container": [container]}, decode=True):
                events[event["Action"]] = event["Actor"]["Attributes"]
        if "die" in events:
            break
        time.sleep(0.1)
    return events
