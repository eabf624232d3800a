"""The host's handle of one worker, which runs inside a container or namespace, and the connection to it."""

from __future__ import annotations

import contextlib
import inspect
import json
import math
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ....errors import InfraError, UsageError
from . import guest, seccomp
from .core import (
    BLOCK_BYTES,
    MAX_FILES,
    MAX_REQUEST_BYTES,
    Channel,
    Limits,
    Result,
    as_bytes,
    check_content,
    check_file_name,
)
from .guest.wire import FRAME, IDLE, MAGIC, OOM, REQUEST, RESULT, TIMED_OUT, TRUNCATED, UNCLEAN

ENDED_TOGETHER = b"the sandbox ended together with the program\n"
"""Error output of a program whose worker it has ended."""
GRACE_SECONDS = 15.0
"""Seconds that the worker may take to answer, in addition to the program's wall time limit."""
MODULES = ("wire", "host", "clock", "filter", "ending", "child", "cleanup", "memory", "idle", "worker")
"""Modules of `guest` that are sent to a worker as source text, in the order of their imports."""
LOADER = inspect.cleandoc(
    """
    import json, sys, types
    sources, config = map(json.loads, sys.argv[1:])
    sys.modules["guest"] = types.ModuleType("guest")
    for name, source in sources:
        module = sys.modules["guest." + name] = types.ModuleType("guest." + name)
        module.__package__ = "guest"
        exec(compile(source, "<guest." + name + ">", "exec"), module.__dict__)
        setattr(sys.modules["guest"], name, module)
    sys.modules["guest.worker"].main(config)
    """
)


def worker_command(python: str, config: Mapping[str, Any]) -> list[str]:
    """Return the command that starts a worker.

    The arguments contain the worker's source, so any image that has Python can be used.
    """
    folder = Path(guest.__file__).parent
    sources = [(name, (folder / f"{name}.py").read_text(encoding="utf-8")) for name in MODULES]
    settings = {**config, "filters": seccomp.filters()}
    return [python, "-S", "-s", "-c", LOADER, json.dumps(sources), json.dumps(settings)]


WORKER_ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
}
"""All environment variables of a program."""


class Stream(Protocol):
    """A two-way connection to a worker. Deadlines are values of `time.monotonic`."""

    def send(self, data: bytes, deadline: float) -> None:
        """Send all data. Raises `OSError` if the connection is closed or the deadline has passed."""
        ...

    def receive(self, deadline: float) -> bytes:
        """Return at least one received byte, or `b""` if the connection is closed. Raises `TimeoutError`."""
        ...

    def is_idle(self) -> bool:
        """Return whether the connection is open and no data has arrived, as expected between two programs."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class SocketStream:
    """A `Stream` over a plain socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection

    def send(self, data: bytes, deadline: float) -> None:
        """See `Stream`."""
        self.socket.settimeout(seconds_left(deadline))
        self.socket.sendall(data)

    def receive(self, deadline: float) -> bytes:
        """See `Stream`."""
        self.socket.settimeout(seconds_left(deadline))
        return self.socket.recv(1 << 16)

    def is_idle(self) -> bool:
        """See `Stream`."""
        self.socket.settimeout(0)
        try:
            self.socket.recv(1)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close the connection, which ends the worker."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def seconds_left(deadline: float) -> float:
    """Return the seconds until `deadline`, a value of `time.monotonic`. Raises `TimeoutError` if it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the deadline has passed")
    return seconds


@dataclass(frozen=True)
class Resources:
    """The fields of `Limits` that are set when a worker starts. The others are set for each program."""

    memory: int
    processes: int
    disk: int
    cpus: float

    @classmethod
    def of(cls, limits: Limits) -> Resources:
        """Return the resources of a worker for these limits."""
        return cls(limits.memory, limits.processes, limits.disk, limits.cpus)


class WorkerLost(Exception):
    """Raised when the worker disconnects or stops answering."""

    def __init__(self, unresponsive: bool) -> None:
        super().__init__("the worker did not answer in time" if unresponsive else "the worker disconnected")
        self.unresponsive = unresponsive
        """Whether the worker is still connected but does not answer."""


@dataclass(frozen=True)
class Request:
    """The validated arguments of one `Sandbox.run` call."""

    program: bytes
    stdin: bytes
    files: dict[str, bytes]
    limits: Limits
    return_files: tuple[str, ...]
    channel: Channel | None = None

    @classmethod
    def of(
        cls,
        program: str | bytes,
        stdin: str | bytes,
        files: Mapping[str, str | bytes] | None,
        limits: Limits | None,
        return_files: Sequence[str],
        channel: Channel | None = None,
    ) -> Request:
        """Validate the arguments of `Sandbox.run`. Raises `UsageError`."""
        for what, content in (("the program", program), ("stdin", stdin)):
            check_content(what, content)
        for name, content in (files or {}).items():
            check_content(f"the file {check_file_name(name)!r}", content)
        named = {name: as_bytes(content) for name, content in (files or {}).items()}
        folders = {name[:at] for name in named for at, letter in enumerate(name) if letter == "/"}
        if both := sorted(folders & named.keys()):
            raise UsageError(f"the file name {both[0]!r} is also the folder of another file; rename one of them")
        if len(named) + len(folders) > MAX_FILES:
            raise UsageError(
                f"the request has {len(named)} files in {len(folders)} folders; expected at most {MAX_FILES} of both "
                "together; send fewer files"
            )
        request = cls(
            as_bytes(program),
            as_bytes(stdin),
            named,
            limits or Limits(),
            tuple(dict.fromkeys(map(check_file_name, return_files))),
            channel,
        )
        total = len(request.program) + len(request.stdin) + sum(map(len, named.values()))
        if total > MAX_REQUEST_BYTES:
            raise UsageError(
                f"program, input and files have {total} bytes together; expected at most {MAX_REQUEST_BYTES}; send less"
            )
        request.check_space(total)
        return request

    def check_space(self, total: int) -> None:
        """Raise `UsageError` if `total` bytes, or the files, do not fit into the limits of the program."""
        contents = [self.program, *self.files.values()]
        space = sum(-(-len(content) // BLOCK_BYTES) for content in contents) * BLOCK_BYTES
        if space > self.limits.disk:
            raise UsageError(
                f"program and files take up {space} bytes, in blocks of {BLOCK_BYTES}; expected at most the sandbox "
                f"limit disk, which is {self.limits.disk}; raise it or send less"
            )
        # The worker holds the request, and the program gets a copy of it.
        if 2 * total > self.limits.memory:
            raise UsageError(
                f"program, input and files have {total} bytes together; expected at most half of the sandbox limit "
                f"memory, which is {self.limits.memory}; raise it or send less"
            )

    def encode(self) -> bytes:
        """Return the request as the bytes that the worker reads."""
        blobs = [self.program, self.stdin, *self.files.values()]
        metadata = {
            "names": list(self.files),
            "sizes": list(map(len, blobs)),
            "want": list(self.return_files),
            "most": self.limits.output,
            "channel": bool(self.channel),
        }
        head = json.dumps(metadata).encode()
        payload = b"".join([len(head).to_bytes(4, "big"), head, *blobs])
        cpu = math.ceil(self.limits.cpu_seconds)
        header = REQUEST.pack(
            MAGIC,
            self.limits.seconds,
            self.limits.idle_seconds or 0.0,
            cpu,
            self.limits.output,
            len(self.return_files),
            bool(self.channel),
        )
        return FRAME.pack(b"Q", len(header) + len(payload)) + header + payload


class WorkerHandle:
    """The host's handle of one worker, which runs one program at a time."""

    def __init__(self, name: str, resources: Resources, stream: Stream, expires: float = math.inf) -> None:
        self.name = name
        self.resources = resources
        self.expires = expires
        """Value of `time.monotonic` after which the worker is replaced."""
        self.healthy = True
        """Whether the worker can run another program."""
        self._stream = stream
        self._buffer = bytearray()
        self._closing = threading.Lock()
        self._closed = False

    def wait_for_hello(self, seconds: float) -> dict[str, Any]:
        """Wait for the worker's first message. Raises `WorkerLost`."""
        kind, body = self._read_frame(time.monotonic() + seconds)
        if kind != b"H":
            raise WorkerLost(unresponsive=False)
        hello: dict[str, Any] = json.loads(body)
        return hello

    def is_ready(self) -> bool:
        """Return whether a program can be sent."""
        return self.healthy and not self._buffer and self._stream.is_idle()

    def run(self, request: Request) -> Result:
        """Run one program. Raises `WorkerLost`, after which the worker is not healthy."""
        deadline = time.monotonic() + request.limits.seconds + GRACE_SECONDS
        self.healthy = False
        try:
            self._stream.send(request.encode(), deadline)
            if request.channel:
                request.channel.connect(
                    lambda kind, data: self._stream.send(FRAME.pack(kind, len(data)) + data, deadline)
                )
            result = self._read_result(deadline, max(1 << 16, request.limits.output), request.channel)
        except TimeoutError:
            raise WorkerLost(unresponsive=True) from None
        except OSError:
            raise WorkerLost(unresponsive=False) from None
        finally:
            if request.channel:
                request.channel.disconnect()
        return result

    def close(self) -> None:
        """Disconnect from the worker and remove everything that belongs to it."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self.healthy = False
                self._stream.close()
                self.discard()

    def discard(self) -> None:
        """Remove the container or process of the worker. Backends override this."""

    def _read_result(self, deadline: float, max_size: int, channel: Channel | None) -> Result:
        outputs: dict[bytes, bytes] = {b"O": b"", b"E": b""}
        files: dict[str, bytes] = {}
        name = ""
        while True:
            kind, body = self._read_frame(deadline, max_size)
            if kind == b"R":
                break
            if kind == b"C" and channel:
                channel.received(body)
            elif kind == b"N":
                name = body.decode()
            elif kind == b"F":
                files[name] = body
            else:
                outputs[kind] = body
        code, seconds, flags = RESULT.unpack(body)
        self.healthy = not flags & UNCLEAN
        return Result(
            stdout=outputs[b"O"],
            stderr=outputs[b"E"],
            exit=code,
            timed_out=bool(flags & TIMED_OUT),
            idle=bool(flags & IDLE),
            oom=bool(flags & OOM),
            seconds=seconds,
            truncated=bool(flags & TRUNCATED),
            files=files,
        )

    def _read_frame(self, deadline: float, max_size: int = 1 << 16) -> tuple[bytes, bytes]:
        kind, size = FRAME.unpack(self._read_exactly(FRAME.size, deadline))
        if size > max_size:
            raise WorkerLost(unresponsive=False)
        return kind, self._read_exactly(size, deadline)

    def _read_exactly(self, size: int, deadline: float) -> bytes:
        while len(self._buffer) < size:
            try:
                got = self._stream.receive(deadline)
            except TimeoutError:
                raise WorkerLost(unresponsive=True) from None
            except OSError:
                got = b""
            if not got:
                raise WorkerLost(unresponsive=False)
            self._buffer += got
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data


def sandbox_error(what: str, why: object) -> InfraError:
    """Return the error to raise when a sandbox fails."""
    return InfraError(f"{what}: {why}; the program has no result; run it again")
