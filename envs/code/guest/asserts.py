"""Tests that are Python code: they run in one process and the solution in another, which cannot reach them.

The tests read themselves only after the solution's process has been forked off, and that process can neither trace nor
read theirs; all it can do to them is to make them fail. Between the two go plain values; of anything else, the tests
get a `Remote` that stands for it.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

from .calls import failure, load
from .values import TAG, decode, encode, loads

MOST = 1 << 22
"""Bytes that one answer may have."""
CALL_SECONDS = 3.0
HUNG = "it took too long or crashed"
"""Which of the two it was, the tests cannot see."""
STARTS, HANGS = 30, 2
"""How often the solution is started, and how often it may hang; what is left then counts as failed."""
HANGING = 0.5
"""Seconds after which an end without an answer counts as hanging."""


class SolutionError(Exception):
    """An exception of the solution that is not one of Python's own."""


class Died(Exception):
    """The solution's process has ended or hangs."""


# -- the solution's process -------------------------------------------------------------------------------------------


def serve(connection: socket.socket, source: str, given: str) -> None:
    """Load the solution, then answer calls until the tests have no more."""
    kept: list[Any] = []

    def keep(value: Any) -> Any:
        kept.append(value)
        return {TAG: "remote", "v": len(kept) - 1, "text": repr(value)[:200]}

    def kept_one(data: Any) -> Any:
        return kept[data["v"]]

    try:
        names = load(source, given)
    except BaseException as error:
        send(connection, {"error": [type(error).__name__, failure(error)]})
        return
    shown = [name for name in names if not name.startswith("__")]
    send(connection, {"names": {name: encode(names[name], keep) for name in shown}})
    while True:
        request = loads(receive(connection))
        try:
            target = kept[request["target"]]
            if "attribute" in request:
                value = getattr(target, request["attribute"])
            else:
                keywords = {name: decode(item, kept_one) for name, item in request["keywords"].items()}
                value = target(*(decode(item, kept_one) for item in request["arguments"]), **keywords)
            said: dict[str, Any] = {"value": encode(value, keep)}
        except BaseException as error:
            said = {"error": [type(error).__name__, failure(error)]}
        send(connection, said)


def send(connection: socket.socket, what: Any) -> None:
    """One message."""
    data = json.dumps(what).encode()
    connection.sendall(len(data).to_bytes(8, "big") + data)


def receive(connection: socket.socket) -> bytes:
    """One message; raises `Died` at the end or when it is too long."""
    size = int.from_bytes(_exactly(connection, 8), "big")
    if size > MOST:
        raise Died(HUNG)
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        got = connection.recv(min(1 << 16, size - len(data)))
        if not got:
            raise Died(HUNG)
        data += got
    return bytes(data)


def breed(orders: socket.socket, source: str, given: str) -> None:
    """Fork a fresh process of the solution for each socket that is passed; this process never runs it."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, fds, _, _ = socket.recv_fds(orders, 1, 1)
        if not message:
            return
        if os.fork() == 0:
            orders.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                serve(socket.socket(fileno=fds[0]), source, given)
            finally:
                os._exit(0)
        os.close(fds[0])


# -- the tests' process -----------------------------------------------------------------------------------------------


class Solution:
    """The solution as the tests see it."""

    def __init__(self, orders: socket.socket) -> None:
        self.orders = orders
        self.starts = self.hangs = 0
        self.connection: socket.socket | None = None
        self.names: dict[str, Any] = {}
        self.last = ""
        """What the last call gave, for messages."""

    def start(self) -> str:
        """Have a fresh process; returns why that was not possible, or nothing."""
        if self.starts == STARTS or self.hangs == HANGS:
            return HUNG
        self.starts += 1
        self.connection, theirs = socket.socketpair()
        socket.send_fds(self.orders, [b"x"], [theirs.fileno()])
        theirs.close()
        try:
            said = self._exchange(None)
        except Died as died:
            return str(died)
        if "error" in said:
            return str(said["error"][1])
        self.names = {name: decode(item, self._remote) for name, item in said["names"].items()}
        return ""

    def ask(self, **request: Any) -> Any:
        """One call; raises what the solution raised."""
        said = self._exchange(request)
        if "error" in said:
            name, text = said["error"]
            self.last = f"it raised {text}"
            kind = getattr(builtins, name, None)
            fits = isinstance(kind, type) and issubclass(kind, Exception)
            raise (kind if fits else SolutionError)(text)  # type: ignore[misc]
        value = decode(said["value"], self._remote)
        self.last = f"it gave {repr(value)[:300]}"
        return value

    def _remote(self, data: Any) -> Any:
        if data.get(TAG) != "remote":
            raise ValueError("not a value")
        return Remote(self, data["v"], str(data["text"]))

    def _exchange(self, request: Any) -> Any:
        connection = self.connection
        if connection is None:
            raise Died(HUNG)
        connection.settimeout(CALL_SECONDS)
        begun = time.monotonic()
        try:
            if request is not None:
                send(connection, request)
            said = loads(receive(connection))
            return said if isinstance(said, dict) else {"error": ["ValueError", "not an answer"]}
        except (OSError, ValueError, Died):
            self.hangs += time.monotonic() - begun > HANGING
            connection.close()
            self.connection = None
            raise Died(HUNG) from None


class Remote:
    """Something of the solution that is no plain value: a function, a class, an object."""

    def __init__(self, solution: Solution, number: int, text: str) -> None:
        self.__dict__["_about"] = (solution, number, text)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call it where it is."""
        solution, number, _ = self._about
        return solution.ask(
            target=number,
            arguments=[encode(item, _by_number) for item in arguments],
            keywords={name: encode(item, _by_number) for name, item in keywords.items()},
        )

    def __getattr__(self, name: str) -> Any:
        solution, number, _ = self._about
        return solution.ask(target=number, attribute=name)

    def __repr__(self) -> str:
        return str(self._about[2])


def _by_number(value: Any) -> Any:
    if isinstance(value, Remote):
        return {TAG: "remote", "v": value._about[1]}
    raise TypeError(f"tests cannot pass {type(value).__name__} objects to a solution")


class Names(dict):  # type: ignore[type-arg]
    """Names of the tests; those that neither they nor Python define are the solution's."""

    def __init__(self, solution: Solution, entry: str) -> None:
        super().__init__()
        self.solution = solution
        self.entry = entry

    def __missing__(self, name: str) -> Any:
        if name != self.entry:
            # A solution that brings its own `abs` or `math` must not judge itself by them.
            if hasattr(builtins, name):
                raise KeyError(name)
            if name in sys.stdlib_module_names:
                return importlib.import_module(name)
        return self.solution.names[name]


class Record(ast.NodeTransformer):
    """Makes each assertion note how it went, instead of ending the tests."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        """`assert x` becomes `with __note__(number): assert x`."""
        self.texts.append(ast.unparse(ast.Assert(node.test, None)))
        call = ast.parse(f"with __note__({len(self.texts) - 1}):\n    pass").body[0]
        assert isinstance(call, ast.With)
        call.body = [node]
        return ast.copy_location(call, node)


class Note:
    """What became of each assertion."""

    def __init__(self, solution: Solution) -> None:
        self.solution = solution
        self.failed: dict[int, str] = {}
        self.reached: set[int] = set()

    @contextlib.contextmanager
    def on(self, number: int) -> Iterator[None]:
        """Notes how one assertion went, and lets the tests go on."""
        self.reached.add(number)
        self.solution.last = ""
        try:
            yield
        except Died:
            self.failed.setdefault(number, HUNG)
            self.solution.start()
        except Exception as error:
            said = self.solution.last if isinstance(error, (AssertionError, SolutionError)) else ""
            self.failed.setdefault(number, said or f"{type(error).__name__}: {error}"[:300])


def judge(solution: Solution, setup: str, tests: str, entry: str) -> dict[str, Any]:
    """Run the tests; returns `passed`, `total` and `failed` (text of each failed assertion and why)."""
    record = Record()
    tree = ast.fix_missing_locations(record.visit(ast.parse(tests)))
    note = Note(solution)
    names = Names(solution, entry)
    names.update(__builtins__=builtins, __name__="tests", __note__=note.on)
    ended = solution.start()
    try:
        if not ended:
            exec(compile(setup, "setup.py", "exec"), names)
            # The set-up may hold the head of the very function that is asked for.
            names.pop(entry, None)
            if entry and entry not in solution.names:
                raise LookupError(f"there is no function {entry} in it")
            exec(compile(tree, "tests.py", "exec"), names)
            if callable(names.get("check")) and entry:
                names["check"](names[entry])
    except BaseException as error:
        ended = str(error) if isinstance(error, (LookupError, Died)) else f"{type(error).__name__}: {error}"[:300]
    total = len(record.texts)
    missed = dict.fromkeys(set(range(total)) - note.reached, ended or "not reached")
    failed = {**missed, **note.failed}
    return {
        "passed": total - len(failed),
        "total": total,
        "failed": [[record.texts[number][:300], failed[number]] for number in sorted(failed)],
    }


def main() -> None:
    """Read the solution, start its process, and only then read the tests; write the verdict as JSON."""
    size = int.from_bytes(os.read(0, 8), "big")
    request = json.loads(_read(size))
    orders, theirs = socket.socketpair()
    verdict = os.dup(1)
    os.dup2(2, 1)
    breeder = os.fork()
    if breeder == 0:
        os.close(0)
        os.close(verdict)
        orders.close()
        breed(theirs, request["solution"], request["given"])
        os._exit(0)
    theirs.close()
    rest = json.loads(sys.stdin.buffer.read())
    said = judge(Solution(orders), rest["setup"], rest["tests"], rest["entry"])
    os.write(verdict, json.dumps(said).encode())
    os._exit(0)


def _read(size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(0, size - len(data))
    return data
