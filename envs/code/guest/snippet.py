"""Runs code of the agent after its solution and prints the value of the last expression, like a Python session."""

from __future__ import annotations

import ast
import json
import sys

from .load import describe_error, load_solution

FILE = "input.py"


def main() -> None:
    """Read `solution`, `given` and `code`, and run them."""
    request = json.loads(sys.stdin.buffer.read())
    try:
        names = load_solution(request["solution"], request["given"])
        names["__name__"] = "__main__"
        tree = ast.parse(request["code"], FILE)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, FILE, "exec", dont_inherit=True), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), FILE, "eval", dont_inherit=True), names)
            if value is not None:
                sys.stdout.write(repr(value) + "\n")
    except SystemExit:
        pass
    except BaseException as error:
        sys.stdout.flush()
        sys.stderr.write(describe_error(error) + "\n")
        sys.exit(1)
