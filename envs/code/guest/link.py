"""Messages between the solution's process and that of its tests, which the host passes on."""

from __future__ import annotations

import json
import socket
from typing import Any, Protocol

CHANNEL = 3
"""File descriptor of a program's connection to the host."""
HEADER_BYTES = 4
"""Bytes of the size that stands before each message."""
MAX_MESSAGE_BYTES = 1 << 25


class ConnectionLost(BaseException):
    """Raised when the other process has ended or sends what is not a message. The message says why.

    It is no `Exception`, because it is not what tests mean when they expect one.
    """


class Link(Protocol):
    """Sends and receives messages, which are JSON data. Both methods raise `ConnectionLost`."""

    def send(self, message: Any) -> None:
        """Send one message."""
        ...

    def receive(self) -> Any:
        """Return the next message."""
        ...


class SocketLink:
    """A link over a stream socket. Each message follows its size."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def send(self, message: Any) -> None:
        """See `Link`."""
        data = json.dumps(message).encode()
        if len(data) > MAX_MESSAGE_BYTES:
            raise ValueError(f"it has {len(data)} bytes; expected at most {MAX_MESSAGE_BYTES}")
        self.connection.sendall(len(data).to_bytes(HEADER_BYTES, "big") + data)

    def receive(self) -> Any:
        """See `Link`."""
        return json.loads(self._read(int.from_bytes(self._read(HEADER_BYTES), "big")))

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            block = self.connection.recv(min(1 << 20, size - len(data)))
            if not block:
                raise ConnectionLost("the tests have ended")
            data += block
        return bytes(data)
