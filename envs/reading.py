"""Reading of files that others wrote: whatever they hold, only `OSError` or `ValueError` is raised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_bytes(path: Path) -> bytes:
    """Return the content of a regular file.

    Args:
        path: Path of the file.

    Raises:
        OSError: The file cannot be read, or is a folder, a pipe or a device: reading those may never end.
        ValueError: The path has a NUL character.
    """
    if path.exists() and not path.is_file():
        raise OSError("it is not a regular file")
    return path.read_bytes()


def read_text(path: Path) -> str:
    """Return the text of a regular file in UTF-8, with newlines as line ends. Raises as `read_bytes` does."""
    return read_bytes(path).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Args:
        text: The text, or its bytes in UTF-8, UTF-16 or UTF-32.

    Raises:
        ValueError: The text is not JSON, or is nested more deeply than Python can read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
