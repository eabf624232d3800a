"""Checks: what differs between machines and days does not differ between runs of a program."""

from __future__ import annotations

import time

from .bench import Bench, require


def _same_twice(bench: Bench, program: str, seconds_between: float = 0) -> str:
    first = bench.run(program)
    time.sleep(seconds_between)
    second = bench.run(program)
    with Bench(bench.subject) as fresh:
        third = fresh.run(program)
    require(first.exit == 0, f"it ended with {first.exit}: {first.errors[-300:]}")
    require(first.stdout == second.stdout, f"first {first.text!r}, then {second.text!r}")
    require(first.stdout == third.stdout, f"here {first.text!r}, in a new sandbox {third.text!r}")
    return first.text


def freezes_the_clock(bench: Bench) -> None:
    """The wall clock starts at the same instant for each program, by every way to read it."""
    program = """
        import datetime, time
        print(int(time.time()), time.time_ns() // 10**9, datetime.datetime.now().isoformat(timespec="seconds"),
              datetime.date.today(), datetime.datetime.utcnow().year, time.strftime("%F %T"), time.ctime(),
              time.gmtime().tm_yday,
              datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), time.localtime().tm_hour)
    """
    _same_twice(bench, program, seconds_between=1.1)


def lets_the_clock_move(bench: Bench) -> None:
    """Loops that wait for the clock end, sleeping moves it, and monotonic clocks are real."""
    program = """
        import time
        start, real = time.time(), time.monotonic()
        time.sleep(0.05)
        slept = time.time() - start
        while time.time() < start + 0.06:
            pass
        print(0.05 <= slept < 0.06, time.monotonic() - real >= 0.05)
    """
    bench.says(program, "True True")


def keeps_dates_whole(bench: Bench) -> None:
    """Dates and times are what they are elsewhere: types, arithmetic, parsing, pickling."""
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
    bench.says(program, expected)


def freezes_the_locale(bench: Bench) -> None:
    """Time zone, language and encoding are UTC, C and UTF-8, whatever the host has."""
    program = """
        import locale, os, sys, time
        print(os.environ.get("TZ"), time.tzname[0], os.environ.get("LANG"), sys.stdout.encoding,
              sys.getfilesystemencoding(), locale.getpreferredencoding(False).lower().replace("-", ""))
    """
    bench.says(program, "UTC UTC C.UTF-8 utf-8 utf-8 utf8")


def freezes_hashes(bench: Bench) -> None:
    """Hashes of strings, and with them the order of sets, are the same each time, also in programs started inside."""
    program = """
        import os, subprocess, sys
        print(os.environ.get("PYTHONHASHSEED"), hash("kintsugi"), list({"a", "b", "c", "d", "e"}), flush=True)
        subprocess.run(["python3", "-c", "print(hash('kintsugi'))"])
    """
    lines = _same_twice(bench, program).split()
    require(lines[0] == "0" and lines[1] == lines[-1], f"it printed {lines}")


def seeds_the_shared_generator(bench: Bench) -> None:
    """`random` without a seed gives the same numbers each time."""
    _same_twice(bench, "import random; print([random.random() for _ in range(3)], random.sample(range(100), 5))")


def names_the_machine_alike(bench: Bench) -> None:
    """Host name, user and directories tell nothing of where a program runs."""
    program = """
        import os, socket
        print(socket.gethostname(), os.getuid(), os.getcwd(), os.environ["HOME"], sorted(os.environ))
    """
    _same_twice(bench, program)
