"""Serves the objects of a solution to its tests."""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
from typing import Any

from .link import CHANNEL, ConnectionLost, SocketLink
from .load import describe_error, load_solution
from .own_data import data_of
from .peer import Peer
from .process_state import Imitation
from .values import is_data_type


class SolutionPeer(Peer):
    """The solution's end. It serves every request, and takes functions of the standard library by their names."""

    shares_causes = True

    def __init__(self, link: SocketLink, names: dict[str, Any]) -> None:
        super().__init__(link, step=-1)
        self.names = names
        self.imitation = Imitation()

    def serve_names(self) -> list[str]:
        """Return the global names of the solution."""
        return [name for name in self.names if not name.startswith("__")]

    def serve_value(self, name: str) -> Any:
        """Return the value of a global name."""
        return self.names[name]

    def serve_set_value(self, name: str, value: Any) -> None:
        """Set a global name."""
        self.names[name] = value

    def serve_delete_value(self, name: str) -> None:
        """Delete a global name."""
        del self.names[name]

    def serve_data(self, target: Any) -> list[Any]:
        """Return what an object is in plain form."""
        return data_of(target)

    def serve_state(self, changes: list[Any]) -> None:
        """Make the changes that the tests made in their process."""
        self.imitation.apply(changes)

    def is_named(self, kind: type) -> bool:
        """See `Peer`. The tests do not accept others."""
        return is_data_type(kind)

    def describe(self, error: BaseException) -> str:
        """See `Peer`."""
        return describe_error(error)

    def decode(self, data: Any) -> Any:
        """See `Peer`."""
        if isinstance(data, list) and data[0] == "imported":
            value: Any = importlib.import_module(data[1])
            for name in data[2]:
                value = getattr(value, name)
            return value
        return super().decode(data)


def main() -> None:
    """Read `solution` and `given`, load them and serve the tests until the connection ends."""
    request = json.loads(sys.stdin.buffer.read())
    # What the solution prints has one order.
    os.dup2(2, 1)
    link = SocketLink(socket.socket(fileno=CHANNEL))
    try:
        names = load_solution(request["solution"], request["given"])
    except BaseException as error:
        link.send(describe_error(error))
        return
    link.send(None)
    # The solution may use as many frames as in a process of its own.
    sys.setrecursionlimit(sys.getrecursionlimit() + 50)
    try:
        SolutionPeer(link, names).serve()
    except ConnectionLost:
        return
