"""The tests' end of the connection to the solution. The solution may use what it was given, but not look behind it."""

from __future__ import annotations

import builtins
import json
import os
import socket
import sys
import types
from typing import Any

from .coroutines import is_allowed
from .guard import EQUAL, GUARDED, NUMBERS, NUMERIC, REASON, SHIFT, Inconsistent, ask, truth
from .link import CHANNEL, HEADER_BYTES, MAX_MESSAGE_BYTES, ConnectionLost
from .mirror import FORWARDED
from .namespace import MODULE, Namespace
from .peer import Peer

START, MESSAGE, VERDICT = b"S", b"M", b"V"
"""Kinds of frames to the host: a request for a new process of the solution, a message for the solution, the verdict.

A frame from the host is a message of the solution (`MESSAGE`) or says why its process has ended.
"""
MAX_STARTS, MAX_HANGS = 30, 2
"""Once this many starts or hangs were counted, the solution is not started again."""
NOT_RUN = "it was not run"
RAISED = "it raised "
PUBLIC = (
    *(f"__{name}__" for name in "name qualname doc module annotations isabstractmethod signature".split()),
    "_asyncio_future_blocking",
    "_log_destroy_pending",
)
"""Attributes with underscores that the solution may read."""
OPEN = ("__dataclass_fields__", "__match_args__", "__members__")
"""Further ones of the classes that the tests define, and of their objects."""
INTERNAL = ("gi_", "cr_", "ag_", "f_", "tb_", "co_")
"""Beginnings of the names by which Python gives access to frames and code."""


class SolutionLink:
    """The connection to the solution's process, through the host."""

    def __init__(self) -> None:
        self.host = socket.socket(fileno=CHANNEL)
        self.process = 1
        """Number of the solution's current process. The host starts the first one by itself."""
        self.buffer = bytearray()
        self.hangs = 0
        self.end = ""
        """Why the current process has ended, or an empty string."""
        self.losses = 0
        """How often the tests missed an answer. Tests that missed one have not passed, even if they went on."""

    def start(self) -> None:
        """Ask for a new process of the solution, which replaces the current one."""
        if self.process == MAX_STARTS or self.hangs == MAX_HANGS:
            raise ConnectionLost(NOT_RUN)
        self._write(START, b"")
        self.process, self.buffer, self.end = self.process + 1, bytearray(), ""

    def give_verdict(self, verdict: Any) -> None:
        """Send the verdict to the host."""
        self._write(VERDICT, json.dumps(verdict).encode())

    def send(self, message: Any) -> None:
        """See `Link`."""
        if self.end:
            self.losses += 1
            raise ConnectionLost(self.end)
        data = json.dumps(message).encode()
        self._write(MESSAGE, len(data).to_bytes(HEADER_BYTES, "big") + data)

    def receive(self) -> Any:
        """See `Link`."""
        size = int.from_bytes(self._take(HEADER_BYTES), "big")
        if size > MAX_MESSAGE_BYTES:
            raise ConnectionLost("it sent too long a message")
        try:
            return json.loads(self._take(size))
        except (ValueError, RecursionError):
            raise ConnectionLost("it sent an invalid message") from None

    def _take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if self.end:
                self.losses += 1
                raise ConnectionLost(self.end)
            kind, process, body = self._read()
            if process == self.process and kind == MESSAGE:
                self.buffer += body
            elif process == self.process:
                self.end, hung = json.loads(body)
                self.hangs += hung
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def _write(self, kind: bytes, body: bytes) -> None:
        self.host.sendall(kind + len(body).to_bytes(HEADER_BYTES, "big") + body)

    def _read(self) -> tuple[bytes, int, bytes]:
        header = self._read_exactly(1 + 2 * HEADER_BYTES)
        size = int.from_bytes(header[1 + HEADER_BYTES :], "big")
        return header[:1], int.from_bytes(header[1 : 1 + HEADER_BYTES], "big"), self._read_exactly(size)

    def _read_exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            block = self.host.recv(min(1 << 20, size - len(data)))
            if not block:
                os._exit(1)
            data += block
        return bytes(data)


class TestsPeer(Peer):
    """The tests' end of the connection."""

    def __init__(self, link: SolutionLink) -> None:
        super().__init__(link, step=1)
        self.connection = link
        self.started = False
        self.names: set[str] = set()
        self.values: dict[str, Any] = {}
        """Functions and classes of the solution that the tests have used, by name."""
        self.siblings: dict[int, Any] = {}
        """For a result of `-` or `+` that is an object of the solution: the result for another value."""
        self.reply = ""
        """What the last call gave or raised, for messages."""

    def start(self) -> str:
        """Start the solution anew. Return why it cannot be loaded, or an empty string."""
        try:
            if self.started:
                self.connection.start()
            self.started = True
            self.clear()
            self.siblings.clear()
            if self.state:
                self.state.forget()
            error = self.connection.receive()
            if error is not None:
                return str(error)
            self.names = set(map(str, self.request("names")))
            for name, value in self.values.items():
                # What the tests hold stands for the same name in the new process.
                number = self.numbers.pop(id(self.request("value", name)))
                self._register(number, value)
        except (ConnectionLost, Exception) as lost:
            return str(lost) or type(lost).__name__
        return ""

    def value(self, name: str) -> Any:
        """Return the value of a global name of the solution. Raises `KeyError`."""
        if name not in self.names:
            raise KeyError(name)
        if name not in self.values:
            value = self.request("value", name)
            if not (callable(value) and self._is_foreign(value)):
                return value
            self.values[name] = value
        return self.values[name]

    def set_value(self, name: str, value: Any) -> None:
        """Set a global name of the solution."""
        self.request("set_value", name, value)
        self.names.add(name)
        self.values.pop(name, None)

    def delete_value(self, name: str) -> None:
        """Delete a global name of the solution. Raises `KeyError`."""
        self.request("delete_value", name)
        self.names.discard(name)
        self.values.pop(name, None)

    def operate(self, target: Any, name: str, arguments: Any, keywords: Any) -> Any:
        """See `Peer`. What cannot be right is exposed (`guard`)."""
        if name in GUARDED and len(arguments) == 1 and not self._is_foreign(arguments[0]):
            return self._guarded(target, name, arguments[0])
        try:
            result = super().operate(target, name, arguments, keywords)
        except ConnectionLost:
            self.connection.losses += 1
            raise
        if name == "__call__":
            self.reply = f"it gave {short_repr(result)}"
        sibling = self.siblings.get(id(target))
        if sibling is not None and name in NUMERIC:
            self._compare(result, super().operate(sibling[1], name, arguments, keywords), sibling[2])
        return result

    def _guarded(self, target: Any, name: str, value: Any) -> Any:
        forward = super().operate
        result, others = ask(lambda each: forward(target, name, [each], {}), name, value)
        sibling = self.siblings.get(id(target))
        if name in SHIFT:
            for shift, other in others:
                self._compare(result, other, shift)
            return result
        usual = EQUAL.get(name, True)
        others = [other for _, other in others]
        if sibling is not None:
            others.append(forward(sibling[1], name, [value], {}))
        if truth(result) is usual and any(truth(other) is usual for other in others):
            self.reply = REASON
            return not usual
        return result

    def _compare(self, result: Any, other: Any, shift: float) -> None:
        """Compare results for two values that differ by `shift`. Keep the second one if both are foreign objects."""
        if isinstance(result, NUMBERS) and isinstance(other, NUMBERS):
            if abs(float(result) - float(other)) < shift / 2:
                raise Inconsistent(REASON)
        elif self._is_foreign(result) and self._is_foreign(other):
            if result is other:
                raise Inconsistent(REASON)
            self.siblings[id(result)] = (result, other, shift)

    def _is_foreign(self, value: Any) -> bool:
        number = self.numbers.get(id(value), 0)
        return number < 0 and not (number in self.contents and type(value).__module__ in ("builtins", "collections"))

    def raised(self, error: BaseException, description: str) -> None:
        """See `Peer`."""
        self.reply = RAISED + str(description)[:300]

    def check_request(self, target: Any, name: str) -> None:
        """See `Peer`."""
        if self.numbers.get(id(target)) not in self.own:
            raise TypeError("not an object of the tests")
        if not is_allowed(target, name):
            raise AttributeError(f"{name[:80]} of an object of the tests is not accessible")
        if name in FORWARDED or name in PUBLIC or name in ("__copy__", "__await__"):
            return
        # Objects of classes that the tests define lead to nothing but what the tests put into them.
        kind = target if isinstance(target, type) else type(target)
        own = kind.__module__ == MODULE
        if own and (name in OPEN or not name.startswith("__") or (name == "__dict__" and target is not kind)):
            return
        if name.startswith(("_", *INTERNAL)):
            raise AttributeError(f"{name[:80]} of an object of the tests is not accessible")

    def serve_attribute(self, operation: str, target: Any, *arguments: Any) -> Any:
        """See `Peer`. Functions and classes of the tests cannot be changed."""
        if operation in ("set", "delete") and isinstance(target, (type, types.FunctionType)):
            raise AttributeError("functions and classes of the tests cannot be changed")
        if operation == "inherited":
            raise TypeError("classes of the tests have no subclasses in the solution")
        if arguments[0] == "__signature__" and isinstance(target, types.FunctionType):
            import inspect

            return inspect.signature(target)
        return super().serve_attribute(operation, target, *arguments)

    def serve_subclass(self, *arguments: Any) -> Any:
        """See `Peer`. A class of this process whose methods are the solution's could not be told from the tests'."""
        raise TypeError("classes of the tests have no subclasses in the solution")

    def check_shared(self, value: Any) -> None:
        """See `Peer`."""
        hidden = (
            types.FrameType,
            types.CodeType,
            types.TracebackType,
            types.ModuleType,
            types.CellType,
            Namespace,
            Peer,
            SolutionLink,
        )
        if (
            isinstance(value, hidden)
            or value is vars(builtins)
            or str(getattr(value, "__module__", "")).startswith("guest")
        ):
            raise TypeError(f"the tests cannot pass on {type(value).__name__} objects")

    def reference(self, value: Any) -> Any:
        """See `Peer`. What the standard library defines is passed on by name."""
        found: Any
        module: Any
        if isinstance(value, types.ModuleType):
            found, module, names = value, value.__name__, []
        else:
            owner = getattr(value, "__objclass__", value)
            module, names = getattr(owner, "__module__", None), str(getattr(value, "__qualname__", "")).split(".")
            found = sys.modules.get(str(module))
            for name in names:
                found = getattr(found, name, None)
        known = isinstance(module, str) and module.partition(".")[0] in sys.stdlib_module_names
        return ["imported", module, names] if known and found is value else None


def short_repr(value: Any) -> str:
    """Return the `repr` of a value, cut to 300 characters."""
    try:
        return repr(value)[:300]
    except ConnectionLost:
        raise
    except Exception:
        return f"an object of type {type(value).__name__}"
