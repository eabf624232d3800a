"""Runs in the sandbox: executes solutions together with their tests, each in one plain Python process.

Nothing here is protected against a solution. It says what plain Python says, and the grader is compared with that.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import types
from typing import Any

MEMORY_BYTES = 1 << 30


def run_program(parts: list[str]) -> dict[str, Any]:
    """Execute all parts in one module, in order. They pass if the last one ends without an exception."""
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    try:
        for number, part in enumerate(parts):
            exec(compile(part, f"part{number}.py", "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        return {
            "status": "failed",
            "why": f"{type(error).__name__}"[:80],
            "applied": module.__dict__.get("_applied_", 0),
        }
    return {"status": "passed", "why": "", "applied": module.__dict__.get("_applied_", 0)}


def run_in_child(parts: list[str], cpu_seconds: float) -> dict[str, Any]:
    """Run one program in a process of its own, and stop it when it takes too long."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)  # SIGPROF ends the process.
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        answer = run_program(parts)
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], 20 + 20 * cpu_seconds)
    data = os.read(reading, 1 << 16) if ready else b""
    os.close(reading)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if data:
        return dict(json.loads(data))
    stopped = not ready or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF)
    return {"status": "timeout" if stopped else "failed", "why": f"ended with status {status}", "applied": 1}


def main() -> None:
    """Read `{"programs": [[part, ...], ...], "cpu_seconds": n}` from stdin, and print one line of JSON per program."""
    request = json.loads(sys.stdin.buffer.read())
    for parts in request["programs"]:
        print(json.dumps(run_in_child(parts, request["cpu_seconds"])), flush=True)


if __name__ == "__main__":
    main()
