"""Calls a solution's function and returns its values. Only the host knows the expected values."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from .values import decode, encode

FILE = "solution.py"


def load_solution(source: str, given: str = "") -> dict[str, Any]:
    """Run the code in `given` and then the solution. Return the global names."""
    names: dict[str, Any] = {"__name__": "solution", "__builtins__": __builtins__}
    exec(compile(given, "given.py", "exec", dont_inherit=True), names)
    exec(compile(source, FILE, "exec", dont_inherit=True), names)
    return names


def describe_error(error: BaseException) -> str:
    """Return an exception as one line, with the number of the innermost line of the solution in its traceback."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == FILE]
    if isinstance(error, SyntaxError) and error.filename == FILE:
        lines, message = [error.lineno], error.msg
    else:
        message = str(error)
    text = type(error).__name__ + (f": {message[:300]}" if message else "")
    return f"{text} (line {lines[-1]})" if lines else text


def run_call(names: dict[str, Any], entry: str, arguments: Any) -> dict[str, Any]:
    """Call the function once. Return its `value` or `error`."""
    try:
        return {"value": encode(names[entry](*decode(arguments)))}
    except BaseException as error:
        return {"error": describe_error(error)}


def main() -> None:
    """Read requests with `solution`, `given`, `entry` and `calls`. Write one JSON line per loaded solution and call."""
    requests = json.loads(sys.stdin.read())
    answers = os.dup(1)
    # The solution's stdout goes to stderr, so that it does not mix with the answers.
    os.dup2(2, 1)

    for request in requests:
        for reply in answer_request(**request):
            os.write(answers, (json.dumps(reply) + "\n").encode())


def answer_request(solution: str, given: str, entry: str, calls: list[Any]) -> Iterator[dict[str, Any]]:
    """Yield the answers to one request: first whether the solution could be loaded, then one per call."""
    try:
        names = load_solution(solution, given)
    except BaseException as error:
        yield {"error": describe_error(error)}
        return
    if not callable(names.get(entry)):
        yield {"error": f"there is no function {entry} in it"}
        return
    yield {"loaded": entry}
    for arguments in calls:
        yield run_call(names, entry, arguments)
