"""Checks of the channel between a program and the host, and of the separation of trusted programs."""

from __future__ import annotations

import threading
from typing import Any

from ..sandbox.core import Channel, Result
from .context import QUICK, CheckContext, require

ECHO = """
    import socket
    channel = socket.socket(fileno=3)
    while data := channel.recv(65536):
        channel.sendall(data.upper())
"""


class Conversation:
    """A program that runs in another thread, and what it has sent through its channel."""

    def __init__(self, context: CheckContext, program: str, **options: Any) -> None:
        self.received = bytearray()
        self.changed = threading.Condition()
        self.channel = Channel(self._receive)
        self.outcome: list[Result | BaseException] = []
        self.thread = threading.Thread(target=self._run, args=(context, program, options), daemon=True)
        self.thread.start()

    def _receive(self, data: bytes) -> None:
        with self.changed:
            self.received += data
            self.changed.notify_all()

    def _run(self, context: CheckContext, program: str, options: dict[str, Any]) -> None:
        try:
            self.outcome.append(context.run(program, channel=self.channel, **options))
        except BaseException as error:
            self.outcome.append(error)

    def wait_for(self, size: int) -> bytes:
        """Return what was received as soon as it has this size, or after 20 seconds."""
        with self.changed:
            self.changed.wait_for(lambda: len(self.received) >= size, 20)
            return bytes(self.received)

    def end(self) -> Result:
        """Stop the program and return its result."""
        self.channel.stop()
        self.thread.join(40)
        require(bool(self.outcome), "the program was not stopped")
        [outcome] = self.outcome
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def passes_bytes_through_the_channel(context: CheckContext) -> None:
    """Bytes must reach the program and come back, in order, also if the host sends before the program starts."""
    conversation = Conversation(context, ECHO)
    conversation.channel.send(b"first ")
    conversation.channel.send(b"x" * 3_000_000)
    got = conversation.wait_for(3_000_006)
    require(got == b"FIRST " + b"X" * 3_000_000, f"{len(got)} bytes came back, beginning with {got[:20]!r}")
    conversation.end()
    context.check_still_works()


def stops_a_program_through_its_channel(context: CheckContext) -> None:
    """A stopped program must end with exit code -9, and the next program must run normally."""
    conversation = Conversation(context, "import signal; signal.pause()")
    result = conversation.end()
    require(result.exit == -9 and not result.timed_out, f"the result is {result}")
    conversation.channel.send(b"too late")
    conversation.channel.stop()
    context.check_still_works()


def ends_programs_that_do_not_listen(context: CheckContext) -> None:
    """A program that reads nothing must still be ended at its limit, whatever is sent to it."""
    conversation = Conversation(context, "while True: pass", limits=QUICK.__class__(seconds=20, cpu_seconds=1))
    for _ in range(8):
        conversation.channel.send(b"y" * 1_000_000)
    conversation.thread.join(40)
    require(bool(conversation.outcome), "the program was not ended")
    require(getattr(conversation.outcome[0], "timed_out", False), f"the result is {conversation.outcome[0]}")
    context.check_still_works()


def returns_what_was_sent_before_the_end(context: CheckContext) -> None:
    """Bytes that a program sends immediately before its end must arrive."""
    conversation = Conversation(context, "import os\nos.write(3, b'last words')\nos._exit(5)")
    conversation.thread.join(40)
    require(bytes(conversation.received) == b"last words", f"{bytes(conversation.received)!r} arrived")
    require(getattr(conversation.outcome[0], "exit", None) == 5, f"the result is {conversation.outcome[0]}")


def has_no_channel_without_one(context: CheckContext) -> None:
    """A program without a channel must not have file descriptor 3."""
    context.expect_output("import os\ntry: os.fstat(3)\nexcept OSError: print('closed')", "closed")


def leaves_no_bytes_of_a_channel(context: CheckContext) -> None:
    """What was sent to one program must not be found by the next one, in memory or in its channel."""
    for size in (20, 300_000):
        conversation = Conversation(context, "import time; time.sleep(0.2)")
        conversation.channel.send(b"SECRET-" + b"z" * size)
        conversation.thread.join(40)
    program = """
        import socket
        channel = socket.socket(fileno=3)
        channel.settimeout(0.2)
        try: print(channel.recv(10))
        except TimeoutError: pass
        needle, found = b"SECRET" + b"-zz", 0
        for line in open("/proc/self/maps"):
            span, rights = line.split()[:2]
            if "r" in rights and "[v" not in line:
                start, end = (int(v, 16) for v in span.split("-"))
                try:
                    with open("/proc/self/mem", "rb", 0) as memory:
                        memory.seek(start)
                        found += memory.read(end - start).count(needle)
                except (OSError, OverflowError, ValueError): pass
        print(found)
    """
    dumpable = "import ctypes; ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)\n"
    conversation = Conversation(context, dumpable + "\n".join(line[8:] for line in program.splitlines()))
    conversation.thread.join(40)
    text = getattr(conversation.outcome[0], "text", str(conversation.outcome[0]))
    require(text.strip() in ("0", "1"), f"the next program found {text!r}")


def lets_trusted_programs_wait_for_others(context: CheckContext) -> None:
    """Programs must run while as many trusted programs as the sandbox has workers wait for them."""
    waiting = [Conversation(context, "import os; os.read(3, 1)", trusted=True) for _ in range(4)]
    try:
        for _ in range(5):
            context.check_still_works()
    finally:
        for each in waiting:
            each.channel.send(b"x")
            each.thread.join(40)
    for each in waiting:
        require(getattr(each.outcome[0], "exit", None) == 0, f"the result is {each.outcome[0]}")


def separates_trusted_programs(context: CheckContext) -> None:
    """A program must see neither files nor processes nor sockets of a trusted one, and must not reach it by signals."""
    trusted = """
        import os, signal, socket
        open("/tmp/trusted", "w").write("x"); open("/dev/shm/trusted", "w").write("x")
        listener = socket.socket(socket.AF_UNIX); listener.bind("\\0trusted"); listener.listen()
        os.write(3, b"ready")
        os.read(3, 1)
        print("unharmed", sorted(set(os.listdir("/tmp")) - {"main.py"}))
    """
    conversation = Conversation(context, trusted, trusted=True)
    conversation.wait_for(5)
    program = """
        import os, signal, socket
        found = [p for p in ("/tmp/trusted", "/dev/shm/trusted") if os.path.exists(p)]
        for pid in range(2, 2000):
            if pid != os.getpid():
                try: os.kill(pid, signal.SIGINT); found.append(pid)
                except OSError: pass
        try: socket.socket(socket.AF_UNIX).connect("\\0trusted"); found.append("socket")
        except OSError: pass
        open("/tmp/calendar.py", "w").write("x")
        print(found)
    """
    context.expect_output(program, "[]")
    conversation.channel.send(b"x")
    conversation.thread.join(40)
    text = getattr(conversation.outcome[0], "text", str(conversation.outcome[0]))
    require(text.strip() == "unharmed ['trusted']", f"the trusted program ended with {conversation.outcome[0]}")
