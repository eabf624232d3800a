"""Exceptions that Kintsugi raises.

`UsageError` means bad input (exit code 2). `InfraError` is an infrastructure failure, such as a browser, container or
model server that broke. It is retried a limited number of times and never counted as a score of 0. Any other exception
is a bug in Kintsugi.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXTRAS = {
    "accelerate": "models",
    "docker": "code",
    "filelock": "runs",
    "gguf": "smollm2",
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
"""Import name of each optional library, mapped to the extra of this package that installs it."""


class KintsugiError(Exception):
    """Base class of all errors that Kintsugi raises."""


class UsageError(KintsugiError):
    """Bad input. The message says what happened, the value, what was expected and what to do."""


class TooLongError(UsageError):
    """A chat exceeds the model's context window even without the turns that may be dropped."""


class InfraError(KintsugiError):
    """An infrastructure failure (browser, container, server). The attempt is excluded from scores."""


class MissingExtraError(UsageError):
    """An optional library is not installed."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library!r} is not installed; it comes with an extra: pip install 'kintsugi[{extra}]'")


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """Return the error that names the extra to install, or None for a module that belongs to no extra."""
    library = (error.name or "").partition(".")[0]
    return MissingExtraError(library, EXTRAS[library]) if library in EXTRAS else None


def unknown(kind: str, name: str, known: Iterable[str], of: str = "") -> UsageError:
    """Return a `UsageError` for a name that is not in `known`, with the most similar names as suggestions.

    Args:
        kind: What the name stands for, such as "argument".
        name: The unknown name.
        known: The known names.
        of: What the names belong to, such as "agent 'react'".
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    listed = ", ".join(names[:20]) + (f", ... ({len(names)} in all)" if len(names) > 20 else "")
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {listed or 'none'}"
    return UsageError(f"unknown {kind} {name!r}{of and f' of {of}'}; {hint}")
