"""Process 1 of a sandbox: forks for each program, and keeps nothing of it for the next one.

It never runs what it is sent: a fork does. It also never holds a byte of a program in memory that the next fork would
inherit: what is sent goes into a memory file that only the fork reads, and what is printed passes through buffers that
are zeroed. Process 1 cannot be signalled from inside its namespace and, not being dumpable, can neither be traced nor
read by programs of its own user. What they can still do to it (limits, priority) is measured after each of them.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib
import json
import mmap
import os
import random
import resource
import select
import signal
import stat
import sys
import time
from collections.abc import Iterable
from typing import Any

from .cleanup import clean_up, in_fork, measure
from .clock import freeze
from .stage import HOME, PR_SET_DUMPABLE, become_program, libc, read_meta
from .wire import FRAME, MAGIC, OOM, REQUEST, RESULT, TIMED_OUT, TRUNCATED, UNCLEAN

BLOCK = 1 << 16
ZEROS = bytes(BLOCK)
TICK = 0.02
"""Seconds between two looks at the memory, where no cgroup watches it."""
OOM_FILES = ("/run/oom", "/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
PRELOADED = (
    "bisect collections copy dataclasses datetime decimal enum fractions functools hashlib heapq inspect itertools "
    "json linecache math operator random re statistics string textwrap time traceback typing"
)
"""What programs like to import, so that it costs them nothing."""


class Gone(Exception):
    """The host has hung up."""


class Buffer:
    """Keeps the first `limit` bytes of one output."""

    def __init__(self) -> None:
        self.store = bytearray(BLOCK)
        self.size = self.limit = 0
        self.truncated = False

    def begin(self, limit: int) -> None:
        """Make room."""
        if limit > len(self.store):
            self.store = bytearray(limit)
        self.size, self.limit, self.truncated = 0, limit, False

    def fill(self, fd: int) -> bool:
        """Read once from `fd`; False at its end."""
        if self.size < self.limit:
            with memoryview(self.store) as view:
                got = os.readv(fd, [view[self.size : self.limit]])
            self.size += got
        else:
            got = os.readv(fd, [SPILL])
            self.truncated = self.truncated or got > 0
        return got > 0


SPILL = bytearray(BLOCK)
OUT, ERR = Buffer(), Buffer()


def wipe(store: bytearray, size: int) -> None:
    """Zero the first `size` bytes."""
    for first in range(0, size, BLOCK):
        last = min(size, first + BLOCK)
        store[first:last] = ZEROS[: last - first]


def read_exactly(fd: int, size: int) -> bytes:
    """`size` bytes of the channel, for headers only."""
    data = b""
    while len(data) < size:
        got = os.read(fd, size - len(data))
        if not got:
            raise Gone
        data += got
    return data


def take_payload(fd: int, size: int, payload: int) -> None:
    """Pass the next `size` bytes of the channel on to a memory file."""
    with memoryview(SPILL) as view:
        while size:
            got = os.readv(fd, [view[: min(size, BLOCK)]])
            if not got:
                raise Gone
            written = 0
            while written < got:
                written += os.write(payload, view[written:got])
            size -= got
    wipe(SPILL, BLOCK)


def send(fd: int, *parts: Any) -> None:
    """Write all parts."""
    views = [memoryview(part) for part in parts if len(part)]
    while views:
        try:
            sent = os.writev(fd, views[:8])
        except (BrokenPipeError, ConnectionResetError):
            raise Gone from None
        while views and sent >= len(views[0]):
            sent -= len(views.pop(0))
        if sent:
            views[0] = views[0][sent:]


def oom_kills(files: Iterable[str]) -> int:
    """How often the kernel has killed here for want of memory; 0 where it does not say."""
    for name in files:
        with open(name) as file:
            for line in file:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def resident() -> int:
    """Bytes that all programs here hold in RAM beyond what each fork shares with this process from the start."""
    own, pages = _private("1"), 0
    for name in os.listdir("/proc"):
        if name.isdigit() and name != "1":
            pages += max(0, _private(name) - own)
    return pages * resource.getpagesize()


def _private(pid: str) -> int:
    """Pages of a process that are no files'."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            _, held, shared, *_ = file.read().split()
        return int(held) - int(shared)
    except (OSError, ValueError):
        return 0


def watch(pidfd: int, pipes: dict[int, Buffer], channel: int, deadline: float, memory: int) -> int:
    """Collect output until the program ends; returns `TIMED_OUT` or `OOM` when it has to be stopped, else 0."""
    poll = select.poll()
    for fd in (*pipes, pidfd):
        poll.register(fd, select.POLLIN)
    poll.register(channel, 0)
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return TIMED_OUT
        ended = False
        for fd, _ in poll.poll(1000 * (min(left, TICK) if memory else left)):
            if fd == channel:
                raise Gone
            if fd == pidfd:
                ended = True
            elif not pipes[fd].fill(fd):
                poll.unregister(fd)
        if ended:
            return 0
        if memory and resident() > memory:
            return OOM


def end_everything(pid: int) -> tuple[int, Any]:
    """Kill all that is left and reap it; returns the program's status and usage."""
    own: tuple[int, Any] = (0, None)
    while True:
        try:
            if os.getpid() == 1:
                os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            pass
        try:
            ended, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return own
        if ended == pid:
            own = status, usage


def deliver(answers: int, payload: int) -> None:
    """In a fork: send back the files that were asked for, walking their names without following links."""
    meta, _ = read_meta(payload)
    for name in meta["want"]:
        fds = [os.open(HOME, os.O_RDONLY | os.O_DIRECTORY)]
        try:
            *folders, last = name.split("/")
            for folder in folders:
                fds.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fds[-1]))
            fds.append(os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=fds[-1]))
            about = os.fstat(fds[-1])
            if stat.S_ISREG(about.st_mode) and about.st_size <= meta["most"]:
                with open(fds[-1], "rb", closefd=False) as file:
                    content = file.read()
                label = name.encode()
                send(answers, FRAME.pack(b"N", len(label)), label, FRAME.pack(b"F", len(content)), content)
        except OSError:
            # Not there, a link, or not readable: then it is not a file that came of the program.
            continue
        finally:
            for fd in fds:
                os.close(fd)


@dataclasses.dataclass(frozen=True)
class Standby:
    """A fork that has set its stage and waits for a program: what that costs is paid before anybody asks."""

    pid: int
    pidfd: int
    out: int
    err: int
    go: int
    """Where it is told to begin, by its seconds of CPU."""
    payload: int
    """The memory file that it will read its request from."""
    flag: mmap.mmap
    """One byte that it shares: whether it ended for want of memory."""

    def close(self) -> None:
        """Let go of everything; it has ended."""
        for fd in (self.pidfd, self.out, self.err, self.go, self.payload):
            os.close(fd)
        self.flag.close()


def prepare(config: dict[str, Any]) -> Standby:
    """Fork the process of the next program."""
    payload, flag = os.memfd_create("payload"), mmap.mmap(-1, 1)
    (out, to_out), (err, to_err), (wait, go) = os.pipe(), os.pipe(), os.pipe()
    for attempt in range(100):
        try:
            pid = os.fork()
            break
        except BlockingIOError:
            # The kernel frees the places of processes that have just ended a little later.
            if attempt == 99:
                raise
            time.sleep(0.01)
    if pid == 0:
        os.close(go)
        become_program(config["rlimits"], payload, (to_out, to_err), wait, flag)
    for fd in (to_out, to_err, wait):
        os.close(fd)
    return Standby(pid, os.pidfd_open(pid), out, err, go, payload, flag)


def attend(config: dict[str, Any], channel: int, standby: Standby, seconds: float, cpu: int) -> tuple[int, float, int]:
    """Run one program to its end and the end of all that it started; returns exit code, seconds and flags."""
    killed = oom_kills(config["oom_files"])
    start = time.monotonic()
    os.write(standby.go, cpu.to_bytes(8, "big"))
    pipes = {standby.out: OUT, standby.err: ERR}
    flags = watch(standby.pidfd, pipes, channel, start + seconds, config["watched_memory"])
    elapsed = time.monotonic() - start
    status, usage = end_everything(standby.pid)
    for fd, buffer in pipes.items():
        while buffer.fill(fd):
            pass
    code = os.waitstatus_to_exitcode(status)
    # What the kernel counts towards the limit and what it reports differ a little.
    ignored = code == -signal.SIGKILL and not flags and usage.ru_utime + usage.ru_stime > cpu
    if code == -signal.SIGXCPU or ignored:
        flags |= TIMED_OUT
    if standby.flag[0] or oom_kills(config["oom_files"]) > killed:
        flags |= OOM
    return code, elapsed, flags


def serve(config: dict[str, Any], channel: int, answers: int, before: Any) -> None:
    """One request, from its header to its result."""
    standby = prepare(config)
    magic, size, seconds, cpu, limit, wanted = REQUEST.unpack(read_exactly(channel, REQUEST.size))
    if magic != MAGIC:
        raise Gone
    take_payload(channel, size, standby.payload)
    OUT.begin(limit)
    ERR.begin(limit)
    code, elapsed, flags = attend(config, channel, standby, seconds, cpu)
    flags |= TRUNCATED if OUT.truncated or ERR.truncated else 0
    if wanted:
        in_fork(deliver, answers, standby.payload)
    standby.close()
    flags |= 0 if clean_up(before) else UNCLEAN
    frames: list[Any] = []
    for kind, buffer in ((b"O", OUT), (b"E", ERR)):
        frames += [FRAME.pack(kind, buffer.size), memoryview(buffer.store)[: buffer.size]]
    result = RESULT.pack(code, elapsed, flags)
    send(answers, *frames, FRAME.pack(b"R", len(result)), result)
    del frames
    for buffer in (OUT, ERR):
        wipe(buffer.store, buffer.size)
    wipe(SPILL, BLOCK)


def settle() -> tuple[int, int]:
    """Make this process what programs cannot reach; returns the channel's two ends."""
    if os.getpid() != 1:
        raise SystemExit("the worker must be process 1 of a PID namespace: it ends all processes that it can see")
    channel, answers, null = os.dup(0), os.dup(1), os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise SystemExit("the worker cannot protect itself from being traced")
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.umask(0o022)
    os.chdir("/")
    for name in PRELOADED.split():
        importlib.import_module(name)
    # The forks use these objects, over descriptors of their own.
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "surrogateescape"), (sys.stderr, None)):
        stream.reconfigure(encoding="utf-8", errors=errors, line_buffering=True)  # type: ignore[union-attr]
    random.seed(0)
    freeze()
    gc.collect()
    gc.freeze()
    gc.disable()
    return channel, answers


def main(config: dict[str, Any]) -> None:
    """Serve until the host hangs up, which ends everything here with this process."""
    channel, answers = settle()
    config["oom_files"] = [name for name in OOM_FILES if os.path.exists(name)]
    os.close(os.pidfd_open(1))
    hello = json.dumps({"python": sys.version.split()[0], "writable": [os.path.isdir(HOME)]}).encode()
    clean_up(measure())
    before = measure()
    try:
        send(answers, FRAME.pack(b"H", len(hello)), hello)
        while True:
            serve(config, channel, answers, before)
    except Gone:
        return
