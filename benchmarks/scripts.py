"""Shared code of the scripts `python -m kintsugi.benchmarks...`: argument types, and the exit codes of `kintsugi`."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from ..errors import InfraError, UsageError

TERMINATED = "SIGTERM"
"""Argument of the `KeyboardInterrupt` that stands for a SIGTERM."""


def positive(text: str) -> int:
    """Parse a command-line integer of at least 1."""
    return _whole(text, 1)


def natural(text: str) -> int:
    """Parse a command-line integer of at least 0."""
    return _whole(text, 0)


def _whole(text: str, minimum: int) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}; expected an integer") from None
    if number < minimum:
        raise argparse.ArgumentTypeError(f"got {number}; expected at least {minimum}")
    return number


def run(main: Callable[[], None]) -> None:
    """Run a script.

    Errors are printed in one line. The exit code is 2 for bad input, 3 for an infrastructure failure, 130 after Ctrl-C
    and 143 after SIGTERM.

    Args:
        main: The script; takes its arguments from `sys.argv`.
    """
    try:
        with terminated_like_interrupted():
            main()
    except KeyboardInterrupt as interrupt:
        sys.exit(_print_error(*interruption(interrupt)))
    except (UsageError, OSError) as error:
        sys.exit(_print_error(str(error), 2))
    except InfraError as error:
        sys.exit(_print_error(f"infrastructure failure: {error}", 3))


def interruption(interrupt: KeyboardInterrupt) -> tuple[str, int]:
    """Return what to print about an interruption, with the notes that it collected, and the exit code."""
    word, code = ("terminated", 143) if interrupt.args == (TERMINATED,) else ("interrupted", 130)
    notes = getattr(interrupt, "__notes__", [])
    kept = f"{'; '.join(notes)}; repeat the command to go on" if notes else "stored results are kept"
    return f"{word}; {kept}", code


@contextlib.contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM raise `KeyboardInterrupt`, as Ctrl-C does, so that processes end and unfinished files are removed.

    Does nothing outside the main thread, which alone receives signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    terminated = False

    def terminate(number: int, frame: FrameType | None) -> None:
        nonlocal terminated
        terminated = True
        # While an event loop runs, asyncio handles SIGINT, so that tasks end in order.
        handler = signal.getsignal(signal.SIGINT)
        (handler if callable(handler) else signal.default_int_handler)(signal.SIGINT, frame)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if terminated:
            interrupt.args = (TERMINATED,)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _print_error(text: str, code: int) -> int:
    sys.stderr.write(f"{Path(sys.argv[0]).name}: {' '.join(text.split())}\n")
    return code
