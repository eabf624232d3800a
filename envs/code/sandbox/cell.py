"""A cell: one worker inside its container or namespace, and the connection to it."""

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
from . import guest
from .core import MOST_SENT, Limits, Result, as_bytes, checked_name
from .guest.wire import FRAME, MAGIC, OOM, REQUEST, RESULT, TIMED_OUT, TRUNCATED, UNCLEAN

GRACE = 15.0
"""Seconds over the program's own within which the worker must have answered."""
MODULES = ("wire", "clock", "stage", "cleanup", "worker")
LOADER = inspect.cleandoc(
    """
    import json, sys, types
    sources, config = map(json.loads, sys.argv[1:])
    sys.modules["guest"] = types.ModuleType("guest")
    for name, source in sources:
        module = sys.modules["guest." + name] = types.ModuleType("guest." + name)
        module.__package__ = "guest"
        exec(compile(source, "<guest." + name + ">", "exec"), module.__dict__)
    sys.modules["guest.worker"].main(config)
    """
)


def worker_command(python: str, config: Mapping[str, Any]) -> list[str]:
    """The command that starts a worker; all it needs is in its arguments, so any image with Python will do."""
    folder = Path(guest.__file__).parent
    sources = [(name, (folder / f"{name}.py").read_text(encoding="utf-8")) for name in MODULES]
    return [python, "-S", "-s", "-c", LOADER, json.dumps(sources), json.dumps(config)]


WORKER_ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
}
"""All that a program finds in its environment."""


class Stream(Protocol):
    """The two ends of the connection to a worker."""

    def send(self, data: bytes, deadline: float) -> None:
        """Send all; raises `OSError` when the other end is gone or the deadline has passed."""
        ...

    def receive(self, deadline: float) -> bytes:
        """What has come, at least one byte; `b""` when the other end is gone. Raises `TimeoutError`."""
        ...

    def quiet(self) -> bool:
        """Whether the other end is there and has nothing to say, as it should be between two programs."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class SocketStream:
    """A stream over a plain socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection

    def send(self, data: bytes, deadline: float) -> None:
        """See `Stream`."""
        self.socket.settimeout(left(deadline))
        self.socket.sendall(data)

    def receive(self, deadline: float) -> bytes:
        """See `Stream`."""
        self.socket.settimeout(left(deadline))
        return self.socket.recv(1 << 16)

    def quiet(self) -> bool:
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
        """Hang up, which ends the worker."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def left(deadline: float) -> float:
    """Seconds until `deadline` (of `time.monotonic`); raises `TimeoutError` when there are none."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the deadline has passed")
    return seconds


@dataclass(frozen=True)
class Shape:
    """Limits that belong to a container rather than to a program: those that cells of a pool can differ in."""

    memory: int
    processes: int
    disk: int
    cpus: float

    @classmethod
    def of(cls, limits: Limits) -> Shape:
        """The shape of cell that these limits need."""
        return cls(limits.memory, limits.processes, limits.disk, limits.cpus)


class Lost(Exception):
    """The connection to the worker ended or fell silent while a program ran."""

    def __init__(self, silent: bool) -> None:
        super().__init__("the worker did not answer" if silent else "the worker is gone")
        self.silent = silent
        """It is there, as far as one can see, but does not answer."""


@dataclass(frozen=True)
class Request:
    """One program with all that it needs, checked."""

    program: bytes
    stdin: bytes
    files: dict[str, bytes]
    limits: Limits
    want: tuple[str, ...]

    @classmethod
    def of(
        cls,
        program: str | bytes,
        stdin: str | bytes,
        files: Mapping[str, str | bytes] | None,
        limits: Limits | None,
        want: Sequence[str],
    ) -> Request:
        """Raises `UsageError` as `Sandbox.run` says."""
        named = {checked_name(name): as_bytes(content) for name, content in (files or {}).items()}
        for name in named:
            if any(other.startswith(f"{name}/") for other in named):
                raise UsageError(f"the file name {name!r} is also the folder of another; rename one")
        request = cls(
            as_bytes(program), as_bytes(stdin), named, limits or Limits(), tuple(dict.fromkeys(map(checked_name, want)))
        )
        total = len(request.program) + len(request.stdin) + sum(map(len, named.values()))
        if total > MOST_SENT:
            raise UsageError(
                f"program, input and files have {total} bytes together, a sandbox takes {MOST_SENT} at most"
            )
        return request

    def encoded(self) -> bytes:
        """As the worker reads it."""
        blobs = [self.program, self.stdin, *self.files.values()]
        meta = {
            "names": list(self.files),
            "sizes": list(map(len, blobs)),
            "want": list(self.want),
            "most": self.limits.output,
        }
        head = json.dumps(meta).encode()
        payload = b"".join([len(head).to_bytes(4, "big"), head, *blobs])
        cpu = math.ceil(self.limits.cpu_seconds)
        header = REQUEST.pack(MAGIC, len(payload), self.limits.seconds, cpu, self.limits.output, len(self.want))
        return header + payload


class Cell:
    """One worker. Runs one program at a time; `close` ends it."""

    def __init__(self, name: str, shape: Shape, stream: Stream, expires: float = math.inf) -> None:
        self.name = name
        self.shape = shape
        self.expires = expires
        """When (of `time.monotonic`) it should be replaced."""
        self.healthy = True
        """Whether it can take another program."""
        self._stream = stream
        self._buffer = bytearray()
        self._closing = threading.Lock()
        self._closed = False

    def greet(self, seconds: float) -> dict[str, Any]:
        """Wait for the worker's first word; raises `Lost`."""
        kind, body = self._frame(time.monotonic() + seconds)
        if kind != b"H":
            raise Lost(silent=False)
        hello: dict[str, Any] = json.loads(body)
        return hello

    def ready(self) -> bool:
        """Whether a program can be sent."""
        return self.healthy and not self._buffer and self._stream.quiet()

    def run(self, request: Request) -> Result:
        """Run one program; raises `Lost`, after which the cell is not healthy."""
        deadline = time.monotonic() + request.limits.seconds + GRACE
        self.healthy = False
        try:
            self._stream.send(request.encoded(), deadline)
            result = self._result(deadline, max(1 << 16, request.limits.output))
        except TimeoutError:
            raise Lost(silent=True) from None
        except OSError:
            raise Lost(silent=False) from None
        return result

    def close(self) -> None:
        """Hang up and see that nothing is left of the worker."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self.healthy = False
                self._stream.close()
                self.discard()

    def discard(self) -> None:
        """Remove what the worker ran in; back ends say how."""

    def _result(self, deadline: float, most: int) -> Result:
        outputs: dict[bytes, bytes] = {b"O": b"", b"E": b""}
        files: dict[str, bytes] = {}
        name = ""
        while True:
            kind, body = self._frame(deadline, most)
            if kind == b"R":
                break
            if kind == b"N":
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
            oom=bool(flags & OOM),
            seconds=seconds,
            truncated=bool(flags & TRUNCATED),
            files=files,
        )

    def _frame(self, deadline: float, most: int = 1 << 16) -> tuple[bytes, bytes]:
        kind, size = FRAME.unpack(self._exactly(FRAME.size, deadline))
        if size > most:
            raise Lost(silent=False)
        return kind, self._exactly(size, deadline)

    def _exactly(self, size: int, deadline: float) -> bytes:
        while len(self._buffer) < size:
            try:
                got = self._stream.receive(deadline)
            except TimeoutError:
                raise Lost(silent=True) from None
            except OSError:
                got = b""
            if not got:
                raise Lost(silent=False)
            self._buffer += got
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data


def infra(what: str, why: object) -> InfraError:
    """The error for a broken sandbox."""
    return InfraError(f"{what}: {why}; the program counts for nothing, run it again")
