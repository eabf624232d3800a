"""Checks: what a program may use is limited, running into a limit is a result, and the next program has all again."""

from __future__ import annotations

from dataclasses import replace

from .....errors import UsageError
from ..core import MIB, Limits
from .bench import QUICK, SMALL, Bench, Failed, require


def stops_endless_loops(bench: Bench) -> None:
    """A loop that burns CPU is stopped for its CPU time, long before its wall time is over."""
    limits = replace(QUICK, cpu_seconds=1)
    result = bench.run("print('before')\nwhile True:\n    pass", limits)
    require(result.timed_out and result.exit < 0 and result.seconds < limits.seconds - 1, f"it is {result}")
    require(result.text == "before\n", f"what it printed before is lost: {result.text!r}")
    bench.still_works()


def stops_loops_that_ignore_signals(bench: Bench) -> None:
    """A loop that ignores every signal it can is stopped all the same."""
    program = """
        import signal
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        while True:
            pass
    """
    result = bench.run(program, replace(QUICK, seconds=3, cpu_seconds=1))
    require(result.timed_out and result.exit == -9, f"it is {result}")
    bench.still_works()


def stops_sleepers(bench: Bench) -> None:
    """A program that waits is stopped for its wall time, soon after it."""
    result = bench.run("import time; time.sleep(60)", replace(QUICK, seconds=0.5))
    require(result.timed_out and 0.4 < result.seconds < 10, f"it is {result}")
    bench.still_works()


def stops_the_stopped(bench: Bench) -> None:
    """A program that stops itself is ended at its time."""
    result = bench.run("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", replace(QUICK, seconds=0.5))
    require(result.timed_out, f"it is {result}")
    bench.still_works()


def cuts_endless_output(bench: Bench) -> None:
    """Of endless output the beginning is kept, and it is said that there was more."""
    limits = replace(QUICK, cpu_seconds=1, output=5000)
    for stream in ("stdout", "stderr"):
        result = bench.run(f"import sys\nwhile True:\n    sys.{stream}.write('0123456789')", limits)
        kept = getattr(result, stream)
        require(result.truncated and result.timed_out, f"it is {str(result)[-200:]}")
        require(kept == b"0123456789" * 500, f"of {stream} {len(kept)} bytes were kept")
    bench.still_works()


def keeps_output_at_the_limit(bench: Bench) -> None:
    """Exactly as much as is kept is not too much."""
    result = bench.run("print('x' * 99)", replace(QUICK, output=100))
    require(len(result.stdout) == 100 and not result.truncated, f"it is {result}")
    result = bench.run("print('x' * 100)", replace(QUICK, output=100))
    require(len(result.stdout) == 100 and result.truncated, f"it is {result}")


def stops_memory_bombs(bench: Bench) -> None:
    """A program that takes more memory than it may is told so or ended, and the result says why."""
    result = bench.run("hoard = []\nwhile True:\n    hoard.append(bytearray(1 << 20))", SMALL)
    require(result.oom and result.exit != 0, f"it is {result}")
    bench.still_works()


def stops_memory_bombs_of_many(bench: Bench) -> None:
    """Processes that together take more memory than they may do not get it."""
    program = """
        import os, time
        for _ in range(6):
            if os.fork() == 0:
                hoard = bytearray(40 << 20)
                for at in range(0, len(hoard), 4096):
                    hoard[at] = 1
                time.sleep(3)
                os._exit(0)
        codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(6)]
        print(sum(code != 0 for code in codes))
    """
    result = bench.run(program, SMALL)
    require(result.oom, f"240 MiB were had where {SMALL.memory >> 20} are allowed: {result}")
    bench.still_works()


def stops_fork_bombs(bench: Bench) -> None:
    """A program that forks without end gets as many processes as it may and is gone afterwards."""
    result = bench.run(
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
        replace(SMALL, seconds=2),
    )
    require(result.exit != 0, f"it is {result}")
    bench.still_works()


def counts_processes(bench: Bench) -> None:
    """No more processes than allowed can be had, and all of them the next time too."""
    program = """
        import os, signal
        children = []
        try:
            while len(children) < 200:
                child = os.fork()
                if child == 0:
                    signal.pause()
                children.append(child)
        except OSError:
            pass
        print(len(children))
    """
    for _ in range(2):
        had = int(bench.run(program, SMALL).text or -1)
        require(SMALL.processes // 2 <= had <= SMALL.processes + 2, f"{had} where {SMALL.processes} are allowed")


def stops_thread_bombs(bench: Bench) -> None:
    """Threads count as processes."""
    program = """
        import threading, time
        try:
            for number in range(500):
                threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
        except RuntimeError:
            print(number < 100)
    """
    bench.says(program, "True", SMALL)
    bench.still_works()


def stops_filling_the_disk(bench: Bench) -> None:
    """Writing ends at the limit of the disk, wherever one may write."""
    program = """
        import os, tempfile
        for place in (".", tempfile.gettempdir(), "/dev/shm", "/var/tmp", "/run"):
            written = 0
            try:
                for number in range(40):
                    with open(os.path.join(place, f"fill{number}"), "wb", buffering=0) as file:
                        for _ in range(16):
                            written += file.write(b"x" * 65536)
            except OSError:
                pass
            else:
                print("no end in", place)
            print("too much in" + place, written) if written > 9 << 20 else None
    """
    bench.says(program, "", SMALL)
    bench.says("print(open('f', 'w').write('x' * (4 << 20)))", str(4 << 20), SMALL)


def survives_many_files(bench: Bench) -> None:
    """Thousands of small files, as many as are allowed, are gone for the next program."""
    program = """
        made = 0
        try:
            for number in range(20000):
                open(f"f{number}", "w").close()
                made += 1
        except OSError:
            pass
        print(made > 1000)
    """
    bench.says(program, "True")
    bench.says("import os; print(os.listdir())", "['main.py']")


def limits_open_files(bench: Bench) -> None:
    """Descriptors end."""
    program = """
        held = []
        try:
            while len(held) < 5000:
                held.append(open("/dev/null"))
        except OSError:
            print("ended")
    """
    bench.says(program, "ended")


def survives_deep_recursion(bench: Bench) -> None:
    """Recursion without end is an error of the program, also when it has raised its own limit."""
    result = bench.run("def f():\n    return f()\nf()")
    require(result.exit == 1 and "RecursionError" in result.errors, f"it is {str(result)[-300:]}")
    program = "import sys; sys.setrecursionlimit(10**9)\nf = lambda x: sorted([x], key=lambda y: f(y))\nf(1)"
    result = bench.run(program, SMALL)
    require(result.exit != 0 and not result.timed_out, f"it is {str(result)[-300:]}")
    bench.still_works()


def survives_zombies(bench: Bench) -> None:
    """Children that nobody waits for are cleared away."""
    program = """
        import os, time
        for _ in range(10):
            if os.fork() == 0:
                os._exit(0)
        time.sleep(0.1)
        print("done")
    """
    for _ in range(10):
        bench.says(program, "done", SMALL)


def refuses_limits_of_nothing(bench: Bench) -> None:
    """Limits of 0, below 0 or of the wrong kind are refused before anything runs."""
    bad = [{"seconds": 0}, {"cpu_seconds": -1}, {"memory": 0}, {"processes": 0}, {"disk": -5}, {"output": 0}]
    for values in [*bad, {"cpus": 0}, {"seconds": float("nan")}, {"memory": MIB}, {"processes": True}]:
        try:
            Limits(**values)  # type: ignore[arg-type]
        except UsageError:
            continue
        raise Failed(f"limits of {values} were accepted")
    bench.still_works()
