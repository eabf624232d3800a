"""Plain values as JSON data, and the names of types that two processes have in common."""

from __future__ import annotations

import abc
import array
import collections
import datetime
import decimal
import fractions
import functools
import gc
import itertools
import operator
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


def _make_pattern(pattern: Any, flags: int) -> Any:
    return re.compile(pattern, flags & ~re.DEBUG)  # which would print the compiled pattern


def _field(value: Any) -> list[Any]:
    names = ("name", "type", "default", "default_factory", "init", "repr", "hash", "compare", "kw_only")
    return [*(getattr(value, name) for name in names), dict(value.metadata), value._field_type.name]


def _make_field(
    name: Any, kind: Any, default: Any, factory: Any, init: Any, shown: Any, hashed: Any, compared: Any, keyword: Any,
    metadata: Any, what: Any,
) -> Any:  # fmt: skip
    import dataclasses

    if not (type(name) is str and name.isidentifier()):
        raise ValueError("not the name of a field")  # It becomes part of source code.
    made = dataclasses.Field(default, factory, init, shown, hashed, compared, metadata, keyword)
    made.name, made.type = name, kind
    sorts = [getattr(dataclasses, each) for each in ("_FIELD", "_FIELD_CLASSVAR", "_FIELD_INITVAR")]
    made._field_type = next(each for each in sorts if each.name == what)  # type: ignore[attr-defined]
    return made


def _make_missing() -> Any:
    import dataclasses

    return dataclasses.MISSING


def _make_uuid(number: int) -> Any:
    import uuid

    return uuid.UUID(int=number)


def _path_maker(name: str) -> Callable[[str], Any]:
    def make(text: str) -> Any:
        import pathlib

        return getattr(pathlib, name)(text)

    return make


def _make_union(*kinds: Any) -> Any:
    if not all(kind is None or isinstance(kind, (type, types.GenericAlias, types.UnionType)) for kind in kinds):
        raise ValueError("not a union of types")
    return functools.reduce(operator.or_, kinds)


def _make_typing_alias(name: str, origin: Any, *arguments: Any) -> Any:
    import typing

    return (getattr(typing, name) if name in TYPING else origin)[_without_texts(arguments)]


def _make_alias(origin: Any, arguments: Any) -> Any:
    return types.GenericAlias(origin, _without_texts(arguments if isinstance(arguments, tuple) else (arguments,)))


def _without_texts(arguments: Any) -> Any:
    """Return arguments of a type in which `object` replaces texts, which `typing.get_type_hints` would evaluate."""
    return tuple(object if isinstance(each, str) else each for each in arguments)


def _typing_alias(value: Any) -> list[Any]:
    origin = value.__origin__
    return [str(value._name or ""), origin if isinstance(origin, type) else None, *value.__args__]


def _given(value: Any, missing: Any) -> tuple[Any, ...]:
    return () if value is missing else (value,)


def _signature(value: Any) -> list[Any]:
    parts = [
        (each.name, int(each.kind), _given(each.default, each.empty), _given(each.annotation, each.empty))
        for each in value.parameters.values()
    ]
    return [_given(value.return_annotation, value.empty), *parts]


def _make_signature(returned: Any, *parts: Any) -> Any:
    import inspect

    kinds: Any = [inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD]
    kinds += [inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD]
    parameters = [
        inspect.Parameter(name, kinds[kind], **dict(zip(("default",), default)), **dict(zip(("annotation",), hint)))  # noqa: B905
        for name, kind, default, hint in parts
    ]
    return inspect.Signature(parameters, **dict(zip(("return_annotation",), returned)))  # noqa: B905


def _make_zone(key: str) -> Any:
    import zoneinfo

    return zoneinfo.ZoneInfo(key)


TYPING = frozenset(
    "Union Optional List Dict Set FrozenSet Tuple Deque DefaultDict Counter Iterable Iterator Sequence Mapping".split()
)
"""Names of `typing` whose aliases are plain values."""
PATHS = ("PosixPath", "PurePosixPath", "PureWindowsPath")
KINDS: dict[str, tuple[type | str, Arguments, Callable[..., Any]]] = {
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
    "pattern": (re.Pattern, lambda value: [value.pattern, value.flags], _make_pattern),
    "alias": (types.GenericAlias, lambda value: [value.__origin__, value.__args__], _make_alias),
    "union": (types.UnionType, lambda value: list(value.__args__), _make_union),
    "optional": ("typing._UnionGenericAlias", lambda value: ["Union", None, *value.__args__], _make_typing_alias),
    "typing alias": ("typing._GenericAlias", _typing_alias, _make_typing_alias),
    "field": ("dataclasses.Field", _field, _make_field),
    "missing": ("dataclasses._MISSING_TYPE", lambda value: [], _make_missing),
    "signature": ("inspect.Signature", _signature, _make_signature),
    "zone": ("zoneinfo.ZoneInfo", lambda value: [str(value.key)], _make_zone),
    "uuid": ("uuid.UUID", lambda value: [value.int], _make_uuid),
    **{name: (f"pathlib.{name}", lambda value: [str(value)], _path_maker(name)) for name in PATHS},
}  # fmt: skip
"""For each kind of plain value: its type, the arguments that make it, and the function that makes it.

A type whose module takes long to load is named instead.
"""
_TAGS = {kind: tag for tag, (kind, _, _) in KINDS.items() if isinstance(kind, type)}
_NAMED_TAGS = {kind: tag for tag, (kind, _, _) in KINDS.items() if isinstance(kind, str)}
# Where the clock is frozen, subclasses of the same name replace the date classes. Both are plain.
_TAGS.update({base: _TAGS[kind] for kind in list(_TAGS) for base in kind.__mro__[1:] if base.__name__ == kind.__name__})
SUBCLASSED: tuple[type, ...] = (
    int, float, complex, str, bytes, tuple, frozenset, fractions.Fraction, decimal.Decimal, datetime.datetime,
    datetime.date, datetime.time, datetime.timedelta,
)  # fmt: skip
"""Immutable types whose subclasses are sent with their plain value. A subclass stands before its base."""
VIEWS: dict[type, str] = {
    type({}.keys()): "keys", type({}.values()): "values", type({}.items()): "items",
    type(collections.OrderedDict().keys()): "keys", type(collections.OrderedDict().values()): "values",
    type(collections.OrderedDict().items()): "items",
}  # fmt: skip
"""Views of dictionaries, which are sent as the dictionary and the name of the method."""
_TYPE_MODULES = (
    "builtins", "types", "collections", "collections.abc", "itertools", "functools", "fractions", "decimal", "datetime",
    "re", "enum", "dataclasses", "numbers", "abc", "typing", "random", "string", "operator", "copy", "json", "heapq",
    "array",
)  # fmt: skip


def plain_kind(value: Any) -> str:
    """Return the kind of a plain value, or an empty string for any other object."""
    kind = type(value)
    tag = _TAGS.get(kind) or _NAMED_TAGS.get(f"{kind.__module__}.{kind.__qualname__}", "")
    if tag == "typing alias" and value._name not in TYPING:
        return ""
    known = tag == "" or kind in _TAGS or getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is kind
    return tag if known else ""


def subclassed(kind: Any, plain: Any) -> Any:
    """Return an object of a class, or stand-in class, that inherits from one of `SUBCLASSED`, with a plain value."""
    if isinstance(plain, fractions.Fraction):
        made = object.__new__(kind)
        for name in ("_numerator", "_denominator"):
            object.__setattr__(made, name, getattr(plain, name))
        return made
    if isinstance(plain, (datetime.date, datetime.time)):
        fields = KINDS[plain_kind(plain)][1](plain)
        fold = {"fold": fields.pop()} if hasattr(plain, "fold") else {}
        return type(plain).__new__(kind, *fields, **fold)
    if isinstance(plain, datetime.timedelta):
        return datetime.timedelta.__new__(kind, plain.days, plain.seconds, plain.microseconds)
    try:
        return type(plain).__new__(kind, plain)
    except TypeError:
        # The standard library has some that only they themselves can make, such as `time.struct_time`.
        return kind(plain)


def tag_of(kind: type) -> str:
    """Return the kind of the plain values of a type of `SUBCLASSED`."""
    return _TAGS[kind]


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


@functools.lru_cache(maxsize=1)
def data_types() -> frozenset[type]:
    """Return the types of plain values and containers, whose constructors only make such values."""
    builtin = (object, bool, bytearray, dict, list, memoryview, set, type(None))
    others = (array.array, datetime.tzinfo, types.SimpleNamespace)
    of_collections = (collections.Counter, collections.OrderedDict, collections.defaultdict, collections.deque)
    plain = (kind for kind, _, _ in KINDS.values() if isinstance(kind, type) and kind not in (types.GenericAlias,))
    return frozenset((*builtin, *others, *of_collections, *plain))


def is_data_type(kind: type) -> bool:
    """Return whether a known type is one of data, an exception or an abstract class: calling it runs no other code."""
    abstract = kind.__module__ in ("collections.abc", "numbers", "abc") and type(kind) is abc.ABCMeta
    return kind in data_types() or issubclass(kind, BaseException) or abstract


def known_name(kind: type) -> str:
    """Return the full name of a type of `known_types`, or an empty string."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    return name if known_types().get(name) is kind else ""
