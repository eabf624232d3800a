"""What the measuring scripts share: used wrongly, `python -m kintsugi.benchmarks...` ends as `kintsugi` does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from ..errors import InfraError, UsageError


def positive(text: str) -> int:
    """The type of an option that counts something: a whole number, 1 or more."""
    return _whole(text, 1)


def natural(text: str) -> int:
    """The type of an option that numbers something: a whole number, 0 or more."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"it is {text!r}; a whole number is needed") from None
    if number < least:
        raise argparse.ArgumentTypeError(f"it is {number}; at least {least} is needed")
    return number


def run(main: Callable[[], None]) -> None:
    """Run a script; bad input is one line and exit code 2, what broke outside 3."""
    try:
        main()
    except (UsageError, OSError) as error:
        sys.exit(_said(str(error), 2))
    except InfraError as error:
        sys.exit(_said(f"something outside broke: {error}", 3))


def _said(text: str, code: int) -> int:
    sys.stderr.write(f"{Path(sys.argv[0]).name}: {' '.join(text.split())}\n")
    return code
