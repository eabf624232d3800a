"""The errors that Kintsugi raises on purpose, in three families.

`UsageError` is the caller's to mend (exit code 2); `InfraError` is a broken browser, container or model server: it is
retried within bounds and never turned into a score; anything else that escapes is a bug of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXTRAS = {
    "accelerate": "models",
    "docker": "code",
    "filelock": "runs",
    "huggingface_hub": "models",
    "jinja2": "report",
    "miniwob": "miniwob",
    "peft": "models",
    "PIL": "web",
    "platformdirs": "runs",
    "playwright": "web",
    "plotly": "report",
    "pyarrow": "trading",
    "requests": "code",
    "safetensors": "models",
    "scipy": "runs",
    "textworld": "alfworld",
    "tokenizers": "models",
    "tomli_w": "runs",
    "torch": "models",
    "transformers": "models",
    "werkzeug": "web",
    "yfinance": "yahoo",
}
"""Optional library, by import name, to the extra of this package that installs it."""


class KintsugiError(Exception):
    """Base of all errors raised on purpose."""


class UsageError(KintsugiError):
    """Bad input. The text says what happened, the value, what was expected and what to do next."""


class TooLongError(UsageError):
    """A chat whose first and last turns alone do not fit a model's window."""


class InfraError(KintsugiError):
    """What the attempt stood on broke (browser, container, server): the attempt counts for nothing."""


class MissingExtraError(UsageError):
    """An optional library is not installed."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library!r} is not installed; it comes with an extra: pip install 'kintsugi[{extra}]'")


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """The error that names the extra to install; None for a module that none of our extras brings."""
    library = (error.name or "").partition(".")[0]
    return MissingExtraError(library, EXTRAS[library]) if library in EXTRAS else None


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not in `known`, with the nearest names suggested."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    listed = ", ".join(names[:20]) + (f", ... ({len(names)} in all)" if len(names) > 20 else "")
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {listed or 'none'}"
    return UsageError(f"unknown {kind} {name!r}; {hint}")
