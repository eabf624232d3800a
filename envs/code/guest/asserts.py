"""Runs tests that consist of assertions in one process, and the solution in another.

The test process reads the tests only after it has forked the process from which the solution's processes are forked.
The solution's process can neither trace the test process nor read its memory. All it can do is make tests fail. The two
processes exchange plain values. Any other object of the solution appears in the tests as a proxy (`Remote`).
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

from .calls import describe_error, load_solution
from .values import TAG, decode, encode, parse_json

MAX_MESSAGE_BYTES = 1 << 22
"""Maximum size of one message, in bytes."""
REQUEST_SECONDS = 3.0
"""Time limit of one request, in seconds. It also applies to a start."""
HUNG = "it took too long or crashed"
"""Reason for a failure by timeout or crash. The test process cannot tell them apart."""
MAX_STARTS, MAX_HANGS = 30, 2
"""Maximum numbers of starts and of hangs.

Once one is reached, the solution is not started again. After its process has ended, assertions that call it fail.
"""
HANG_SECONDS = 0.5
"""A request that fails without a reply after more than this many seconds counts as a hang."""


class SolutionError(Exception):
    """An exception of the solution that is not a built-in subclass of `Exception`."""


class ConnectionLost(Exception):
    """Raised when the other process has ended, hangs, or sends an invalid or too long message."""


# -- the solution's process -------------------------------------------------------------------------------------------


def serve_requests(connection: socket.socket, source: str, given: str) -> None:
    """Load the solution and serve calls and attribute look-ups until the connection closes."""
    kept: list[Any] = []

    def keep_object(value: Any) -> Any:
        kept.append(value)
        return {TAG: "remote", "v": len(kept) - 1, "text": repr(value)[:200]}

    def get_kept(data: Any) -> Any:
        return kept[data["v"]]

    try:
        names = load_solution(source, given)
    except BaseException as error:
        send(connection, {"error": [type(error).__name__, describe_error(error)]})
        return
    names_to_send = [name for name in names if not name.startswith("__")]
    send(connection, {"names": {name: encode(names[name], keep_object) for name in names_to_send}})
    while True:
        request = parse_json(receive(connection))
        try:
            target = kept[request["target"]]
            if "attribute" in request:
                value = getattr(target, request["attribute"])
            else:
                keywords = {name: decode(item, get_kept) for name, item in request["keywords"].items()}
                value = target(*(decode(item, get_kept) for item in request["arguments"]), **keywords)
            reply: dict[str, Any] = {"value": encode(value, keep_object)}
        except BaseException as error:
            reply = {"error": [type(error).__name__, describe_error(error)]}
        send(connection, reply)


# -- messages ---------------------------------------------------------------------------------------------------------


def send(connection: socket.socket, message: Any) -> None:
    """Send one message."""
    data = json.dumps(message).encode()
    connection.sendall(len(data).to_bytes(8, "big") + data)


def receive(connection: socket.socket) -> bytes:
    """Receive one message. Raises `ConnectionLost` if the connection is closed or the message is too long."""
    size = int.from_bytes(_receive_bytes(connection, 8), "big")
    if size > MAX_MESSAGE_BYTES:
        raise ConnectionLost(HUNG)
    return _receive_bytes(connection, size)


def _receive_bytes(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        block = connection.recv(min(1 << 16, size - len(data)))
        if not block:
            raise ConnectionLost(HUNG)
        data += block
    return bytes(data)


# -- the spawner ------------------------------------------------------------------------------------------------------


def spawn_on_request(spawn_requests: socket.socket, source: str, given: str) -> None:
    """Fork a process that serves the solution for each socket received. The calling process never runs the solution."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, fds, _, _ = socket.recv_fds(spawn_requests, 1, 1)
        if not message:
            return
        if os.fork() == 0:
            spawn_requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                serve_requests(socket.socket(fileno=fds[0]), source, given)
            finally:
                os._exit(0)
        os.close(fds[0])


# -- the test process -------------------------------------------------------------------------------------------------


class SolutionConnection:
    """The test process's connection to the solution's process."""

    def __init__(self, spawn_requests: socket.socket) -> None:
        self.spawn_requests = spawn_requests
        self.starts = self.hangs = 0
        self.connection: socket.socket | None = None
        self.names: dict[str, Any] = {}
        self.last_reply = ""
        """Description of the last reply, for failure messages."""

    def start(self) -> str:
        """Start a new process for the solution. Return why that failed, or an empty string if it succeeded."""
        if self.starts == MAX_STARTS or self.hangs == MAX_HANGS:
            return HUNG
        self.starts += 1
        self.connection, theirs = socket.socketpair()
        socket.send_fds(self.spawn_requests, [b"x"], [theirs.fileno()])
        theirs.close()
        try:
            reply = self._exchange(None)
        except ConnectionLost as error:
            return str(error)
        if "error" in reply:
            return str(reply["error"][1])
        self.names = {name: decode(item, self._remote) for name, item in reply["names"].items()}
        return ""

    def send_request(self, **request: Any) -> Any:
        """Send one request and return the value.

        Raises the exception that the solution raised, as `SolutionError` if it is not a built-in one.
        """
        reply = self._exchange(request)
        if "error" in reply:
            name, text = reply["error"]
            self.last_reply = f"it raised {text}"
            kind = getattr(builtins, name, None)
            fits = isinstance(kind, type) and issubclass(kind, Exception)
            raise (kind if fits else SolutionError)(text)  # type: ignore[misc]
        value = decode(reply["value"], self._remote)
        self.last_reply = f"it gave {repr(value)[:300]}"
        return value

    def _remote(self, data: Any) -> Any:
        if data.get(TAG) != "remote":
            raise ValueError("not a value")
        return Remote(self, data["v"], str(data["text"]))

    def _exchange(self, request: Any) -> Any:
        connection = self.connection
        if connection is None:
            raise ConnectionLost(HUNG)
        connection.settimeout(REQUEST_SECONDS)
        started = time.monotonic()
        try:
            if request is not None:
                send(connection, request)
            reply = parse_json(receive(connection))
            return reply if isinstance(reply, dict) else {"error": ["ValueError", "not an answer"]}
        except (OSError, ValueError, ConnectionLost):
            self.hangs += time.monotonic() - started > HANG_SECONDS
            connection.close()
            self.connection = None
            raise ConnectionLost(HUNG) from None


class Remote:
    """A proxy in the tests for an object of the solution that is not a plain value, such as a function or a class."""

    def __init__(self, solution: SolutionConnection, number: int, text: str) -> None:
        self.__dict__["_about"] = (solution, number, text)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the object in the solution's process."""
        solution, number, _ = self._about
        return solution.send_request(
            target=number,
            arguments=[encode(item, _encode_remote) for item in arguments],
            keywords={name: encode(item, _encode_remote) for name, item in keywords.items()},
        )

    def __getattr__(self, name: str) -> Any:
        solution, number, _ = self._about
        return solution.send_request(target=number, attribute=name)

    def __repr__(self) -> str:
        return str(self._about[2])


def _encode_remote(value: Any) -> Any:
    if isinstance(value, Remote):
        return {TAG: "remote", "v": value._about[1]}
    raise TypeError(f"tests cannot pass {type(value).__name__} objects to a solution")


class Namespace(dict):  # type: ignore[type-arg]
    """Global names of the tests. Names that neither the tests nor Python define are looked up in the solution.

    The function to write is looked up there even if Python defines its name.
    """

    def __init__(self, solution: SolutionConnection, entry: str) -> None:
        super().__init__()
        self.solution = solution
        self.entry = entry

    def __missing__(self, name: str) -> Any:
        if name != self.entry:
            # Tests must not see the solution's definition of a built-in or standard module, such as `abs` or `math`.
            if hasattr(builtins, name):
                raise KeyError(name)
            if name in sys.stdlib_module_names:
                return importlib.import_module(name)
        return self.solution.names[name]


class AssertRecorder(ast.NodeTransformer):
    """Rewrites each assertion so that its outcome is recorded and the tests continue after a failure."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        """Turn `assert x` into `with __note__(number): assert x`."""
        self.texts.append(ast.unparse(ast.Assert(node.test, None)))
        recording = ast.parse(f"with __note__({len(self.texts) - 1}):\n    pass").body[0]
        assert isinstance(recording, ast.With)
        recording.body = [node]
        return ast.copy_location(recording, node)


class AssertLog:
    """The outcome of each assertion."""

    def __init__(self, solution: SolutionConnection) -> None:
        self.solution = solution
        self.failed: dict[int, str] = {}
        self.reached: set[int] = set()

    @contextlib.contextmanager
    def record(self, number: int) -> Iterator[None]:
        """Record the outcome of one assertion and suppress its exception."""
        self.reached.add(number)
        self.solution.last_reply = ""
        try:
            yield
        except ConnectionLost:
            self.failed.setdefault(number, HUNG)
            self.solution.start()
        except Exception as error:
            reply = self.solution.last_reply if isinstance(error, (AssertionError, SolutionError)) else ""
            self.failed.setdefault(number, reply or f"{type(error).__name__}: {error}"[:300])


def run_tests(solution: SolutionConnection, setup: str, tests: str, entry: str) -> dict[str, Any]:
    """Run the tests.

    Returns:
        `passed` and `total` (numbers of assertions), and `failed`: pairs of an assertion's text and the reason for
        its failure.
    """
    recorder = AssertRecorder()
    tree = ast.fix_missing_locations(recorder.visit(ast.parse(tests)))
    assert_log = AssertLog(solution)
    names = Namespace(solution, entry)
    names.update(__builtins__=builtins, __name__="tests", __note__=assert_log.record)
    failure = solution.start()
    try:
        if not failure:
            exec(compile(setup, "setup.py", "exec"), names)
            # The setup may define a stub of the function to write.
            names.pop(entry, None)
            if entry and entry not in solution.names:
                raise LookupError(f"there is no function {entry} in it")
            exec(compile(tree, "tests.py", "exec"), names)
            if callable(names.get("check")) and entry:
                names["check"](names[entry])
    except BaseException as error:
        failure = (
            str(error) if isinstance(error, (LookupError, ConnectionLost)) else f"{type(error).__name__}: {error}"[:300]
        )
    total = len(recorder.texts)
    missed = dict.fromkeys(set(range(total)) - assert_log.reached, failure or "not reached")
    failed = {**missed, **assert_log.failed}
    return {
        "passed": total - len(failed),
        "total": total,
        "failed": [[recorder.texts[number][:300], failed[number]] for number in sorted(failed)],
    }


def main() -> None:
    """Read the solution, fork the spawner, and only then read the tests. Write the verdict as JSON."""
    size = int.from_bytes(os.read(0, 8), "big")
    solution_input = json.loads(_read(size))
    spawn_requests, theirs = socket.socketpair()
    verdict_fd = os.dup(1)
    os.dup2(2, 1)
    spawner = os.fork()
    if spawner == 0:
        os.close(0)
        os.close(verdict_fd)
        spawn_requests.close()
        spawn_on_request(theirs, solution_input["solution"], solution_input["given"])
        os._exit(0)
    theirs.close()
    test_input = json.loads(sys.stdin.buffer.read())
    verdict = run_tests(
        SolutionConnection(spawn_requests), test_input["setup"], test_input["tests"], test_input["entry"]
    )
    os.write(verdict_fd, json.dumps(verdict).encode())
    os._exit(0)


def _read(size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(0, size - len(data))
    return data
