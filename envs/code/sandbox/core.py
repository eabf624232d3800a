"""What a sandbox is: `run` a program that nobody trusts, and get back what it printed and how it ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Protocol, Self, runtime_checkable

from ....errors import UsageError

MIB = 1 << 20
MOST_SENT = 64 * MIB
"""Bytes that program, input and files may have together."""
RESERVED = ("main.py",)
"""Names in the working directory that are the sandbox's own."""


MOST = {"seconds": 86_400, "cpu_seconds": 86_400, "memory": 1 << 40, "disk": 1 << 40, "output": 1 << 30}
"""The largest limits there can be; a day, a TiB, a GiB."""


class Unavailable(UsageError):
    """A back end cannot be used here; another one may."""


@dataclass(frozen=True)
class Limits:
    """What one program may use. Raises `UsageError` for values that no program could run with."""

    seconds: float = 10.0
    """Wall time."""
    cpu_seconds: int = 2
    """CPU time of one process: what stops endless loops, whatever else the machine is doing."""
    memory: int = 256 * MIB
    """Bytes, of all processes and files of the program together."""
    processes: int = 32
    """Processes and threads at the same time."""
    disk: int = 16 * MIB
    """Bytes that can be written to files."""
    output: int = 64 * 1024
    """Bytes that are kept of each of stdout, stderr and returned files."""
    cpus: float = 1.0
    """Cores, as far as the back end can limit them."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            whole = each.name not in ("seconds", "cpus")
            good = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
            most = MOST.get(each.name, math.inf)
            if not good or not math.isfinite(value) or not 0 < value <= most:
                upto = f" and up to {most:g}" if most < math.inf else ""
                raise UsageError(
                    f"the sandbox limit {each.name} is {value!r}; expected {'an int' if whole else 'a number'} above 0"
                    + upto
                )
        if self.memory < 32 * MIB:
            raise UsageError(
                f"the sandbox limit memory is {self.memory} bytes; an interpreter needs more, give at least {32 * MIB}"
            )


@dataclass(frozen=True)
class Result:
    """How a program went."""

    stdout: bytes
    stderr: bytes
    exit: int
    """Exit code; minus the number of the signal that ended it, as in `subprocess`."""
    timed_out: bool = False
    """Stopped for its wall or CPU time."""
    oom: bool = False
    """It, or a process of it, was stopped for want of memory."""
    seconds: float = 0.0
    """Wall time from its start to its end."""
    truncated: bool = False
    """More was printed than was kept."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Those of the wanted files that exist, are regular and are not larger than `Limits.output`."""

    @property
    def text(self) -> str:
        """Stdout as text; what is not UTF-8 is written as backslash escapes."""
        return self.stdout.decode("utf-8", "backslashreplace")

    @property
    def errors(self) -> str:
        """Stderr as text; what is not UTF-8 is written as backslash escapes."""
        return self.stderr.decode("utf-8", "backslashreplace")


@runtime_checkable
class Sandbox(Protocol):
    """Runs Python programs that nobody trusts. Safe to use from several threads at once."""

    @property
    def name(self) -> str:
        """The back end, e.g. `docker` or `bubblewrap`."""
        ...

    def run(
        self,
        program: str | bytes,
        stdin: str | bytes = b"",
        files: Mapping[str, str | bytes] | None = None,
        limits: Limits | None = None,
        *,
        want: Sequence[str] = (),
    ) -> Result:
        """Run `program` as `main.py` in a directory that holds `files` and nothing else; it is gone afterwards.

        Everything that the program does wrong is in the result. `want` names files to bring back. Names are relative,
        with `/` between folders. Raises `UsageError` for bad names, for more than `MOST_SENT` bytes and after `close`;
        `InfraError` when what the program ran on broke: the next call starts afresh.
        """
        ...

    def holdings(self) -> list[str]:
        """What exists now because of this sandbox: names of containers or processes. Empty after `close`."""
        ...

    def close(self) -> None:
        """End everything and leave nothing; can be called again."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


def checked_name(name: str) -> str:
    """The name of a file in the working directory; raises `UsageError` when it could mean any other place."""
    parts = name.split("/")
    if not name or "\0" in name or len(name.encode()) > 1000 or any(part in ("", ".", "..") for part in parts):
        raise UsageError(
            f"the file name {name!r} does not stay in the working directory; expected a relative path like 'data/a.txt'"
        )
    if name in RESERVED:
        raise UsageError(f"the file name {name!r} is the program's own; choose another")
    return name


def as_bytes(text: str | bytes) -> bytes:
    """Text as UTF-8; lone surrogates, which no UTF-8 has, become `?`."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "replace")
