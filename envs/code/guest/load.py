"""Loads a solution as a module, and describes its errors."""

from __future__ import annotations

import linecache
import sys
import traceback
import types
from typing import Any

FILE = "solution.py"


def load_solution(source: str, given: str = "") -> dict[str, Any]:
    """Run the code in `given` and then the solution, as the module `solution`. Return its global names."""
    module = types.ModuleType("solution")
    module.__file__ = FILE
    sys.modules["solution"] = module
    linecache.cache[FILE] = (len(source), None, source.splitlines(keepends=True), FILE)
    names = module.__dict__
    exec(compile(given, "given.py", "exec", dont_inherit=True), names)
    exec(compile(source, FILE, "exec", dont_inherit=True), names)
    return names


def describe_error(error: BaseException) -> str:
    """Return an exception as one line, with the number of the innermost line of the solution in its traceback."""
    try:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == FILE]
        if isinstance(error, SyntaxError) and error.filename == FILE:
            lines, message = [error.lineno], error.msg
        else:
            message = str(error)
        text = type(error).__name__ + (f": {message[:300]}" if message else "")
        return f"{text} (line {lines[-1]})" if lines else text
    except Exception:
        # The solution defines how its exceptions are shown.
        return type(error).__name__
