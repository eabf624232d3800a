"""Checks whether a solution can be loaded."""

from __future__ import annotations

import json
import os
import sys

from .load import describe_error, load_solution


def main() -> None:
    """Read `solution`, `given` and `entry`, and write why the function cannot be used, or nothing."""
    request = json.loads(sys.stdin.buffer.read())
    answers = os.dup(1)
    os.dup2(2, 1)
    error = ""
    try:
        if not callable(load_solution(request["solution"], request["given"]).get(request["entry"])):
            error = f"there is no function {request['entry']} in it"
    except BaseException as raised:
        error = describe_error(raised)
    os.write(answers, json.dumps(error).encode())
