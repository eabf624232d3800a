"""The `Sandbox` protocol: run an untrusted program and return its output and exit code, within limits."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Protocol, Self, runtime_checkable

from ....errors import UsageError

MIB = 1 << 20
MAX_REQUEST_BYTES = 64 * MIB
"""Maximum size of program, input and files together, in bytes."""
RESERVED_NAMES = ("main.py",)
"""File names in the working directory that the sandbox itself uses."""
LOWER_BOUNDS = {"cpus": 0.01, "memory": 32 * MIB}
"""Smallest accepted value of some limits: what the kernel can divide, and what Python needs."""
UPPER_BOUNDS = {
    "seconds": 86_400, "idle_seconds": 86_400, "cpu_seconds": 86_400, "memory": 1 << 40, "disk": 1 << 40,
    "output": 1 << 30, "processes": 1_000_000,
}  # fmt: skip
"""Largest accepted value of each limit: one day, 1 TiB, 1 GiB, or what the kernel can count."""
MAX_FILES = 4000
"""Maximum number of files and folders that a request may create."""
MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 1000
BLOCK_BYTES = 4096
"""Unit in which a file takes up space."""


class Unavailable(UsageError):
    """Raised when a backend cannot be used on this machine. Another backend may be usable."""


@dataclass(frozen=True)
class Limits:
    """Limits of one program.

    Raises:
        UsageError: If a value is not positive, is above the largest accepted value, or has the wrong type.
    """

    seconds: float = 10.0
    """Wall time in seconds."""
    cpu_seconds: int = 2
    """CPU time per process in seconds. Stops endless loops even on a busy machine."""
    memory: int = 256 * MIB
    """Memory in bytes, for all processes and files of the program together."""
    processes: int = 32
    """Maximum number of processes and threads at the same time."""
    disk: int = 16 * MIB
    """Maximum total size in bytes of the files in each writable directory."""
    output: int = 64 * 1024
    """Maximum bytes of stdout, of stderr and of each returned file. Longer output is cut; larger files are left out."""
    cpus: float = 1.0
    """Number of CPU cores, if the backend can limit them."""
    idle_seconds: float | None = None
    """Wall time in seconds that the program may spend asleep, neither using a core nor waiting for one, while it is
    waited for: before its first message on the channel, or since the last one to it. None means no such limit."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "idle_seconds" and value is None:
                continue
            whole = each.name not in ("seconds", "idle_seconds", "cpus")
            good = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
            most = UPPER_BOUNDS.get(each.name, math.inf)
            least = LOWER_BOUNDS.get(each.name, 0)
            if not good or not math.isfinite(value) or not 0 < value <= most or value < least:
                lower_bound = f"of at least {least}" if least else "above 0"
                upper_bound = f" and at most {most}" if most < math.inf else ""
                unit = " bytes" if each.name in ("memory", "disk", "output") else ""
                raise UsageError(
                    f"the sandbox limit {each.name} is {value!r}; expected {'an int' if whole else 'a number'} "
                    + lower_bound
                    + upper_bound
                    + unit
                )


@dataclass(frozen=True)
class Result:
    """The result of running one program."""

    stdout: bytes
    """Output, cut to `Limits.output` bytes."""
    stderr: bytes
    """Error output, cut to `Limits.output` bytes."""
    exit: int
    """Exit code, or the negative signal number if a signal ended the program, as in `subprocess`."""
    timed_out: bool = False
    """Whether the program was stopped at its limit of wall time, idle time or CPU time."""
    oom: bool = False
    """Whether the program or one of its processes failed at the memory limit."""
    seconds: float = 0.0
    """Wall time of the program in seconds."""
    truncated: bool = False
    """Whether some output was discarded because of `Limits.output`."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Contents of the requested files that exist, are regular files and are not larger than `Limits.output`."""
    idle: bool = False
    """Whether the program was stopped because it slept for `Limits.idle_seconds`."""

    @property
    def text(self) -> str:
        """Stdout as text. Bytes that are not UTF-8 become backslash escapes."""
        return self.stdout.decode("utf-8", "backslashreplace")

    @property
    def errors(self) -> str:
        """Stderr as text. Bytes that are not UTF-8 become backslash escapes."""
        return self.stderr.decode("utf-8", "backslashreplace")


class Channel:
    """Connects the caller of `Sandbox.run` with file descriptor 3 of the program while it runs. Thread-safe."""

    def __init__(self, received: Callable[[bytes], None]) -> None:
        """Prepare the channel of one program.

        Args:
            received: Called with the bytes that the program writes, in the thread of `run`, in pieces of any size. If
                it raises, the program is stopped and `run` raises the same error.
        """
        self.received = received
        self._lock = threading.Lock()
        self._transmit: Callable[[bytes, bytes], None] | None = None
        self._waiting: list[tuple[bytes, bytes]] = []
        self._ended = False

    def send(self, data: bytes) -> None:
        """Send bytes to the program.

        Args:
            data: The bytes. They wait until the program has started, and are dropped after its end.
        """
        self._command(b"C", data)

    def stop(self) -> None:
        """Stop the program. `run` then returns its result with exit code -9."""
        self._command(b"K", b"")

    def connect(self, transmit: Callable[[bytes, bytes], None]) -> None:
        """Start to pass commands on. Called by `run`.

        Args:
            transmit: Takes the kind of a command (`C` for bytes, `K` to stop the program) and its bytes.
        """
        with self._lock:
            self._transmit = transmit
            for command in self._waiting:
                transmit(*command)

    def disconnect(self) -> None:
        """Drop all further commands. Called by `run` when the program has ended."""
        with self._lock:
            self._transmit, self._ended = None, True

    def _command(self, kind: bytes, data: bytes) -> None:
        with self._lock:
            if self._transmit:
                self._transmit(kind, data)
            elif not self._ended:
                self._waiting.append((kind, data))


@runtime_checkable
class Sandbox(Protocol):
    """Runs untrusted Python programs. Implementations must be thread-safe."""

    @property
    def name(self) -> str:
        """Name of the backend, such as `docker` or `bubblewrap`."""
        ...

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
        """Run a program in a new working directory, which is deleted afterwards.

        Errors of the program are part of the result. After an `InfraError`, the next call starts a new worker.

        Args:
            program: Python source, run as `main.py`.
            stdin: Input of the program.
            files: Contents of files to put into the working directory, by relative path with `/` as separator.
            limits: Limits of the program. None means `Limits()`.
            return_files: Relative paths of files to return in `Result.files`.
            channel: Connects file descriptor 3 of the program with the caller.
            trusted: Whether the program is trusted, as tests are. Trusted programs run in workers of their own, in
                which no other program ever runs. They may wait for other programs that run in the same sandbox.

        Returns:
            Output, exit code, whether limits were exceeded, and the requested files.

        Raises:
            UsageError: If a file name is invalid, if program, input and files exceed `MAX_REQUEST_BYTES` or the limits
                of disk and memory, or if the sandbox is closed. Nothing has run then.
            InfraError: If the container, the engine or the worker fails.
        """
        ...

    def open_workers(self) -> list[str]:
        """Return the names of the containers or processes that this sandbox has started. Empty after `close`."""
        ...

    def close(self) -> None:
        """Stop all workers and remove everything that belongs to them. Further calls do nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


def check_file_name(name: str) -> str:
    """Return the name of a file. Raises `UsageError` if it is reserved or no file in the directory can have it."""
    if not isinstance(name, str):
        raise UsageError(f"the file name {name!r} is of type {type(name).__name__}; expected a str like 'data/a.txt'")
    shown = ascii(name if len(name) <= 80 else f"{name[:80]}...")
    parts = name.split("/")
    if "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise UsageError(
            f"the file name {shown} is not a path inside the working directory; expected one like 'data/a.txt'"
        )
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        raise UsageError(
            f"the file name {shown} has a lone surrogate, which UTF-8 cannot encode; remove it from the name"
        ) from None
    if max(sizes) > MAX_NAME_BYTES or sum(sizes) + len(sizes) > MAX_PATH_BYTES:
        raise UsageError(
            f"the file name {shown} has {sum(sizes)} bytes; expected at most {MAX_NAME_BYTES} in each part and "
            f"{MAX_PATH_BYTES} in all; choose a shorter name"
        )
    if parts[0] in RESERVED_NAMES:
        raise UsageError(f"the file name {shown} is reserved for the program; choose another name")
    return name


def check_content(name: str, content: object) -> None:
    """Raise `UsageError` if `content` is neither text nor bytes."""
    if not isinstance(content, str | bytes):
        raise UsageError(f"{name} is of type {type(content).__name__}; expected str or bytes")


def as_bytes(text: str | bytes) -> bytes:
    """Return text as UTF-8. Lone surrogates, which UTF-8 cannot encode, become `?`."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "replace")
