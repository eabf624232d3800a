"""Runs tests that are Python code in one process and the solution in another one.

The test process reads the tests only after the solution's process has been forked. The solution's process can neither
trace nor read the test process; it can only make tests fail. The two processes exchange plain values. Any other object
of the solution appears in the tests as a proxy (`Remote`).
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

MAX_ANSWER_BYTES = 1 << 22
"""Maximum size of one answer, in bytes."""
CALL_SECONDS = 3.0
"""Timeout of one call."""
HUNG = "it took too long or crashed"
"""Reason shown for both cases, since the test process cannot tell them apart."""
MAX_STARTS, MAX_HANGS = 30, 2
"""How often the solution is started and how often it may hang. After that, the remaining tests count as failed."""
HANG_SECONDS = 0.5
"""If the solution's process ends without an answer after more than this many seconds, it counts as a hang."""


class SolutionError(Exception):
    """An exception of the solution whose type is not a built-in one."""


class ProcessDied(Exception):
    """Raised when the solution's process has ended or hangs."""


# -- the solution's process -------------------------------------------------------------------------------------------


def serve_calls(connection: socket.socket, source: str, given: str) -> None:
    """Load the solution and answer calls until the connection closes."""
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
    shown = [name for name in names if not name.startswith("__")]
    send(connection, {"names": {name: encode(names[name], keep_object) for name in shown}})
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


def send(connection: socket.socket, message: Any) -> None:
    """Send one message."""
    data = json.dumps(message).encode()
    connection.sendall(len(data).to_bytes(8, "big") + data)


def receive(connection: socket.socket) -> bytes:
    """Receive one message. Raises `ProcessDied` if the connection is closed or the message is too long."""
    size = int.from_bytes(_exactly(connection, 8), "big")
    if size > MAX_ANSWER_BYTES:
        raise ProcessDied(HUNG)
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        got = connection.recv(min(1 << 16, size - len(data)))
        if not got:
            raise ProcessDied(HUNG)
        data += got
    return bytes(data)


def spawn_on_request(spawn_requests: socket.socket, source: str, given: str) -> None:
    """Fork a new process of the solution for each socket that is received. This process never runs the solution."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, fds, _, _ = socket.recv_fds(spawn_requests, 1, 1)
        if not message:
            return
        if os.fork() == 0:
            spawn_requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                serve_calls(socket.socket(fileno=fds[0]), source, given)
            finally:
                os._exit(0)
        os.close(fds[0])


# -- the tests' process -----------------------------------------------------------------------------------------------


class Solution:
    """The test process's connection to the solution's process."""

    def __init__(self, spawn_requests: socket.socket) -> None:
        self.spawn_requests = spawn_requests
        self.starts = self.hangs = 0
        self.connection: socket.socket | None = None
        self.names: dict[str, Any] = {}
        self.last_result = ""
        """Description of the last call's result, for failure messages."""

    def start(self) -> str:
        """Start a new process of the solution. Return why that failed, or an empty string."""
        if self.starts == MAX_STARTS or self.hangs == MAX_HANGS:
            return HUNG
        self.starts += 1
        self.connection, theirs = socket.socketpair()
        socket.send_fds(self.spawn_requests, [b"x"], [theirs.fileno()])
        theirs.close()
        try:
            reply = self._exchange(None)
        except ProcessDied as error:
            return str(error)
        if "error" in reply:
            return str(reply["error"][1])
        self.names = {name: decode(item, self._remote) for name, item in reply["names"].items()}
        return ""

    def send_request(self, **request: Any) -> Any:
        """Send one call and return its value. Raises the exception that the solution raised."""
        reply = self._exchange(request)
        if "error" in reply:
            name, text = reply["error"]
            self.last_result = f"it raised {text}"
            kind = getattr(builtins, name, None)
            fits = isinstance(kind, type) and issubclass(kind, Exception)
            raise (kind if fits else SolutionError)(text)  # type: ignore[misc]
        value = decode(reply["value"], self._remote)
        self.last_result = f"it gave {repr(value)[:300]}"
        return value

    def _remote(self, data: Any) -> Any:
        if data.get(TAG) != "remote":
            raise ValueError("not a value")
        return Remote(self, data["v"], str(data["text"]))

    def _exchange(self, request: Any) -> Any:
        connection = self.connection
        if connection is None:
            raise ProcessDied(HUNG)
        connection.settimeout(CALL_SECONDS)
        begun = time.monotonic()
        try:
            if request is not None:
                send(connection, request)
            reply = parse_json(receive(connection))
            return reply if isinstance(reply, dict) else {"error": ["ValueError", "not an answer"]}
        except (OSError, ValueError, ProcessDied):
            self.hangs += time.monotonic() - begun > HANG_SECONDS
            connection.close()
            self.connection = None
            raise ProcessDied(HUNG) from None


class Remote:
    """A proxy in the tests for an object of the solution that is not a plain value, such as a function or a class."""

    def __init__(self, solution: Solution, number: int, text: str) -> None:
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
    """Global names of the tests. Names that neither the tests nor Python define are looked up in the solution."""

    def __init__(self, solution: Solution, entry: str) -> None:
        super().__init__()
        self.solution = solution
        self.entry = entry

    def __missing__(self, name: str) -> Any:
        if name != self.entry:
            # The tests must not use a solution's own definition of `abs` or `math`.
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
        call = ast.parse(f"with __note__({len(self.texts) - 1}):\n    pass").body[0]
        assert isinstance(call, ast.With)
        call.body = [node]
        return ast.copy_location(call, node)


class AssertLog:
    """The outcome of each assertion."""

    def __init__(self, solution: Solution) -> None:
        self.solution = solution
        self.failed: dict[int, str] = {}
        self.reached: set[int] = set()

    @contextlib.contextmanager
    def check(self, number: int) -> Iterator[None]:
        """Record the outcome of one assertion and suppress its exception."""
        self.reached.add(number)
        self.solution.last_result = ""
        try:
            yield
        except ProcessDied:
            self.failed.setdefault(number, HUNG)
            self.solution.start()
        except Exception as error:
            result = self.solution.last_result if isinstance(error, (AssertionError, SolutionError)) else ""
            self.failed.setdefault(number, result or f"{type(error).__name__}: {error}"[:300])


def run_tests(solution: Solution, setup: str, tests: str, entry: str) -> dict[str, Any]:
    """Run the tests.

    Returns:
        `passed` and `total` (numbers of assertions), and `failed`: pairs of an assertion's text and the reason.
    """
    recorder = AssertRecorder()
    tree = ast.fix_missing_locations(recorder.visit(ast.parse(tests)))
    assert_log = AssertLog(solution)
    names = Namespace(solution, entry)
    names.update(__builtins__=builtins, __name__="tests", __note__=assert_log.check)
    failure = solution.start()
    try:
        if not failure:
            exec(compile(setup, "setup.py", "exec"), names)
            # The set-up may contain a stub of the function to write.
            names.pop(entry, None)
            if entry and entry not in solution.names:
                raise LookupError(f"there is no function {entry} in it")
            exec(compile(tree, "tests.py", "exec"), names)
            if callable(names.get("check")) and entry:
                names["check"](names[entry])
    except BaseException as error:
        failure = (
            str(error) if isinstance(error, (LookupError, ProcessDied)) else f"{type(error).__name__}: {error}"[:300]
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
    """Read the solution, start its process, and only then read the tests. Write the verdict as JSON."""
    size = int.from_bytes(os.read(0, 8), "big")
    request = json.loads(_read(size))
    spawn_requests, theirs = socket.socketpair()
    verdict = os.dup(1)
    os.dup2(2, 1)
    spawner = os.fork()
    if spawner == 0:
        os.close(0)
        os.close(verdict)
        spawn_requests.close()
        spawn_on_request(theirs, request["solution"], request["given"])
        os._exit(0)
    theirs.close()
    rest = json.loads(sys.stdin.buffer.read())
    result = run_tests(Solution(spawn_requests), rest["setup"], rest["tests"], rest["entry"])
    os.write(verdict, json.dumps(result).encode())
    os._exit(0)


def _read(size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(0, size - len(data))
    return data
