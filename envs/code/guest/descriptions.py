"""Descriptions of classes, exceptions and other objects, from which the other process makes its stand-ins."""

from __future__ import annotations

import abc
import contextlib
import sys
import types
from collections.abc import Callable
from typing import Any

from .mirror import FORWARDED, INHERITED, SHOWN, is_base
from .values import KINDS, SUBCLASSED, known_name, tag_of

Encode = Callable[[Any], Any]
CHAIN = ("__cause__", "__context__", "__suppress_context__")
"""Attributes of an exception that say what led to it."""
FIELDS = ("filename", "filename2", "name", "path")
"""Attributes of built-in exceptions that are not among their arguments."""


def describe_class(kind: type, encode: Encode) -> list[Any]:
    """Return the description of a class, which `Mirrors.make_class` understands."""
    names, bases = dict(vars(kind)), []
    for base in kind.__bases__:
        if is_base(base) or base.__module__.partition(".")[0] not in sys.stdlib_module_names:
            bases.append(base)
            continue
        # The methods of such a class would not work on a stand-in, which takes them for its own.
        inherited = [each for each in base.__mro__ if is_base(each)]
        bases.append(inherited[0])
        for each in base.__mro__[:-1]:
            names.update(vars(each))
    # As a tuple, because a container has no content while its message is being read.
    values = {name: vars(kind)[name] for name, usual in SHOWN.items() if isinstance(vars(kind).get(name), usual)}
    shown = [[name, encode(tuple(v.items()) if isinstance(v, dict) else v)] for name, v in values.items()]
    usual = (*FORWARDED, *INHERITED)
    names = {name: value for name, value in names.items() if name in usual or not name.startswith("__")}
    own = [f"{name}=" if name == "__hash__" and value is None else name for name, value in names.items()]
    metaclass = type(kind)
    of_class = [
        name
        for name in FORWARDED
        if getattr(metaclass, name, None) not in (getattr(type, name, None), getattr(abc.ABCMeta, name, None))
        and name not in ("__call__", "__dir__")
    ]
    names_ = [kind.__name__, kind.__qualname__, str(kind.__module__)]
    return ["class", *names_, [encode(each) for each in dict.fromkeys(bases)], own, of_class, shown]


def describe_object(value: Any, encode: Encode, with_causes: bool) -> list[Any]:
    """Return the description of an object that is neither a plain value nor a container.

    Args:
        value: The object.
        encode: Returns the objects that it refers to as JSON data.
        with_causes: Whether the exceptions that led to an exception are described as well.
    """
    kind = type(value)
    if kind in (types.GeneratorType, types.CoroutineType):
        return [kind.__name__, value.__name__, value.__qualname__]
    encoded = ["kind", known_name(kind)] if known_name(kind) else encode(kind)
    if issubclass(kind, BaseException):
        arguments = (value.message, value.exceptions) if isinstance(value, BaseExceptionGroup) else value.args
        return ["error", encoded, list(map(encode, arguments)), _error_attributes(value, encode, with_causes)]
    for base in SUBCLASSED:
        if issubclass(kind, base):
            tag = tag_of(base)
            return ["value", encoded, [tag, *map(encode, KINDS[tag][1](value))]]
    return ["object", encoded]


def _error_attributes(error: BaseException, encode: Encode, with_causes: bool) -> list[Any]:
    found = dict(vars(error)) if known_name(type(error)) else {}
    for name in FIELDS:
        field = getattr(error, name, None) if known_name(type(error)) else None
        if isinstance(field, (str, bytes)):
            found[name] = field
    if with_causes:
        found.update((name, getattr(error, name)) for name in CHAIN if getattr(error, name))
    return [[name, encode(each)] for name, each in found.items()]


def make_error(kind: Any, arguments: list[Any], attributes: list[tuple[str, Any]], is_stand_in: bool) -> BaseException:
    """Return the exception, or the stand-in for it, that a description stands for.

    Raises:
        ValueError: If `kind` is no class of exceptions.
    """
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        raise ValueError("not an exception")
    known = next(each for each in kind.__mro__ if known_name(each))
    error = known.__new__(kind, *(arguments if issubclass(kind, BaseExceptionGroup) else ()))
    if not is_stand_in:
        # Some built-in exceptions have fields that only their own constructor sets.
        with contextlib.suppress(Exception):
            error = kind(*arguments)
    BaseException.__setattr__(error, "args", tuple(arguments))
    for name, value in attributes:
        BaseException.__setattr__(error, name, value)
    return error
