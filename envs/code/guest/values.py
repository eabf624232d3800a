"""Plain values as JSON data, and the names of types that two processes have in common."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import functools
import gc
import itertools
import re
import sys
import types
from collections.abc import Callable
from typing import Any

SCALARS = frozenset({type(None), bool, str, float})
"""Types whose values are JSON values, NaN and the infinities included."""
MAX_JSON_INT = 1 << 63
"""Larger integers are sent as text, because Python limits the digits of integers in JSON."""

Arguments = Callable[[Any], "list[Any]"]


def _date(value: Any) -> list[Any]:
    return [value.year, value.month, value.day]


def _time(value: Any) -> list[Any]:
    return [value.hour, value.minute, value.second, value.microsecond, value.tzinfo, value.fold]


def _make_datetime(*fields: Any) -> Any:
    return datetime.datetime(*fields[:-1], fold=fields[-1])


def _make_time(*fields: Any) -> Any:
    return datetime.time(*fields[:-1], fold=fields[-1])


KINDS: dict[str, tuple[type, Arguments, Callable[..., Any]]] = {
    "int": (int, lambda value: [hex(value)], lambda text: int(text, 16)),
    "float": (float, lambda value: [float.__float__(value)], float),
    "complex": (complex, lambda value: [value.real, value.imag], complex),
    "str": (str, lambda value: [str.__str__(value)], str),
    "bytes": (bytes, lambda value: [bytes.hex(value)], bytes.fromhex),
    "tuple": (tuple, lambda value: list(tuple.__iter__(value)), lambda *items: items),
    "frozenset": (frozenset, lambda value: list(frozenset.__iter__(value)), lambda *items: frozenset(items)),
    "range": (range, lambda value: [value.start, value.stop, value.step], range),
    "slice": (slice, lambda value: [value.start, value.stop, value.step], slice),
    "ellipsis": (type(...), lambda value: [], lambda: ...),
    "not implemented": (type(NotImplemented), lambda value: [], lambda: NotImplemented),
    "fraction": (fractions.Fraction, lambda value: [value.numerator, value.denominator], fractions.Fraction),
    "decimal": (decimal.Decimal, lambda value: [decimal.Decimal.__str__(value)], decimal.Decimal),
    "datetime": (datetime.datetime, lambda value: _date(value) + _time(value), _make_datetime),
    "date": (datetime.date, _date, datetime.date),
    "time": (datetime.time, _time, _make_time),
    "timedelta": (
        datetime.timedelta, lambda value: [value.days, value.seconds, value.microseconds], datetime.timedelta
    ),
    "timezone": (datetime.timezone, lambda value: list(value.__getinitargs__()), datetime.timezone),
    "pattern": (re.Pattern, lambda value: [value.pattern, value.flags], re.compile),
}  # fmt: skip
"""For each kind of plain value: its type, the arguments that make it, and the function that makes it."""
_TAGS = {kind: tag for tag, (kind, _, _) in KINDS.items()}
# Where the clock is frozen, subclasses of the same name replace the date classes. Both are plain.
_TAGS.update({base: _TAGS[kind] for kind in list(_TAGS) for base in kind.__mro__[1:] if base.__name__ == kind.__name__})
SUBCLASSED: tuple[type, ...] = (
    int, float, complex, str, bytes, tuple, frozenset, fractions.Fraction, decimal.Decimal
)  # fmt: skip
"""Immutable types whose subclasses are sent with their plain value."""
VIEWS: dict[type, str] = {
    type({}.keys()): "keys", type({}.values()): "values", type({}.items()): "items",
    type(collections.OrderedDict().keys()): "keys", type(collections.OrderedDict().values()): "values",
    type(collections.OrderedDict().items()): "items",
}  # fmt: skip
"""Views of dictionaries, which are sent as the dictionary and the name of the method."""
_TYPE_MODULES = (
    "builtins", "types", "collections", "collections.abc", "itertools", "functools", "fractions", "decimal", "datetime",
    "re", "enum", "dataclasses", "numbers", "abc", "typing", "random", "string", "operator", "copy", "json", "heapq",
)  # fmt: skip


def plain_kind(value: Any) -> str:
    """Return the kind of a plain value, or an empty string for any other object."""
    return _TAGS.get(type(value), "")


def viewed(view: Any) -> Any:
    """Return the dictionary that a view shows."""
    return gc.get_referents(view)[0]


@functools.lru_cache(maxsize=1)
def known_types() -> dict[str, type]:
    """Return the types that have the same meaning in every process, by their full names."""
    found: list[Any] = [kind for kind in vars(types).values() if isinstance(kind, type)]
    for name in _TYPE_MODULES:
        found += [kind for kind in vars(sys.modules.get(name, types)).values() if isinstance(kind, type)]
    empty: list[Any] = [[], (), {}, set(), "", b"", range(0), range(1 << 70), bytearray(), collections.deque()]
    for value in empty:
        found += [type(iter(value)), *([type(reversed(value))] if hasattr(value, "__reversed__") else [])]
    found += [*VIEWS, type(iter({}.values())), type(iter({}.items())), type(iter(str, "")), type(re.match("", ""))]
    found += [kind for kind in vars(itertools).values() if isinstance(kind, type)]
    return {f"{kind.__module__}.{kind.__qualname__}": kind for kind in reversed(found)}


def known_name(kind: type) -> str:
    """Return the full name of a type of `known_types`, or an empty string."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    return name if known_types().get(name) is kind else ""
