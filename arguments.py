"""From plain data to typed arguments: what a command line, a TOML file or a run's record says of constructors.

`arguments(function, values)` gives the keyword arguments of a call, `build(cls, values)` an object of a dataclass.
Values may be text: they are converted by the annotations. `a.b` is field `b` of the dataclass argument `a`. An object
that no text can stand for is named by the place where it is defined, `module:attribute`, or is what a function makes of
one text, `module:function(text)`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from .errors import UsageError, unknown
from .plugins import load

T = TypeVar("T")
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_REFERENCE = re.compile(r"([A-Za-z_][\w.]*:[A-Za-z_][\w.]*)(?:\((.*)\))?", re.DOTALL)


def parse_pairs(words: Sequence[str]) -> dict[str, str]:
    """`["a=1", "b=2"]`, or `["a", "1", "b", "2"]`, as a dictionary. Raises `UsageError` for a name without a value."""
    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name, sign, value = word.partition("=")
        if not sign:
            value = next(rest, "")
            if not value:
                raise UsageError(f"{word!r} has no value; expected NAME=VALUE")
        found[name] = value
    return found


def arguments(function: Callable[..., Any], values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The keyword arguments that `values` mean for `function`.

    Raises `UsageError`, which begins with `what`, for a name that is no argument and a value that does not fit.
    """
    hints = _hints(function)
    signature = inspect.signature(function).parameters.values()
    known = [p.name for p in signature if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    anything = any(p.kind is p.VAR_KEYWORD for p in signature)
    found = {}
    for name, value in _nested(values).items():
        if name not in known and not anything:
            raise unknown(f"{what} argument", name, known)
        found[name] = convert(value, hints.get(name, Any), f"{what} argument {name!r}")
    return found


def build(cls: type[T], values: Mapping[str, Any], what: str) -> T:
    """An object of a dataclass from its fields; those that are left out have their defaults. Raises `UsageError`."""
    return cls(**arguments(cls, values, what))


def changed(config: T, values: Mapping[str, Any], what: str) -> T:
    """The same dataclass object with fields replaced, fields of fields too. Raises `UsageError`."""
    hints, known = _hints(type(config)), [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    found = {}
    for name, value in _nested(values).items():
        if name not in known:
            raise unknown(f"{what} key", name, known)
        now = getattr(config, name)
        deeper = isinstance(value, Mapping) and dataclasses.is_dataclass(now)
        where = f"{what} key {name!r}"
        found[name] = changed(now, value, f"{what}.{name}") if deeper else convert(value, hints[name], where)
    return dataclasses.replace(config, **found)  # type: ignore[type-var]


def convert(value: Any, wanted: Any, what: str) -> Any:
    """`value` as the type `wanted`; what is no text or mapping is taken as it is."""
    if typing.get_origin(wanted) is typing.Annotated:
        return convert(value, typing.get_args(wanted)[0], what)
    if typing.get_origin(wanted) in (typing.Union, types.UnionType):
        return _first(value, typing.get_args(wanted), what)
    if isinstance(value, Mapping) and dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
        return build(wanted, value, what)
    if isinstance(value, list) and typing.get_origin(wanted) is tuple:
        return tuple(value)
    if not isinstance(value, str):
        return value
    try:
        return _from_text(value, wanted)
    except (ValueError, TypeError):
        raise UsageError(f"{what} is {value!r}; expected {_described(wanted)}") from None


def plain(value: Any) -> Any:
    """JSON-clean data that says what `value` is: objects that are no data are named by their class or definition."""
    if isinstance(value, str | int | float | bool | None):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if isinstance(value, Path):
        return str(value)
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}:{named.__qualname__}"


def _from_text(text: str, wanted: Any) -> Any:
    """Raises `ValueError` where the text is no such value."""
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted in (Any, str, object):
        return text
    if wanted is bool:
        if text.lower() not in _WORDS:
            raise ValueError(text)
        return _WORDS[text.lower()]
    if wanted in (int, float, Path):
        return wanted(text)
    if wanted is type(None):
        if text.lower() != "none":
            raise ValueError(text)
        return None
    if origin is typing.Literal:
        return inner[list(map(str, inner)).index(text)]
    if origin in (tuple, list, Sequence, frozenset):
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return tuple(_from_text(part, inner[0] if inner else str) for part in parts)
    return _referred(text)


def _referred(text: str) -> Any:
    """The object that `module:attribute` or `module:function(text)` names."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    found = load(match[1], repr(text))
    return found if match[2] is None else found(match[2])


def _first(value: Any, choices: Iterable[Any], what: str) -> Any:
    """The value as the first of these types that it can be; None and numbers before plain text."""
    ordered = sorted(choices, key=lambda each: (each is not type(None), each in (str, object, Any)))
    if not isinstance(value, str):
        mapped = [each for each in ordered if isinstance(value, Mapping) and dataclasses.is_dataclass(each)]
        return convert(value, mapped[0], what) if mapped else value
    for each in ordered:
        with contextlib.suppress(ValueError, TypeError):
            return _from_text(value, each)
    raise UsageError(f"{what} is {value!r}; expected {' or '.join(map(_described, ordered))}")


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """`{"a.b": 1}` as `{"a": {"b": 1}}`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        first, dot, rest = name.partition(".")
        if dot and isinstance(found.setdefault(first, {}), dict):
            found[first][rest] = value
        else:
            found[name] = value
    return found


def _hints(function: Any) -> dict[str, Any]:
    return typing.get_type_hints(function.__init__ if inspect.isclass(function) else function, include_extras=True)


def _described(wanted: Any) -> str:
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted is type(None):
        return "none"
    if origin is typing.Literal:
        return " or ".join(map(repr, inner))
    if origin in (tuple, list, Sequence):
        return "values with commas between"
    if wanted in (bool, int, float, str, Path):
        names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
        return names[wanted]
    if dataclasses.is_dataclass(wanted):
        return f"its fields, such as {', '.join(field.name + '=...' for field in dataclasses.fields(wanted)[:3])}"
    return "a reference, 'module:attribute' or 'module:function(text)'"
