"""The tests' end of the connection to the solution. The solution may use what it was given, but not look behind it."""

from __future__ import annotations

import ast
import builtins
import json
import os
import socket
import sys
import types
from functools import partial
from typing import Any

from .coroutines import is_allowed
from .guard import (
    DIFFERENCE,
    EQUAL,
    FOLLOWED,
    GUARDED,
    NUMBERS,
    ORDER,
    OTHERS,
    RATIO,
    REASON,
    SETS,
    Form,
    Inconsistent,
    Unknown,
    agrees,
    check_number,
    content,
    copied,
    extremes,
    far_from,
    follow,
    in_random_order,
    truth,
)
from .link import CHANNEL, HEADER_BYTES, MAX_MESSAGE_BYTES, ConnectionLost
from .mirror import FORWARDED, real_type
from .namespace import MODULE, Namespace
from .peer import Peer
from .values import is_data_type

START, MESSAGE, VERDICT = b"S", b"M", b"V"
"""Kinds of frames to the host: a request for a new process of the solution, a message for the solution, the verdict.

A frame from the host is a message of the solution (`MESSAGE`) or says why its process has ended.
"""
MAX_STARTS, MAX_HANGS = 30, 2
"""Once this many starts or hangs were counted, the solution is not started again."""
NOT_RUN = "it was not run"
RAISED = "it raised "
PUBLIC = (
    *(f"__{name}__" for name in "name qualname doc module annotations isabstractmethod signature init".split()),
    "_asyncio_future_blocking",
    "_log_destroy_pending",
)
"""Attributes with underscores that the solution may read."""
OPEN = ("__dataclass_fields__", "__match_args__", "__members__", "_fields", "_make", "_asdict", "_replace")
"""Further ones of the classes that the tests define, and of their objects."""
COPIED = ("__annotations__", "__dataclass_fields__")
"""Attributes of which the solution gets a copy."""
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
        self.behind: dict[int, tuple[Any, Any]] = {}
        """By `id` of a difference that is an object of the solution: this, and the number that it must be, or None."""
        self.reply = ""
        """What the last call gave or raised, for messages."""

    def start(self) -> str:
        """Start the solution anew. Return why it cannot be loaded, or an empty string."""
        try:
            if self.started:
                self.connection.start()
            self.started = True
            self.clear()
            self.behind.clear()
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
            if name in DIFFERENCE or name in RATIO:
                return self._difference(target, name, arguments[0])
            return self._comparison(target, name, arguments[0])
        try:
            result = super().operate(target, name, arguments, keywords)
        except ConnectionLost:
            self.connection.losses += 1
            raise
        if id(target) in self.behind and name in FOLLOWED:
            self._follow(target, name, arguments, self.behind[id(target)][1], result)
        if name == "__call__":
            self.reply = f"it gave {short_repr(result)}"
        return result

    def attribute(self, operation: str, target: Any, *arguments: Any) -> Any:
        """See `Peer`. `typing.get_type_hints` evaluates annotations, so they must be nothing but types."""
        result = super().attribute(operation, target, *arguments)
        if operation == "get" and arguments[0] == "__annotations__" and isinstance(result, dict):
            return safe_annotations(result)
        return result

    def _form(self, target: Any) -> Form:
        """Return what an object of the solution is in plain form."""
        behind = self.behind.get(id(target))
        base = [] if behind else content(target)
        form = Form(base, None if base else self.request("data", target))
        if behind:
            form.number = behind[1]
        return form

    def _comparison(self, target: Any, name: str, value: Any) -> Any:
        """Apply an operator to a value if the object itself has named it."""
        others: list[Any] = []
        try:
            is_named = agrees(name, self._form(target), value)
        except Unknown:
            # What an object contains may be a whole range of values.
            if name == "__contains__":
                others = [far_from(value) for _ in range(OTHERS)]
            elif name in ORDER:
                others = extremes(value, ORDER[name])
            is_named = bool(others)
        if not is_named:
            self.reply = REASON
            return NotImplemented if name in EQUAL else False
        answers = in_random_order([partial(self._answer, target, name, each) for each in (copied(value), *others)])
        if isinstance(answers[0], Exception):
            raise answers[0]
        if answers[0] is True and True in answers[1:]:
            self.reply = REASON
            return False
        return answers[0]

    def _answer(self, target: Any, name: str, value: Any) -> Any:
        return truth(super().operate(target, name, [value], {}))

    def _difference(self, target: Any, name: str, value: Any) -> Any:
        """Apply an operator to a value. The result must follow from what the object is."""
        form = self._form(target) if isinstance(value, (*NUMBERS, *SETS)) else None
        result = super().operate(target, name, [copied(value)], {})
        if form and isinstance(value, SETS):
            try:
                expected = getattr(form.like(value), name)(value)
            except Unknown:
                raise Inconsistent(REASON) from None
            if isinstance(result, SETS) and result != expected:
                raise Inconsistent(REASON)
            # An object of the solution could say that it is empty.
            return expected if self._is_foreign(result) else result
        elif form and isinstance(value, NUMBERS) and not (name in RATIO and form.number is None):
            self._follow(target, name, [value], form.number, result)
        return result

    def _follow(self, target: Any, name: str, arguments: Any, number: Any, result: Any) -> None:
        """Compare a result with that for the number which the object is. None: it is no number."""
        expected = None if number is None else follow(name, number, arguments)
        if self._is_foreign(result):
            self.behind[id(result)] = (result, expected)
        plain = (content(result) or [result])[0]
        if expected is not None:
            check_number(name, expected, plain)
        elif number is None and type(plain) in NUMBERS:
            raise Inconsistent(REASON)

    def _is_foreign(self, value: Any) -> bool:
        number = self.numbers.get(id(value), 0)
        return number < 0 and not (number in self.contents and type(value).__module__ in ("builtins", "collections"))

    def raised(self, error: BaseException, description: str) -> None:
        """See `Peer`."""
        if not isinstance(error, (StopIteration, StopAsyncIteration)):
            # These are how iterators and coroutines end.
            self.reply = RAISED + str(description)[:300]

    def check_request(self, target: Any, name: str) -> None:
        """See `Peer`."""
        if self.numbers.get(id(target)) not in self.own:
            raise TypeError("not an object of the tests")
        if not is_allowed(target, name):
            raise AttributeError(f"{name[:80]} of an object of the tests is not accessible")
        if name in FORWARDED or name in PUBLIC or name in ("__copy__", "__await__"):
            return
        # What an object of a class of the tests holds has been put there by the tests.
        kind = target if isinstance(target, type) else type(target)
        if kind.__module__ == MODULE:
            is_open = name.startswith("_") and not name.startswith("__") and not name.startswith("_value2member")
            if name in OPEN or (target is not kind and (is_open or name == "__dict__")):
                return
        if name.startswith(("_", *INTERNAL)):
            raise AttributeError(f"{name[:80]} of an object of the tests is not accessible")

    def serve_attribute(self, operation: str, target: Any, *arguments: Any) -> Any:
        """See `Peer`. Functions and classes of the tests cannot be changed."""
        if operation in ("set", "delete") and isinstance(target, (type, types.FunctionType)):
            raise AttributeError("functions and classes of the tests cannot be changed")
        if operation in ("inherited", "raw"):
            raise TypeError("classes of the tests have no subclasses in the solution")
        if operation == "copy" and any(name.startswith("__") for name in getattr(target, "__dict__", ())):
            raise TypeError("an object of the tests whose attributes say how it is copied cannot be copied")
        if operation == "get" and arguments[0] in COPIED:
            return dict(super().serve_attribute(operation, target, *arguments))
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

    def shown(self, name: str, value: Any) -> Any:
        """See `Peer`."""
        shown = super().shown(name, value)
        return safe_annotations(shown) if name == "__annotations__" else shown

    def type_value(self, name: str) -> Any:
        """See `Peer`. The solution must not choose what other code of the tests calls."""
        if not is_data_type(real_type(name)):
            raise ValueError("not a type of data")
        return real_type(name)

    def reference(self, value: Any) -> Any:
        """See `Peer`. What the standard library defines is passed on by name."""
        owner = value if isinstance(value, types.ModuleType) else getattr(value, "__objclass__", value)
        module = owner.__name__ if owner is value and isinstance(value, types.ModuleType) else None
        names: list[str] = []
        if module is None:
            module = getattr(owner, "__module__", None)
            names = str(getattr(value, "__qualname__", "")).split(".")
        if not isinstance(module, str) or module.partition(".")[0] not in sys.stdlib_module_names:
            return None
        found: Any = sys.modules.get(module)
        for name in names:
            found = getattr(found, name, None)
        return ["imported", module, names] if found is value else None


def safe_annotations(annotations: Any) -> dict[str, Any]:
    """Return annotations in which texts that are no plain expressions of types are replaced by `object`."""
    found = annotations.items() if isinstance(annotations, dict) else ()
    return {str(name): value if _is_safe(value) else "object" for name, value in found}


def _is_safe(value: Any) -> bool:
    if not isinstance(value, str):
        return True
    allowed = (ast.Expression, ast.Name, ast.Attribute, ast.Subscript, ast.Tuple, ast.List, ast.Constant, ast.BinOp)
    try:
        nodes = list(ast.walk(ast.parse(value, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    names = [getattr(node, "attr", getattr(node, "id", "")) for node in nodes]
    is_plain = all(isinstance(node, (*allowed, ast.BitOr, ast.Load)) for node in nodes)
    return is_plain and not any(name.startswith("_") for name in names)


def short_repr(value: Any) -> str:
    """Return the `repr` of a value, cut to 300 characters."""
    try:
        return repr(value)[:300]
    except ConnectionLost:
        raise
    except Exception:
        return f"an object of type {type(value).__name__}"
