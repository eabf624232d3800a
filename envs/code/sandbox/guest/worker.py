"""The worker: process 1 of a sandbox. It forks a child for each program and keeps no data of it for the next program.

The worker never runs a program itself. Its memory, which the next fork inherits, holds no data of a program:
requests go into a memory file that only the fork reads, and output passes through buffers that are zeroed afterwards.
Programs cannot send signals to process 1 of their namespace. Process 1 is not dumpable, so they can neither trace it
nor read its memory. A system call filter refuses to change its limits and priorities, and these are checked after each
program.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib
import json
import mmap
import os
import random
import select
import signal
import socket
import stat
import sys
import time
from collections.abc import Iterable
from typing import Any

from . import memory
from .child import HOME, PR_SET_DUMPABLE, become_program, libc, read_metadata
from .cleanup import clean_up, fork, measure_state, run_in_fork
from .clock import freeze
from .filter import choose_filters, install_filter
from .host import BLOCK, SCRATCH, HostDisconnected, Relay, read_exactly, receive_payload, send, wipe
from .idle import IdleTime
from .wire import FRAME, IDLE, MAGIC, OOM, REQUEST, RESULT, TIMED_OUT, TRUNCATED, UNCLEAN

MEMORY_CHECK_SECONDS = 0.005
"""Seconds between two checks of the memory, if no cgroup limits it."""
OOM_FILES = ("/run/oom", "/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
PRELOADED = (
    "abc array ast base64 bisect collections contextlib contextvars copy dataclasses datetime decimal enum fractions "
    "functools hashlib heapq importlib.util inspect itertools json linecache math numbers operator random re selectors "
    "statistics string textwrap threading time traceback typing weakref zlib"
)
"""Modules that are imported in advance, because many programs use them."""


class Buffer:
    """Keeps the first `limit` bytes of an output stream."""

    def __init__(self) -> None:
        self.store = bytearray(BLOCK)
        self.size = self.limit = 0
        self.truncated = False

    def reset(self, limit: int) -> None:
        """Prepare the buffer for the next program."""
        if len(self.store) > BLOCK:
            self.store = bytearray(BLOCK)
        self.size, self.limit, self.truncated = 0, limit, False

    def fill(self, fd: int) -> bool:
        """Read once from `fd`. Return False at its end."""
        if self.size < self.limit:
            if self.size == len(self.store):
                self._grow()
            with memoryview(self.store) as view:
                got = os.readv(fd, [view[self.size : self.limit]])
            self.size += got
        else:
            got = os.readv(fd, [SCRATCH])
            self.truncated = self.truncated or got > 0
        return got > 0

    def _grow(self) -> None:
        """Double the store. It is not as large as the limit from the start, since it takes memory from the program."""
        larger = bytearray(2 * self.size)
        larger[: self.size] = self.store
        wipe(self.store, self.size)
        self.store = larger


OUT, ERR = Buffer(), Buffer()


def oom_kills(files: Iterable[str]) -> int:
    """Return how many processes of this sandbox the kernel has killed for lack of memory, or 0 if unknown."""
    for name in files:
        with open(name) as file:
            for line in file:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def watch_program(
    pidfd: int, pipes: dict[int, Buffer], relay: Relay, deadline: float, idle: IdleTime, most: int
) -> int:
    """Collect output until the program ends. Return flags that say why it must be stopped, and 0 otherwise."""
    poll = select.poll()
    for fd in (*pipes, pidfd, relay.commands):
        poll.register(fd, select.POLLIN)
    connected = relay.program >= 0
    while True:
        now = time.monotonic()
        remaining = min(deadline - now, idle.seconds_to_check(now))
        if now >= deadline:
            return TIMED_OUT
        if idle.check(now, relay.awaited):
            return TIMED_OUT | IDLE
        ended = False
        if connected:
            poll.register(relay.program, relay.events())
        for fd, event in poll.poll(1000 * (min(remaining, MEMORY_CHECK_SECONDS) if most else remaining)):
            if fd == relay.commands:
                if not relay.obey():
                    return 0
            elif fd == relay.program:
                if event & select.POLLOUT:
                    relay.flush()
                if event & ~select.POLLOUT and not relay.forward():
                    poll.unregister(fd)
                    connected = False
            elif fd == pidfd:
                ended = True
            elif not pipes[fd].fill(fd):
                poll.unregister(fd)
        if ended:
            while connected and relay.forward() and select.select([relay.program], [], [], 0)[0]:
                pass
            return 0
        if most and memory.exceeds(most):
            return OOM


def kill_everything(pid: int) -> tuple[int, Any]:
    """Kill and reap all remaining processes. Return the program's exit status and resource usage."""
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


def send_files(answers: int, payload: int) -> None:
    """Send the requested files to the host, without following links. Must run in a fork."""
    metadata, _ = read_metadata(payload)
    for name in metadata["want"]:
        fds = [os.open(HOME, os.O_RDONLY | os.O_DIRECTORY)]
        try:
            *folders, last = name.split("/")
            for folder in folders:
                fds.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fds[-1]))
            fds.append(os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=fds[-1]))
            status = os.fstat(fds[-1])
            if stat.S_ISREG(status.st_mode) and status.st_size <= metadata["most"]:
                with open(fds[-1], "rb", closefd=False) as file:
                    content = file.read()
                label = name.encode()
                send(answers, FRAME.pack(b"N", len(label)), label, FRAME.pack(b"F", len(content)), content)
        except OSError:
            # Files that are missing, links or not readable are not returned.
            continue
        finally:
            for fd in fds:
                os.close(fd)


@dataclasses.dataclass(frozen=True)
class Standby:
    """A fork that is prepared in advance and waits for a program, so that the program starts without delay."""

    pid: int
    pidfd: int
    out: int
    err: int
    channel: socket.socket
    """The worker's end of the program's channel."""
    start_pipe: int
    """File descriptor for the start message, which is the CPU time limit in seconds."""
    payload: int
    """File descriptor of the memory file that holds the request."""
    oom_flag: mmap.mmap
    """One shared byte, set to 1 if the program ended with a `MemoryError`."""

    def close(self) -> None:
        """Close all file descriptors after the process has ended."""
        for fd in (self.pidfd, self.out, self.err, self.start_pipe, self.payload):
            os.close(fd)
        self.channel.close()
        self.oom_flag.close()


def fork_standby(config: dict[str, Any]) -> Standby:
    """Fork the process that will run the next program."""
    payload, oom_flag = os.memfd_create("payload"), mmap.mmap(-1, 1)
    (out, to_out), (err, to_err), (start_read, start_write) = os.pipe(), os.pipe(), os.pipe()
    channel, theirs = socket.socketpair()
    pid = fork()
    if pid == 0:
        os.close(start_write)
        become_program(config, payload, (to_out, to_err), theirs.fileno(), start_read, oom_flag)
    for fd in (to_out, to_err, start_read):
        os.close(fd)
    theirs.close()
    return Standby(pid, os.pidfd_open(pid), out, err, channel, start_write, payload, oom_flag)


def run_program(
    config: dict[str, Any], relay: Relay, standby: Standby, seconds: float, idle: float, cpu: int
) -> tuple[int, float, int]:
    """Run one program and end all processes that it started. Return its exit code, seconds and flags."""
    killed = oom_kills(config["oom_files"])
    start = time.monotonic()
    os.write(standby.start_pipe, cpu.to_bytes(8, "big"))
    pipes = {standby.out: OUT, standby.err: ERR}
    waiting = IdleTime(idle, start)
    flags = watch_program(standby.pidfd, pipes, relay, start + seconds, waiting, config["watched_memory"])
    elapsed = time.monotonic() - start
    status, usage = kill_everything(standby.pid)
    for fd, buffer in pipes.items():
        while buffer.fill(fd):
            pass
    code = os.waitstatus_to_exitcode(status)
    # SIGKILL follows SIGXCPU if the program ignores it. Measured CPU time may differ slightly from the kernel's count.
    ignored = code == -signal.SIGKILL and not flags and usage.ru_utime + usage.ru_stime > cpu
    if code == -signal.SIGXCPU or ignored:
        flags |= TIMED_OUT
    if standby.oom_flag[0] or oom_kills(config["oom_files"]) > killed:
        flags |= OOM
    return code, elapsed, flags


def skip_to_request(commands: int) -> int:
    """Read up to the header of the next request. Return the number of bytes that follow.

    What the host still sent to the previous program is skipped.
    """
    while True:
        kind, size = FRAME.unpack(read_exactly(commands, FRAME.size))
        if kind == b"Q":
            return int(size)
        skipped = os.memfd_create("skipped")
        receive_payload(commands, size, skipped)
        os.close(skipped)


def serve_request(config: dict[str, Any], commands: int, answers: int, before: Any) -> None:
    """Receive one request, run its program and send the result."""
    standby = fork_standby(config)
    size = skip_to_request(commands)
    magic, seconds, idle, cpu, limit, n_files, connected = REQUEST.unpack(read_exactly(commands, REQUEST.size))
    if magic != MAGIC:
        raise HostDisconnected
    receive_payload(commands, size - REQUEST.size, standby.payload)
    OUT.reset(limit)
    ERR.reset(limit)
    relay = Relay((commands, answers), standby.channel.fileno() if connected else -1)
    code, elapsed, flags = run_program(config, relay, standby, seconds, idle, cpu)
    relay.close()
    flags |= TRUNCATED if OUT.truncated or ERR.truncated else 0
    if n_files:
        run_in_fork(send_files, answers, standby.payload)
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
    wipe(SCRATCH, BLOCK)


def set_up(config: dict[str, Any]) -> tuple[int, int]:
    """Protect this process from programs and prepare the interpreter. Return the connection to the host: two fds.

    Adds `program_filter` to the configuration.
    """
    if os.getpid() != 1:
        raise SystemExit("the worker must be process 1 of a PID namespace, because it kills all processes that it sees")
    commands, answers, null = os.dup(0), os.dup(1), os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise SystemExit("the worker cannot protect itself from being traced")
    filters = choose_filters(config)
    install_filter(filters[0])
    # A cgroup counts memory of all kinds. Without one, programs get none that cannot be counted.
    config["program_filter"] = filters[1] if config["watched_memory"] else b""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.umask(0o022)
    os.chdir("/")
    for name in PRELOADED.split():
        importlib.import_module(name)
    # Forks use these stream objects with their own file descriptors.
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "surrogateescape"), (sys.stderr, None)):
        stream.reconfigure(encoding="utf-8", errors=errors, line_buffering=True)  # type: ignore[union-attr]
    random.seed(0)
    freeze()
    gc.collect()
    gc.freeze()
    gc.disable()
    return commands, answers


def main(config: dict[str, Any]) -> None:
    """Serve requests until the host disconnects. All processes of the sandbox end with this process."""
    commands, answers = set_up(config)
    config["oom_files"] = [name for name in OOM_FILES if os.path.exists(name)]
    os.close(os.pidfd_open(1))
    hello = json.dumps({"python": sys.version.split()[0], "writable": [os.path.isdir(HOME)]}).encode()
    clean_up(measure_state())
    before = measure_state()
    try:
        send(answers, FRAME.pack(b"H", len(hello)), hello)
        while True:
            serve_request(config, commands, answers, before)
    except HostDisconnected:
        return
