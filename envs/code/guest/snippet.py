"""Code of the agent's own beside its solution, as in an interactive session: the last expression is shown."""

from __future__ import annotations

import ast
import json
import sys

from .calls import failure, load

FILE = "input.py"


def main() -> None:
    """Read `solution` and `code`; print what they print."""
    request = json.loads(sys.stdin.read())
    try:
        names = load(request["solution"], request["given"])
        names["__name__"] = "__main__"
        tree = ast.parse(request["code"], FILE)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, FILE, "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), FILE, "eval"), names)
            if value is not None:
                sys.stdout.write(repr(value) + "\n")
    except SystemExit:
        pass
    except BaseException as error:
        sys.stdout.flush()
        sys.stderr.write(failure(error) + "\n")
        sys.exit(1)
