"""Checks that infrastructure failures raise errors, and that nothing outlives the process that opened a sandbox."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

from ....errors import InfraError, UsageError
from ..sandbox.core import Result
from .context import CheckContext, CheckFailed, require


def reports_a_killed_worker(context: CheckContext) -> None:
    """If a worker is killed from outside, `run` must raise `InfraError`, and the next program must run."""
    with CheckContext(context.subject) as new_context:
        new_context.check_still_works()
        outcome: list[Result | BaseException] = []

        def run() -> None:
            try:
                outcome.append(new_context.run("import time; time.sleep(15)"))
            except BaseException as error:
                outcome.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(0.7)
        for name in new_context.sandbox.open_workers():
            new_context.subject.kill_worker(name)
        thread.join(30)
        require(not thread.is_alive(), "run did not return")
        require(isinstance(outcome[0], InfraError), f"the outcome was {outcome[0]!r}")
        new_context.check_still_works()


def replaces_workers_that_died_between_programs(context: CheckContext) -> None:
    """If a worker is killed while no program runs, the next program must run normally."""
    with CheckContext(context.subject) as new_context:
        new_context.check_still_works()
        for name in new_context.sandbox.open_workers():
            new_context.subject.kill_worker(name)
        time.sleep(1)
        new_context.check_still_works()


def closes_for_good(context: CheckContext) -> None:
    """`close` must end all workers and may be called again, and `run` must be refused afterwards."""
    with CheckContext(context.subject) as new_context:
        new_context.check_still_works()
        require(bool(new_context.sandbox.open_workers()), "open_workers of an open sandbox is empty")
        new_context.sandbox.close()
        new_context.sandbox.close()
        require(
            new_context.sandbox.open_workers() == [],
            f"a closed sandbox has the workers {new_context.sandbox.open_workers()}",
        )
        try:
            new_context.run("print(1)")
        except UsageError:
            return
        raise CheckFailed("a closed sandbox ran a program")


def leaves_nothing_when_killed(context: CheckContext) -> None:
    """After `kill -9` of the process that opened a sandbox, opening the next one must remove what is left."""
    program = "import os, time; os.fork(); open('f', 'w').write('x'); time.sleep(60)"
    source = f"{context.subject.open_source}\nprint(*sandbox.open_workers(), flush=True)\nsandbox.run({program!r})\n"
    process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, cwd="/")
    assert process.stdout is not None
    workers = process.stdout.readline().split()
    time.sleep(1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    require(bool(workers), "the process had no open workers")
    deadline = time.monotonic() + 20
    while (leftovers := context.subject.list_leftovers()) and time.monotonic() < deadline:
        time.sleep(0.2)
    require(not leftovers, f"leftovers are {leftovers}")


def refuses_oversized_requests(context: CheckContext) -> None:
    """Requests above the size limit must be refused, and the sandbox must still work."""
    try:
        context.run("print(1)", stdin=b"x" * (65 << 20))
    except UsageError:
        context.check_still_works()
        return
    raise CheckFailed("65 MiB of input were accepted")
