"""Tests reference solutions by calls, many in one process. Only for solutions that are trusted."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from .load import load_solution


def main() -> None:
    """Read a list of `solution`, `given`, `entry` and `calls`. Write the list of those that pass all calls."""
    requests = json.loads(sys.stdin.buffer.read())
    answers = os.dup(1)
    os.dup2(2, 1)
    os.write(answers, json.dumps([passes(**each) for each in requests]).encode())


def passes(solution: str, given: str, entry: str, calls: list[Any]) -> bool:
    """Return whether a solution gives the expected value for each call."""
    try:
        function = load_solution(solution, given)[entry]
        return all(function(*arguments) == expected for arguments, expected in calls)
    except BaseException:
        return False
