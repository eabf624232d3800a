"""The child process in which the worker runs one program as `__main__`."""

from __future__ import annotations

import builtins
import ctypes
import gc
import json
import os
import random
import resource
import signal
import sys
import traceback
import types
from collections.abc import Sequence
from typing import Any

from .ending import finish
from .filter import install_filter

HOME = "/tmp"
SETUP_FAILED = 125
"""Exit code if the preparation failed."""
CHANNEL = 3
"""File descriptor of a program's channel to the host."""
PR_SET_DUMPABLE = 4
libc = ctypes.CDLL(None)


def read_metadata(payload: int) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """Read the metadata of a request.

    Returns:
        The metadata, and the spans (start, size) of the program, its input and its files in `payload`.
    """
    size = int.from_bytes(os.pread(payload, 4, 0), "big")
    metadata = json.loads(os.pread(payload, size, 4))
    spans, at = [], 4 + size
    for length in metadata["sizes"]:
        spans.append((at, length))
        at += length
    return metadata, spans


def copy_to_fd(payload: int, span: tuple[int, int], to: int) -> None:
    """Copy a span of the request within the kernel, so that it does not enter this process's memory."""
    at, remaining = span
    while remaining:
        sent = os.sendfile(to, payload, at, remaining)
        at, remaining = at + sent, remaining - sent


def become_program(
    config: dict[str, Any], payload: int, outputs: Sequence[int], channel: int, start_pipe: int, oom_flag: Any
) -> None:
    """Wait for the start message, run the program in `payload`, and exit. Never returns.

    Args:
        config: The worker's configuration: `rlimits`, by names such as `RLIMIT_NOFILE`; `watched_memory`, not 0 if the
            worker counts the memory; and `program_filter`, a system call filter or nothing.
        payload: File descriptor of the request.
        outputs: File descriptors for stdout and stderr.
        channel: File descriptor that becomes `CHANNEL` if the request says so.
        start_pipe: File descriptor of the start message, which is the CPU time limit in seconds.
        oom_flag: Shared memory. Its first byte is set to 1 if the program ended with a `MemoryError`.
    """
    code = SETUP_FAILED
    try:
        os.setsid()
        prefer_for_oom_kill(readable=bool(config["watched_memory"]))
        # Python reseeds `random` from system entropy after a fork.
        random.seed(0)
        compile("0", "main.py", "exec")
        start_message = os.read(start_pipe, 8)
        if not start_message:
            return
        metadata, spans = read_metadata(payload)
        os.chdir(HOME)
        for name, span in zip(("main.py", *metadata["names"]), (spans[0], *spans[2:])):  # noqa: B905
            os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
            with open(name, "xb") as file:
                copy_to_fd(payload, span, file.fileno())
        redirect_stdio(payload, spans[1], outputs, channel if metadata["channel"] else None)
        apply_limits(config["rlimits"], int.from_bytes(start_message, "big"))
        if config["program_filter"]:
            install_filter(config["program_filter"])
        code = run_main(oom_flag)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def redirect_stdio(payload: int, span: tuple[int, int], outputs: Sequence[int], channel: int | None) -> None:
    """Point the standard file descriptors to the program's input and outputs, and close all but the channel."""
    source = os.memfd_create("stdin") if span[1] else os.open("/dev/null", os.O_RDONLY)
    if span[1]:
        copy_to_fd(payload, span, source)
        os.lseek(source, 0, os.SEEK_SET)
    for target_fd, fd in enumerate((source, *outputs)):
        os.dup2(fd, target_fd)
    if channel is not None:
        os.dup2(channel, CHANNEL)
    os.closerange(CHANNEL + (channel is not None), 1 << 20)


def prefer_for_oom_kill(readable: bool) -> None:
    """Make the kernel kill this process, and not the worker, when memory runs out.

    Args:
        readable: Whether the worker must be able to read how much memory this process uses.
    """
    # A process may change this setting only while it is dumpable.
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass
    libc.prctl(PR_SET_DUMPABLE, int(readable), 0, 0, 0)


def apply_limits(rlimits: dict[str, int], cpu: int) -> None:
    """Set the rlimits of this process. All other limits apply to the sandbox as a whole."""
    for name, value in rlimits.items():
        lower_limit(getattr(resource, name), value)
    # The kernel sends SIGXCPU first, which identifies the reason, and then SIGKILL, which cannot be ignored.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    lower_limit(resource.RLIMIT_CORE, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def lower_limit(limit: int, value: int) -> None:
    """Set a limit to `value`, or to its hard limit if that is lower."""
    hard_limit = resource.getrlimit(limit)[1]
    value = value if hard_limit == resource.RLIM_INFINITY else min(value, hard_limit)
    resource.setrlimit(limit, (value, value))


def run_main(oom_flag: Any) -> int:
    """Run `main.py` as the interpreter would. Return the exit code."""
    path = os.path.join(HOME, "main.py")
    with open(path, "rb") as file:
        program = file.read()
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=path, __builtins__=builtins)
    sys.modules["__main__"] = main
    sys.argv, sys.path[0] = [path], HOME
    gc.enable()
    known, code = len(sys.modules), 0
    try:
        exec(compile(program, "main.py", "exec", dont_inherit=True), main.__dict__)
    except SystemExit as error:
        code = exit_code(error)
    except BaseException as error:
        oom_flag[0] = isinstance(error, MemoryError)
        print_traceback(error)
        code = 1
    # The end of the program also ends its main module.
    del main
    return finish(code, known)


def print_traceback(error: BaseException) -> None:
    """Print the traceback without the frames of this file."""
    trace = error.__traceback__
    if trace is not None and trace.tb_frame.f_code.co_filename != "main.py":
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


def exit_code(error: SystemExit) -> int:
    """Return the exit code that `SystemExit` stands for."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 255
    print(error.code, file=sys.stderr)  # noqa: T201
    return 1
