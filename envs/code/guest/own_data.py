"""What an object of a solution is in plain form. It says this before its operators are told a value of the tests."""

from __future__ import annotations

import contextlib
import itertools
import operator
from typing import Any

MAX_ITEMS = 100_000
"""An object with more items has no plain form as a sequence."""
MAX_ATTRIBUTES = 50


def data_of(value: Any) -> list[Any]:
    """Return an object as a number, a text, items, and pairs of keys and values; then its attributes by name.

    None stands for each form that it does not have.
    """
    forms: list[Any] = []
    for form in (_number, _text, _items, _pairs):
        found = None
        with contextlib.suppress(Exception):
            found = form(value)
        forms.append(found)
    return [*forms, _attributes(value)]


def _number(value: Any) -> Any:
    kind, found = type(value), []
    if hasattr(kind, "__index__"):
        return operator.index(value)
    for name, convert in (("__int__", int), ("__float__", float), ("__complex__", complex)):
        with contextlib.suppress(Exception):
            found += [convert(value)] if hasattr(kind, name) else []
    # A fraction has no exact integer.
    return next((each for each, other in itertools.pairwise(found) if each == other), found[-1] if found else None)


def _text(value: Any) -> str | None:
    kind: Any = type(value)
    return str(value) if kind.__str__ is not object.__str__ else None


def _items(value: Any) -> list[Any] | None:
    if hasattr(type(value), "__next__"):
        # To look at the items of an iterator uses them up.
        return None
    found = list(itertools.islice(iter(value), MAX_ITEMS + 1))
    return found if len(found) <= MAX_ITEMS else None


def _pairs(value: Any) -> list[Any]:
    return [[key, value[key]] for key in value.keys()]  # noqa: SIM118


def _attributes(value: Any) -> dict[str, Any]:
    slots = [name for kind in type(value).__mro__ for name in _names(vars(kind).get("__slots__", ()))]
    found = {name: getattr(value, name) for name in slots if hasattr(value, name)} | dict(
        getattr(value, "__dict__", {})
    )
    return dict(itertools.islice(found.items(), MAX_ATTRIBUTES))


def _names(slots: Any) -> list[str]:
    return [slots] if isinstance(slots, str) else list(slots)
