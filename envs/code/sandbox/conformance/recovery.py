"""Checks: what breaks outside is an infrastructure error, not a result; nothing outlives the process that ran it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

from .....errors import InfraError, UsageError
from ..core import Result
from .bench import Bench, Failed, require


def reports_an_engine_that_dies(bench: Bench) -> None:
    """When what a program runs in is destroyed from outside, that is an `InfraError`, and the next program runs."""
    with Bench(bench.subject) as fresh:
        fresh.still_works()
        outcome: list[Result | BaseException] = []

        def run() -> None:
            try:
                outcome.append(fresh.run("import time; time.sleep(15)"))
            except BaseException as error:
                outcome.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(0.7)
        for name in fresh.sandbox.holdings():
            fresh.subject.sabotage(name)
        thread.join(30)
        require(not thread.is_alive(), "the program was never given up")
        require(isinstance(outcome[0], InfraError), f"it was {outcome[0]!r}")
        fresh.still_works()


def replaces_what_died_between_programs(bench: Bench) -> None:
    """When it is destroyed while nothing runs, the next program does not notice."""
    with Bench(bench.subject) as fresh:
        fresh.still_works()
        for name in fresh.sandbox.holdings():
            fresh.subject.sabotage(name)
        time.sleep(1)
        fresh.still_works()


def closes_for_good(bench: Bench) -> None:
    """`close` leaves nothing, can be called again, and is the end."""
    with Bench(bench.subject) as fresh:
        fresh.still_works()
        require(bool(fresh.sandbox.holdings()), "an open sandbox says that it holds nothing")
        fresh.sandbox.close()
        fresh.sandbox.close()
        require(fresh.sandbox.holdings() == [], f"a closed sandbox holds {fresh.sandbox.holdings()}")
        try:
            fresh.run("print(1)")
        except UsageError:
            return
        raise Failed("a closed sandbox ran a program")


def leaves_nothing_when_killed(bench: Bench) -> None:
    """After `kill -9` of the process that ran a program, nothing of it is left once the next run has started."""
    program = "import os, time; os.fork(); open('f', 'w').write('x'); time.sleep(60)"
    source = f"{bench.subject.opener}\nprint(*sandbox.holdings(), flush=True)\nsandbox.run({program!r})\n"
    process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, cwd="/")
    assert process.stdout is not None
    held = process.stdout.readline().split()
    time.sleep(1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    require(bool(held), "the process held nothing to begin with")
    deadline = time.monotonic() + 20
    while (left := bench.subject.left_behind()) and time.monotonic() < deadline:
        time.sleep(0.2)
    require(not left, f"left behind were {left}")


def refuses_what_is_too_much(bench: Bench) -> None:
    """More than can be sent is refused, and nothing is lost by it."""
    try:
        bench.run("print(1)", stdin=b"x" * (65 << 20))
    except UsageError:
        bench.still_works()
        return
    raise Failed("65 MiB of input were accepted")
