"""The fork that becomes a program: sets the stage, runs the program as `__main__`, exits."""

from __future__ import annotations

import atexit
import builtins
import ctypes
import gc
import json
import os
import random
import resource
import signal
import sys
import threading
import traceback
import types
from collections.abc import Sequence
from typing import Any

HOME = "/tmp"
FAILED = 125
"""Exit code when the stage could not be set."""
PR_SET_DUMPABLE = 4
libc = ctypes.CDLL(None)


def read_meta(payload: int) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """What the host says of its request, and where (start, size) the program, its input and its files are in it."""
    size = int.from_bytes(os.pread(payload, 4, 0), "big")
    meta = json.loads(os.pread(payload, size, 4))
    places, at = [], 4 + size
    for length in meta["sizes"]:
        places.append((at, length))
        at += length
    return meta, places


def copy(payload: int, place: tuple[int, int], to: int) -> None:
    """Copy a part of the request within the kernel: a program that forks must not find its input in its memory."""
    at, left = place
    while left:
        sent = os.sendfile(to, payload, at, left)
        at, left = at + sent, left - sent


def become_program(rlimits: dict[str, int], payload: int, outputs: Sequence[int], wait: int, flag: Any) -> None:
    """Wait for the word, run what `payload` then says, and exit; never returns.

    The word is how many seconds of CPU there are. `flag[0]` becomes 1 when the program ended for want of memory.
    """
    code = FAILED
    try:
        os.setsid()
        offer_for_oom()
        # Forks are reseeded from the system otherwise.
        random.seed(0)
        compile("0", "main.py", "exec")
        word = os.read(wait, 8)
        if not word:
            return
        meta, places = read_meta(payload)
        os.chdir(HOME)
        for name, place in zip(("main.py", *meta["names"]), (places[0], *places[2:])):  # noqa: B905
            os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
            with open(name, "xb") as file:
                copy(payload, place, file.fileno())
        rewire(payload, places[1], outputs)
        restrict(rlimits, int.from_bytes(word, "big"))
        code = run(flag)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def rewire(payload: int, place: tuple[int, int], outputs: Sequence[int]) -> None:
    """Standard descriptors to the program's own, under the stream objects that are there; all others are closed."""
    source = os.memfd_create("stdin") if place[1] else os.open("/dev/null", os.O_RDONLY)
    if place[1]:
        copy(payload, place, source)
        os.lseek(source, 0, os.SEEK_SET)
    for wanted, fd in enumerate((source, *outputs)):
        os.dup2(fd, wanted)
    os.closerange(3, 1 << 20)


def offer_for_oom() -> None:
    """Be the one that the kernel ends when memory runs out, rather than the worker."""
    # A process may say so only while it is dumpable.
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def restrict(rlimits: dict[str, int], cpu: int) -> None:
    """Limits of this program alone; the others are the sandbox's."""
    for name, value in rlimits.items():
        lower(getattr(resource, name), value)
    # First a signal that tells why, then one that cannot be caught.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    lower(resource.RLIMIT_CORE, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def lower(limit: int, value: int) -> None:
    """Set a limit to `value`, or to what it may be at most."""
    most = resource.getrlimit(limit)[1]
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(limit, (value, value))


def run(flag: Any) -> int:
    """Run `main.py` as the interpreter would; returns the exit code."""
    path = os.path.join(HOME, "main.py")
    with open(path, "rb") as file:
        program = file.read()
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=path, __builtins__=builtins)
    sys.modules["__main__"] = main
    sys.argv, sys.path[0] = [path], HOME
    gc.enable()
    code = 0
    try:
        exec(compile(program, "main.py", "exec", dont_inherit=True), main.__dict__)
    except SystemExit as error:
        code = exit_code(error)
    except BaseException as error:
        flag[0] = isinstance(error, MemoryError)
        report(error)
        code = 1
    return finish(code)


def report(error: BaseException) -> None:
    """Print the traceback without the frames of this file."""
    trace = error.__traceback__
    if trace is not None and trace.tb_frame.f_code.co_filename != "main.py":
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


def exit_code(error: SystemExit) -> int:
    """What `SystemExit` means to a shell."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 255
    print(error.code, file=sys.stderr)  # noqa: T201
    return 1


def finish(code: int) -> int:
    """What an interpreter does at its end: threads, exit handlers, flushing."""
    for step in (threading._shutdown, atexit._run_exitfuncs, sys.stdout.flush, sys.stderr.flush):  # type: ignore[attr-defined]
        try:
            step()
        except BaseException:
            traceback.print_exc()
            code = code or 120
    return code
