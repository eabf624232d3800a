"""Checks that runs of a program do not depend on the machine or the date."""

from __future__ import annotations

import time

from .context import CheckContext, require


def _check_repeatable(context: CheckContext, program: str, seconds_between: float = 0) -> str:
    first = context.run(program)
    time.sleep(seconds_between)
    second = context.run(program)
    with CheckContext(context.subject) as new_context:
        third = new_context.run(program)
    require(first.exit == 0, f"the program ended with exit code {first.exit}: {first.errors[-300:]}")
    require(first.stdout == second.stdout, f"the first run printed {first.text!r}, the second run {second.text!r}")
    require(
        first.stdout == third.stdout, f"the first run printed {first.text!r}, a run in a new sandbox {third.text!r}"
    )
    return first.text


def freezes_the_clock(context: CheckContext) -> None:
    """The wall clock must start at the same time for each program, for all functions that read it."""
    program = """
        import datetime, time
        print(int(time.time()), time.time_ns() // 10**9, datetime.datetime.now().isoformat(timespec="seconds"),
              datetime.date.today(), datetime.datetime.utcnow().year, time.strftime("%F %T"), time.ctime(),
              time.gmtime().tm_yday,
              datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), time.localtime().tm_hour)
    """
    _check_repeatable(context, program, seconds_between=1.1)


def lets_the_clock_move(context: CheckContext) -> None:
    """Loops that wait for the clock must end, sleeping must advance it, and monotonic clocks must be real."""
    program = """
        import time
        start, real = time.time(), time.monotonic()
        time.sleep(0.05)
        slept = time.time() - start
        while time.time() < start + 0.06:
            pass
        print(0.05 <= slept < 0.06, time.monotonic() - real >= 0.05)
    """
    context.expect_output(program, "True True")


def keeps_datetime_semantics(context: CheckContext) -> None:
    """Types, arithmetic, parsing and pickling of dates and times must work as usual."""
    program = """
        import copy, datetime as d, pickle
        now = d.datetime.now()
        print(isinstance(now, d.date), isinstance(d.date.today(), d.datetime), type(now) is d.datetime,
              repr(d.datetime(2020, 1, 31) + d.timedelta(1)), d.datetime.strptime("2021-02-03", "%Y-%m-%d").date(),
              pickle.loads(pickle.dumps(now)) == now, copy.deepcopy(now) == now, repr(d.date(2020, 1, 1)),
              isinstance(d.datetime.max, d.datetime), d.datetime(2020, 1, 1) - d.datetime(2019, 1, 1))
    """
    expected = (
        "True False True datetime.datetime(2020, 2, 1, 0, 0) 2021-02-03 True True datetime.date(2020, 1, 1) True "
        "365 days, 0:00:00"
    )
    context.expect_output(program, expected)


def freezes_the_locale(context: CheckContext) -> None:
    """Time zone, language and encoding must be UTC, C and UTF-8, independent of the host."""
    program = """
        import locale, os, sys, time
        print(os.environ.get("TZ"), time.tzname[0], os.environ.get("LANG"), sys.stdout.encoding,
              sys.getfilesystemencoding(), locale.getpreferredencoding(False).lower().replace("-", ""))
    """
    context.expect_output(program, "UTC UTC C.UTF-8 utf-8 utf-8 utf8")


def freezes_hashes(context: CheckContext) -> None:
    """Hashes of strings, and thus the order of sets, must be the same in each run, also in subprocesses."""
    program = """
        import os, subprocess, sys
        print(os.environ.get("PYTHONHASHSEED"), hash("kintsugi"), list({"a", "b", "c", "d", "e"}), flush=True)
        subprocess.run(["python3", "-c", "print(hash('kintsugi'))"])
    """
    lines = _check_repeatable(context, program).split()
    require(lines[0] == "0" and lines[1] == lines[-1], f"the program printed {lines}")


def seeds_the_shared_generator(context: CheckContext) -> None:
    """`random` without a seed must give the same numbers in each run."""
    _check_repeatable(
        context, "import random; print([random.random() for _ in range(3)], random.sample(range(100), 5))"
    )


def hides_the_machine(context: CheckContext) -> None:
    """Host name and directories must be the same on all machines. The user id may be the worker's own."""
    program = """
        import os, socket
        print(socket.gethostname(), os.getcwd(), os.environ["HOME"], sorted(os.environ))
    """
    _check_repeatable(context, program)
