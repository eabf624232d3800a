"""Calls of a solution's function: arguments in, values out. What they should be is known to the host alone."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from .values import decode, encode

FILE = "solution.py"


def load(source: str, given: str = "") -> dict[str, Any]:
    """The names that the solution defines, after what it is given."""
    names: dict[str, Any] = {"__name__": "solution", "__builtins__": __builtins__}
    exec(compile(given, "given.py", "exec", dont_inherit=True), names)
    exec(compile(source, FILE, "exec", dont_inherit=True), names)
    return names


def failure(error: BaseException) -> str:
    """An exception in one line, with the last line of the solution that it went through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == FILE]
    if isinstance(error, SyntaxError) and error.filename == FILE:
        lines, said = [error.lineno], error.msg
    else:
        said = str(error)
    text = type(error).__name__ + (f": {said[:300]}" if said else "")
    return f"{text} (line {lines[-1]})" if lines else text


def answer(names: dict[str, Any], entry: str, arguments: Any) -> dict[str, Any]:
    """What one call gives: `value` or `error`."""
    try:
        return {"value": encode(names[entry](*decode(arguments)))}
    except BaseException as error:
        return {"error": failure(error)}


def main() -> None:
    """Read requests of `solution`, `given`, `entry` and `calls`; write a JSON line for loading each and one a call."""
    requests = json.loads(sys.stdin.read())
    answers = os.dup(1)
    # What the solution prints goes with its errors, so that the answers stay readable.
    os.dup2(2, 1)

    for request in requests:
        for what in respond(**request):
            os.write(answers, (json.dumps(what) + "\n").encode())


def respond(solution: str, given: str, entry: str, calls: list[Any]) -> Iterator[dict[str, Any]]:
    """All that is to be said to one request."""
    try:
        names = load(solution, given)
    except BaseException as error:
        yield {"error": failure(error)}
        return
    if not callable(names.get(entry)):
        yield {"error": f"there is no function {entry} in it"}
        return
    yield {"loaded": entry}
    for arguments in calls:
        yield answer(names, entry, arguments)
