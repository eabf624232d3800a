"""Checks that limits are enforced, that reaching one gives a result, and that the next program is not affected."""

from __future__ import annotations

import textwrap
from dataclasses import replace

from ....errors import UsageError
from ..sandbox.core import MIB, Limits
from .context import QUICK, SMALL, CheckContext, CheckFailed, require

HOARD = """
if True:
    import ctypes, mmap, os, subprocess
    keep, held = [], 0
{more}
    try:
        while held < 200 << 20:
            held += more()
    except (OSError, MemoryError):
        pass
    print(held >> 20, flush=True)
    os._exit(0)
"""
"""Gets memory by the function `more`, up to 200 MiB, and prints the number of MiB that it holds."""


def stops_endless_loops(context: CheckContext) -> None:
    """A busy loop must be stopped by its CPU time limit, long before its wall time limit."""
    limits = replace(QUICK, cpu_seconds=1)
    result = context.run("print('before')\nwhile True:\n    pass", limits)
    require(result.timed_out and result.exit < 0 and result.seconds < limits.seconds - 1, f"the result is {result}")
    require(result.text == "before\n", f"earlier output is lost: {result.text!r}")
    context.check_still_works()


def stops_loops_that_ignore_signals(context: CheckContext) -> None:
    """A loop that ignores all signals that can be ignored must be stopped."""
    program = """
        import signal
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        while True:
            pass
    """
    result = context.run(program, replace(QUICK, seconds=3, cpu_seconds=1))
    require(result.timed_out and result.exit == -9, f"the result is {result}")
    context.check_still_works()


def stops_sleeping_programs(context: CheckContext) -> None:
    """A sleeping program must be stopped soon after its wall time limit."""
    result = context.run("import time; time.sleep(60)", replace(QUICK, seconds=0.5))
    require(result.timed_out and 0.4 < result.seconds < 10, f"the result is {result}")
    context.check_still_works()


def stops_suspended_programs(context: CheckContext) -> None:
    """A program that suspends itself must be ended at its wall time limit."""
    result = context.run("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", replace(QUICK, seconds=0.5))
    require(result.timed_out, f"the result is {result}")
    context.check_still_works()


def cuts_endless_output(context: CheckContext) -> None:
    """The beginning of endless output must be kept, and `Result.truncated` must be set."""
    limits = replace(QUICK, cpu_seconds=1, output=5000)
    for stream in ("stdout", "stderr"):
        result = context.run(f"import sys\nwhile True:\n    sys.{stream}.write('0123456789')", limits)
        kept = getattr(result, stream)
        require(result.truncated and result.timed_out, f"the result is {str(result)[-200:]}")
        require(kept == b"0123456789" * 500, f"{len(kept)} bytes of {stream} were kept")
    context.check_still_works()


def keeps_output_at_the_limit(context: CheckContext) -> None:
    """Output of exactly the allowed size must not count as truncated."""
    result = context.run("print('x' * 99)", replace(QUICK, output=100))
    require(len(result.stdout) == 100 and not result.truncated, f"the result is {result}")
    result = context.run("print('x' * 100)", replace(QUICK, output=100))
    require(len(result.stdout) == 100 and result.truncated, f"the result is {result}")


def stops_memory_bombs(context: CheckContext) -> None:
    """A program that exceeds its memory limit must fail or be ended, and `Result.oom` must be set."""
    result = context.run("hoard = []\nwhile True:\n    hoard.append(bytearray(1 << 20))", SMALL)
    require(result.oom and result.exit != 0, f"the result is {result}")
    context.check_still_works()


def stops_memory_bombs_of_many_processes(context: CheckContext) -> None:
    """The memory limit must apply to all processes of a program together."""
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
    result = context.run(program, SMALL)
    require(result.oom, f"240 MiB could be used with a limit of {SMALL.memory >> 20} MiB: {result}")
    context.check_still_works()


def counts_memory_of_all_kinds(context: CheckContext) -> None:
    """Files, memory files, shared mappings and System V memory must count towards the memory limit, or be refused."""
    kinds = {
        "memory files": """
            def more():
                file = os.memfd_create("x")
                keep.append(file)
                return sum(os.write(file, b"x" * (1 << 20)) for _ in range(4))
        """,
        "shared mappings": """
            def more():
                keep.append(mmap.mmap(-1, 4 << 20))
                for at in range(0, 4 << 20, 4096):
                    keep[-1][at] = 1
                return 4 << 20
        """,
        "mappings of /dev/zero": """
            def more():
                with open("/dev/zero", "r+b") as file:
                    keep.append(mmap.mmap(file.fileno(), 4 << 20))
                for at in range(0, 4 << 20, 4096):
                    keep[-1][at] = 1
                return 4 << 20
        """,
        "forgotten pages of shared mappings": """
            def more():
                keep.append(mmap.mmap(-1, 4 << 20))
                for at in range(0, 4 << 20, 4096):
                    keep[-1][at] = 1
                keep[-1].madvise(mmap.MADV_DONTNEED)
                return 4 << 20
        """,
        "System V memory": """
            libc = ctypes.CDLL(None, use_errno=True)
            libc.shmat.restype = ctypes.c_void_p
            libc.shmdt.argtypes = [ctypes.c_void_p]
            def more():
                address = libc.shmat(libc.shmget(0, 4 << 20, 0o600), None, 0)
                if address in (None, ctypes.c_void_p(-1).value):
                    raise OSError
                ctypes.memset(address, 1, 4 << 20)
                libc.shmdt(address)
                return 4 << 20
        """,
        "System V messages": """
            libc = ctypes.CDLL(None, use_errno=True)
            def more():
                queue, sent = libc.msgget(0, 0o600), 0
                while libc.msgsnd(queue, ctypes.create_string_buffer(b"\\1" + b"x" * 4096), 4000, 0o4000) == 0:
                    sent += 4000
                if not sent:
                    raise OSError
                return sent
        """,
        "processes that start a program": """
            def more():
                source = "import time; hoard = b'x' * (4 << 20); print(flush=True); time.sleep(60)"
                keep.append(subprocess.Popen(["python3", "-S", "-c", source], stdout=subprocess.PIPE))
                if not keep[-1].stdout.readline():
                    raise OSError
                return 4 << 20
        """,
    }
    for kind, source in kinds.items():
        program = HOARD.format(more=textwrap.indent(textwrap.dedent(source), " " * 4))
        text = context.run(program, SMALL).text
        require(int(text or 0) << 20 <= SMALL.memory, f"a program held {text.strip()} MiB of {kind}")
        context.check_still_works()


def counts_shared_pages_once(context: CheckContext) -> None:
    """Memory that a program shares with its forks must not count for each of them."""
    program = """
        import os, time
        hoard = bytearray(b"x") * (40 << 20)
        for _ in range(8):
            if os.fork() == 0:
                time.sleep(60)
        time.sleep(0.3)
        print("alive")
    """
    context.expect_output(program, "alive", SMALL)


def stops_fork_bombs(context: CheckContext) -> None:
    """A program that forks endlessly must not exceed its process limit and must be removed afterwards."""
    result = context.run(
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
        replace(SMALL, seconds=2),
    )
    require(result.exit != 0, f"the result is {result}")
    context.check_still_works()


def counts_processes(context: CheckContext) -> None:
    """The process limit must be enforced, and the next program must be able to start as many processes."""
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
        count = int(context.run(program, SMALL).text or -1)
        require(
            SMALL.processes // 2 <= count <= SMALL.processes + 2,
            f"{count} processes could be started with a limit of {SMALL.processes}",
        )


def stops_thread_bombs(context: CheckContext) -> None:
    """Threads must count as processes."""
    program = """
        import threading, time
        try:
            for number in range(500):
                threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
        except RuntimeError:
            print(number < 100)
    """
    context.expect_output(program, "True", SMALL)
    context.check_still_works()


def stops_filling_the_disk(context: CheckContext) -> None:
    """The disk limit must be enforced in every writable directory."""
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
    context.expect_output(program, "", SMALL)
    context.expect_output("print(open('f', 'w').write('x' * (4 << 20)))", str(4 << 20), SMALL)


def survives_many_files(context: CheckContext) -> None:
    """Thousands of small files must be removed before the next program."""
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
    context.expect_output(program, "True")
    context.expect_output("import os; print(os.listdir())", "['main.py']")


def limits_open_files(context: CheckContext) -> None:
    """The number of open files must be limited."""
    program = """
        held = []
        try:
            while len(held) < 5000:
                held.append(open("/dev/null"))
        except OSError:
            print("ended")
    """
    context.expect_output(program, "ended")


def survives_deep_recursion(context: CheckContext) -> None:
    """Endless recursion must be an error of the program, even if the program raised its recursion limit."""
    result = context.run("def f():\n    return f()\nf()")
    require(result.exit == 1 and "RecursionError" in result.errors, f"the result is {str(result)[-300:]}")
    program = "import sys; sys.setrecursionlimit(10**9)\nf = lambda x: sorted([x], key=lambda y: f(y))\nf(1)"
    result = context.run(program, SMALL)
    require(result.exit != 0 and not result.timed_out, f"the result is {str(result)[-300:]}")
    context.check_still_works()


def survives_zombies(context: CheckContext) -> None:
    """Child processes that the program does not wait for must be removed."""
    program = """
        import os, time
        for _ in range(10):
            if os.fork() == 0:
                os._exit(0)
        time.sleep(0.1)
        print("done")
    """
    for _ in range(10):
        context.expect_output(program, "done", SMALL)


def refuses_invalid_limits(context: CheckContext) -> None:
    """Limits that are zero, negative or of the wrong type must be refused before anything runs."""
    bad: list[dict[str, float]] = [{"seconds": 0}, {"cpu_seconds": -1}, {"memory": 0}, {"processes": 0}, {"disk": -5}]
    bad += [{"output": 0}, {"cpus": 0.001}, {"processes": 10**9}]
    for values in [*bad, {"cpus": 0}, {"seconds": float("nan")}, {"memory": MIB}, {"processes": True}]:
        try:
            Limits(**values)  # type: ignore[arg-type]
        except UsageError:
            continue
        raise CheckFailed(f"limits of {values} were accepted")
    context.check_still_works()
