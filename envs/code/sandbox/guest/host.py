"""The worker's connection to the host, and the relay between the host and a program's channel.

Data of a program passes through `SCRATCH`, which is zeroed after each program, and through memory files.
"""

from __future__ import annotations

import os
import select
from typing import Any

from .wire import FRAME

BLOCK = 1 << 16
ZEROS = bytes(BLOCK)
SCRATCH = bytearray(BLOCK)


class HostDisconnected(Exception):
    """Raised when the host has closed the connection."""


def wipe(store: bytearray, size: int) -> None:
    """Zero the first `size` bytes."""
    for first in range(0, size, BLOCK):
        last = min(size, first + BLOCK)
        store[first:last] = ZEROS[: last - first]


def read_exactly(fd: int, size: int) -> bytes:
    """Read `size` bytes from the host. For headers only, since the bytes stay in memory."""
    data = b""
    while len(data) < size:
        got = os.read(fd, size - len(data))
        if not got:
            raise HostDisconnected
        data += got
    return data


def receive_payload(fd: int, size: int, payload: int) -> None:
    """Copy the next `size` bytes of the connection to a memory file."""
    with memoryview(SCRATCH) as view:
        while size:
            got = os.readv(fd, [view[: min(size, BLOCK)]])
            if not got:
                raise HostDisconnected
            written = 0
            while written < got:
                written += os.write(payload, view[written:got])
            size -= got


def send(fd: int, *parts: Any) -> None:
    """Send all parts to the host."""
    views = [memoryview(part) for part in parts if len(part)]
    while views:
        try:
            sent = os.writev(fd, views[:8])
        except (BrokenPipeError, ConnectionResetError):
            raise HostDisconnected from None
        while views and sent >= len(views[0]):
            sent -= len(views.pop(0))
        if sent:
            views[0] = views[0][sent:]


class Relay:
    """Passes bytes between the host and a program's channel.

    Bytes that the program does not read yet wait in a memory file, so that they do not enter this process's memory.
    """

    def __init__(self, host: tuple[int, int], program: int) -> None:
        """Start to relay.

        Args:
            host: File descriptors to read the host's commands from, and to write to the host.
            program: File descriptor of the worker's end of the program's channel, or -1 if it has none.
        """
        self.commands, self.answers = host
        self.program = program
        self.waiting = -1
        self.awaited = True
        """Whether the host waits for the program: it has not written since it started, or since the host wrote."""
        self.read_at = self.write_at = 0
        if program >= 0:
            os.set_blocking(program, False)

    def obey(self) -> bool:
        """Carry out one command of the host: bytes for the program, or its end. Return False if it must end."""
        kind, size = FRAME.unpack(read_exactly(self.commands, FRAME.size))
        if kind == b"C":
            if self.waiting < 0:
                self.waiting = os.memfd_create("waiting")
            receive_payload(self.commands, size, self.waiting)
            self.write_at += size
            self.awaited = True
            self.flush()
        return bool(kind == b"C")

    def flush(self) -> None:
        """Give the program as many of the waiting bytes as it takes."""
        try:
            while self.read_at < self.write_at:
                sent = os.sendfile(self.program, self.waiting, self.read_at, self.write_at - self.read_at)
                self.read_at += sent
            if self.write_at:
                os.ftruncate(self.waiting, 0)
                os.lseek(self.waiting, 0, os.SEEK_SET)
                self.read_at = self.write_at = 0
        except BlockingIOError:
            return
        except OSError:
            # The program has closed its channel.
            self.read_at = self.write_at

    def events(self) -> int:
        """Return what to wait for."""
        return select.POLLIN | (select.POLLOUT if self.read_at < self.write_at else 0)

    def forward(self) -> bool:
        """Send what the program wrote to the host. Return False at its end."""
        try:
            got = os.readv(self.program, [SCRATCH])
        except BlockingIOError:
            return True
        except OSError:
            return False
        if got:
            self.awaited = False
            with memoryview(SCRATCH) as view:
                send(self.answers, FRAME.pack(b"C", got), view[:got])
        return got > 0

    def close(self) -> None:
        """Forget the bytes that are left."""
        if self.waiting >= 0:
            os.close(self.waiting)
