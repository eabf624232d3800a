"""Shared code of the scripts `python -m kintsugi.benchmarks...`: argument types and exit codes as of `kintsugi`."""

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


def _whole(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}; expected an integer") from None
    if number < least:
        raise argparse.ArgumentTypeError(f"got {number}; expected at least {least}")
    return number


def run(main: Callable[[], None]) -> None:
    """Run a script.

    Bad input prints one line and exits with code 2, an infrastructure failure with code 3.

    Args:
        main: The script; takes its arguments from `sys.argv`.
    """
    try:
        main()
    except (UsageError, OSError) as error:
        sys.exit(_said(str(error), 2))
    except InfraError as error:
        sys.exit(_said(f"infrastructure failure: {error}", 3))


def _said(text: str, code: int) -> int:
    sys.stderr.write(f"{Path(sys.argv[0]).name}: {' '.join(text.split())}\n")
    return code
