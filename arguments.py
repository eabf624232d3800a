"""Conversion of plain data (command line, TOML, a run's record) to typed arguments.

`parse_arguments(function, values)` returns the keyword arguments of a call. `build(cls, values)` returns a dataclass
object. Text values are converted according to the annotations. The key `a.b` sets field `b` of the dataclass argument
`a`. Any other object is given as a reference: `module:attribute`, or `module:function(text)` for the result of a call
with one string.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from .errors import UsageError, unknown
from .plugins import load

T = TypeVar("T")
_SEQUENCES = (tuple, list, Sequence, frozenset)
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_REFERENCE = re.compile(r"([A-Za-z_][\w.]*:[A-Za-z_][\w.]*)(?:\((.*)\))?", re.DOTALL)


def parse_pairs(words: Sequence[str]) -> dict[str, str]:
    """Return `["a=1", "b=2"]` or `["a", "1", "b", "2"]` as a dictionary.

    Raises:
        UsageError: If a name has no value.
    """
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


def parse_arguments(
    function: Callable[..., Any], values: Mapping[str, Any], label: str, provided: Collection[str] = ()
) -> dict[str, Any]:
    """Convert `values` to keyword arguments for `function`.

    Args:
        function: A function or class. A class whose `__init__` takes `**options` also has the arguments of its parents.
        values: Values by argument name.
        label: Beginning of error messages, such as `agent 'react'`.
        provided: Names of required arguments that the caller passes itself.

    Returns:
        The converted values by argument name.

    Raises:
        UsageError: If a name is unknown, a value cannot be converted, or a required argument is missing.
    """
    known, any_keyword = parameters(function)
    hints = type_hints_of(function)
    found = {}
    for name, value in _nested(values).items():
        if name not in known and not any_keyword:
            raise unknown("argument", name, known, label)
        where, default = f"{label} argument {name!r}", known.get(name)
        nested = isinstance(value, Mapping) and _is_dataclass_object(default)
        found[name] = replace_fields(default, value, where) if nested else convert(value, hints.get(name, Any), where)
    for name, default in known.items():
        if default is inspect.Parameter.empty and name not in found and name not in provided:
            raise UsageError(f"{label} needs the argument {name!r}; expected {_describe(hints.get(name, Any))}")
    return found


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the default values of all optional arguments; for a class, also those of its parents."""
    return {
        name: default for name, default in parameters(function)[0].items() if default is not inspect.Parameter.empty
    }


def parameters(function: Any) -> tuple[dict[str, Any], bool]:
    """Return default values by argument name, and whether `function` accepts any other keyword.

    The value of a required argument is `inspect.Parameter.empty`.
    """
    callables, found = _callables_of(function), dict[str, Any]()
    for each in callables:
        for p in list(inspect.signature(each).parameters.values())[int(inspect.isclass(function)) :]:
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
                found.setdefault(p.name, p.default)
    if inspect.isclass(function) and dataclasses.is_dataclass(function):
        factories = {field.name: field.default_factory for field in dataclasses.fields(function) if field.init}
        found |= {name: factory() for name, factory in factories.items() if factory is not dataclasses.MISSING}
    return found, bool(callables) and _takes_any_keyword(callables[-1])


def build(cls: type[T], values: Mapping[str, Any], label: str) -> T:
    """Return an object of the dataclass `cls` with the given field values.

    A nested dataclass field starts from its default object, so that a mapping or dotted key needs to set only the
    fields that differ.

    Raises:
        UsageError: As in `parse_arguments`.
    """
    return cls(**parse_arguments(cls, values, label))


def replace_fields(config: T, values: Mapping[str, Any], where: str, table: str = "") -> T:
    """Return a copy of a dataclass object with fields replaced, including nested fields.

    Args:
        config: A dataclass object.
        values: New values by field name. Nested fields are mappings or dotted keys.
        where: Source of the values for error messages, such as the path of a TOML file.
        table: Dotted name of the TOML table that `config` corresponds to; empty at the top level.

    Raises:
        UsageError: If a key is unknown or a value cannot be converted.
    """
    hints, known = type_hints_of(type(config)), [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    found = {}
    for name, value in _nested(values).items():
        if name not in known:
            raise unknown("key", name, known, f"{where}{table and f', table [{table}]'}")
        now, key = getattr(config, name), f"{table}.{name}" if table else name
        nested = isinstance(value, Mapping) and _is_dataclass_object(now)
        found[name] = (
            replace_fields(now, value, where, key) if nested else convert(value, hints[name], f"{where}: {key}")
        )
    return dataclasses.replace(config, **found)  # type: ignore[type-var]


def type_hints_of(function: Any) -> dict[str, Any]:
    """Return the annotated types of the arguments of a function or class by name.

    Raises:
        UsageError: If an annotation names a type that is not defined at run time.
    """
    # `get_type_hints` resolves inherited dataclass fields in the module that defines them.
    own = [function] if dataclasses.is_dataclass(function) else reversed(_callables_of(function))
    try:
        return {name: hint for each in own for name, hint in typing.get_type_hints(each, include_extras=True).items()}
    except NameError as error:
        raise UsageError(
            f"the types of the arguments of {to_plain(function)!r} cannot be read ({error}); "
            "import them at run time, not under TYPE_CHECKING"
        ) from error


def convert(value: Any, annotation: Any, label: str) -> Any:
    """Convert `value` to the type `annotation`.

    Text is parsed. Other JSON values are checked against the type. Any other object is returned unchanged.

    Raises:
        UsageError: If the value does not fit the type. The message begins with `label`.
    """
    if typing.get_origin(annotation) is typing.Annotated:
        return convert(value, typing.get_args(annotation)[0], label)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return _convert_union(value, typing.get_args(annotation), label)
    if isinstance(value, Mapping) and dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return build(annotation, value, label)
    is_sequence = isinstance(value, list) and typing.get_origin(annotation) in _SEQUENCES
    if not is_sequence and not isinstance(value, str):
        if not _fits(value, annotation):
            raise UsageError(f"{label} is {value!r}; expected {_describe(annotation)}")
        return value
    try:
        if is_sequence:
            return _convert_items(annotation, value, lambda each, kind: convert(each, kind, label))
        return _from_text(value, annotation)
    except (ValueError, TypeError):
        raise UsageError(f"{label} is {value!r}; expected {_describe(annotation)}") from None


def to_plain(value: Any) -> Any:
    """Return `value` as JSON-serialisable data.

    A dataclass object becomes a dictionary of its fields. A class or function, and the class of any other object,
    becomes `module:qualname`.
    """
    if isinstance(value, str | int | float | bool | None):
        return value
    if _is_dataclass_object(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(map(to_plain, value), key=str)
    if isinstance(value, Path):
        return str(value)
    definition = value if hasattr(value, "__qualname__") else type(value)
    return f"{definition.__module__}:{definition.__qualname__}"


def _from_text(text: str, annotation: Any) -> Any:
    """Parse text as the type `annotation`. Raise `ValueError` if the text does not fit."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in (Any, str, object):
        return text
    if annotation is bool:
        if text.lower() not in _BOOLEANS:
            raise ValueError(text)
        return _BOOLEANS[text.lower()]
    if annotation in (int, float, Path):
        return annotation(text)
    if annotation is type(None):
        if text.lower() != "none":
            raise ValueError(text)
        return None
    if origin is typing.Literal:
        return inner[list(map(str, inner)).index(text)]
    if origin in _SEQUENCES:
        return _convert_items(annotation, [part.strip() for part in text.split(",") if part.strip()], _from_text)
    return _load_reference(text)


def _fits(value: Any, annotation: Any) -> bool:
    """Return whether a value other than text fits the type `annotation`. Values that are not JSON always fit."""
    if annotation in (Any, object) or not isinstance(value, bool | int | float | list | dict | None):
        return True
    if typing.get_origin(annotation) is typing.Literal:
        return any(value == choice and type(value) is type(choice) for choice in typing.get_args(annotation))
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation in (bool, int):
        return type(value) is annotation
    kind = typing.get_origin(annotation) or annotation
    return value is None if annotation is type(None) else not isinstance(kind, type) or isinstance(value, kind)


def _convert_items(annotation: Any, parts: Sequence[Any], convert_part: Callable[[Any, Any], Any]) -> Any:
    """Convert each part and return them as a tuple, list or set. Raise `ValueError` if their number is wrong."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    kinds = inner if origin is tuple and inner[-1:] != (Ellipsis,) else inner[:1] * len(parts)
    found = [convert_part(part, kind) for part, kind in zip(parts, kinds, strict=True)]
    return origin(found) if origin in (list, frozenset) else tuple(found)


def _load_reference(text: str) -> Any:
    """Return the object for the reference `module:attribute` or `module:function(text)`."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    found = load(match[1], repr(text))
    if match[2] is None:
        return found
    try:
        return found(match[2])
    except (ValueError, TypeError) as error:
        # `convert` would report a bare `ValueError` as a text that is not a reference.
        raise UsageError(
            f"the call {text!r} failed ({type(error).__name__}: {error}); expected a text that {match[1]!r} accepts"
        ) from error


def _convert_union(value: Any, choices: Iterable[Any], label: str) -> Any:
    """Convert `value` to the first type in `choices` that fits, trying None first and text last."""
    ordered = sorted(choices, key=lambda each: (each is not type(None), each in (str, object, Any)))
    if not isinstance(value, str):
        mapped = [each for each in ordered if isinstance(value, Mapping) and dataclasses.is_dataclass(each)]
        listed = [each for each in ordered if isinstance(value, list) and typing.get_origin(each) in _SEQUENCES]
        if mapped or listed:
            return convert(value, [*mapped, *listed][0], label)
        if any(_fits(value, each) for each in ordered):
            return value
    for each in ordered if isinstance(value, str) else ():
        with contextlib.suppress(ValueError, TypeError):
            return _from_text(value, each)
    raise UsageError(f"{label} is {value!r}; expected {' or '.join(map(_describe, ordered))}")


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn `{"a.b": 1}` into `{"a": {"b": 1}}`, merged with a mapping that is given for `a`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        first, dot, rest = name.partition(".")
        part, before = ({rest: value} if dot else value), found.get(first)
        if isinstance(part, Mapping) and isinstance(before, Mapping):
            found[first] = {**before, **part}
        elif dot and before is not None:
            found[name] = value
        else:
            found[first] = part
    return found


def _callables_of(function: Any) -> list[Any]:
    """Return the functions that take the arguments.

    For a class, these are its `__init__` and, as long as they accept `**options`, those of its parents.
    """
    if not inspect.isclass(function):
        return [function]
    found: list[Any] = []
    for cls in function.__mro__[:-1]:
        if "__init__" in vars(cls) and (not found or _takes_any_keyword(found[-1])):
            found.append(vars(cls)["__init__"])
    return found


def _takes_any_keyword(function: Any) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())


def _is_dataclass_object(value: Any) -> bool:
    """Return whether `value` is an object of a dataclass, not a class."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _describe(annotation: Any) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is type(None):
        return "none"
    if origin is typing.Literal:
        return " or ".join(map(repr, inner))
    if origin in _SEQUENCES:
        return "values separated by commas"
    if annotation in (bool, int, float, str, Path):
        names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
        return names[annotation]
    if dataclasses.is_dataclass(annotation):
        return f"its fields, such as {', '.join(field.name + '=...' for field in dataclasses.fields(annotation)[:3])}"
    return "a reference, 'module:attribute' or 'module:function(text)'"
