"""Shared code of the scripts `python -m kintsugi.benchmarks...`: argument types, and the exit codes of `kintsugi`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from ..errors import InfraError, UsageError


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

    Errors are printed in one line. The exit code is 2 for bad input and 3 for an infrastructure failure.

    Args:
        main: The script; takes its arguments from `sys.argv`.
    """
    try:
        main()
    except (UsageError, OSError) as error:
        sys.exit(_print_error(str(error), 2))
    except InfraError as error:
        sys.exit(_print_error(f"infrastructure failure: {error}", 3))


def _print_error(text: str, code: int) -> int:
    sys.stderr.write(f"{Path(sys.argv[0]).name}: {' '.join(text.split())}\n")
    return code
