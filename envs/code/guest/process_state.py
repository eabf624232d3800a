"""What tests change in their process and a solution would see in the same one: streams, patches, seeds, settings."""

from __future__ import annotations

import functools
import importlib
import os
import re
import sys
from collections.abc import Callable
from typing import Any

PATCHED = (
    "builtins", "collections", "datetime", "functools", "glob", "io", "itertools", "json", "logging", "math", "os",
    "os.path", "random", "secrets", "shutil", "socket", "string", "subprocess", "sys", "tempfile", "threading", "time",
    "urllib.request", "uuid", "warnings",
)  # fmt: skip
"""Modules whose functions and classes tests may replace."""
STREAMS = ("stdin", "stdout", "stderr")
ALIASES = {"redirect_stdout": "sys", "redirect_stderr": "sys"}
"""Names that replace something in a module that they do not name."""


def _environ() -> Any:
    return dict(os.environ)


def _set_environ(values: Any) -> None:
    os.environ.clear()
    os.environ.update(values)


def _decimal() -> Any:
    import decimal

    context = decimal.getcontext()
    traps = [kind.__name__ for kind, is_set in context.traps.items() if is_set]
    return [context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp, traps]


def _set_decimal(values: Any) -> None:
    import decimal

    prec, rounding, low, high, capitals, clamp, traps = values
    kinds = [getattr(decimal, name) for name in traps]
    decimal.setcontext(decimal.Context(prec, rounding, low, high, capitals, clamp, [], kinds))


def _filters() -> Any:
    import warnings

    return list(warnings.filters)


def _set_filters(values: Any) -> None:
    import warnings

    warnings.filters[:] = values  # type: ignore[index]
    warnings._filters_mutated()  # type: ignore[attr-defined]


SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], None]]] = {
    "environ": (_environ, _set_environ),
    "decimal": (_decimal, _set_decimal),
    "setrecursionlimit": (sys.getrecursionlimit, sys.setrecursionlimit),
    "warnings": (_filters, _set_filters),
}
"""For each word in tests: what it may change, as a function that gets it and one that sets it."""


class ProcessState:
    """Notices what tests change. Only what their text names is looked at."""

    def __init__(self, text: str) -> None:
        """Remember the state before the tests run."""
        words = set(re.findall(r"\w+", text))
        words |= {ALIASES[word] for word in words & ALIASES.keys()}
        modules = [name for name in PATCHED if words.issuperset(name.split("."))]
        self.originals = {name: dict(vars(importlib.import_module(name))) for name in modules}
        self.settings = {word: get() for word, (get, _) in SETTINGS.items() if word in words}
        self.is_seeded = False
        if "random" in self.originals:
            self._watch_seeds()
        self.forget()

    def reset(self) -> None:
        """Undo what the tests changed."""
        for module, values in self.originals.items():
            for name, value in values.items():
                if vars(sys.modules[module]).get(name) is not value and not name.startswith("__"):
                    setattr(sys.modules[module], name, value)
        for word, value in self.settings.items():
            SETTINGS[word][1](value)

    def forget(self) -> None:
        """The other process is a new one, which has the state from before the tests."""
        self.known = {name: dict(values) for name, values in self.originals.items()}
        self.known_settings = dict(self.settings)

    def changes(self) -> list[Any]:
        """Return what has changed since the last call, for `apply`."""
        found: list[Any] = []
        for module, known in self.known.items():
            now = vars(sys.modules[module])
            for name, value in known.items():
                if now.get(name) is not value and self._is_passed_on(module, name, now.get(name)):
                    known[name] = now.get(name)
                    is_original = known[name] is self.originals[module][name]
                    found.append(["restore", module, name] if is_original else ["patch", module, name, known[name]])
        for word, value in self.known_settings.items():
            now = SETTINGS[word][0]()
            if now != value:
                self.known_settings[word] = now
                found.append(["set", word, now])
        if self.is_seeded:
            import random

            self.is_seeded = False
            found.append(["seed", random.getstate()])
        return found

    def _is_passed_on(self, module: str, name: str, value: Any) -> bool:
        return name in STREAMS if module == "sys" else callable(value) and not name.startswith("__")

    def _watch_seeds(self) -> None:
        import random

        for name in ("seed", "setstate"):
            # The state after a seed can equal an earlier one, so it is the call that counts.
            setattr(random, name, self._noted(getattr(random, name)))
            self.originals["random"][name] = getattr(random, name)

    def _noted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **keywords: Any) -> Any:
            self.is_seeded = True
            return function(*arguments, **keywords)

        return call


class Imitation:
    """Makes the changes of the tests in the process of the solution."""

    def __init__(self) -> None:
        self.originals: dict[tuple[str, str], Any] = {}

    def apply(self, changes: list[Any]) -> None:
        """Make changes that `ProcessState.changes` found."""
        for kind, *details in changes:
            if kind == "set":
                SETTINGS[details[0]][1](details[1])
            elif kind == "seed":
                import random

                random.setstate(details[0])
            else:
                module, name = importlib.import_module(details[0]), details[1]
                original = self.originals.setdefault((details[0], name), getattr(module, name, None))
                setattr(module, name, details[2] if kind == "patch" else original)
