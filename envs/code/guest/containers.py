"""Mutable containers, whose content both processes hold."""

from __future__ import annotations

import array
import collections
import types
from typing import Any

CONTAINERS: tuple[type, ...] = (
    collections.Counter, collections.defaultdict, collections.OrderedDict, dict, list, set, bytearray,
    collections.deque, array.array, types.SimpleNamespace,
)  # fmt: skip
"""Container types. A subclass stands before its base."""


def base_of(kind: type) -> Any:
    """Return the container type that a type is or inherits from. Raises `TypeError` for other types."""
    for base in CONTAINERS:
        if issubclass(kind, base):
            return base
    raise TypeError(f"{kind.__name__} is no container type")


def new_container(kind: Any, option: Any) -> Any:
    """Return an empty container of a type. `option` is that of `option_of`."""
    base = base_of(kind)
    if base is array.array:
        return base.__new__(kind, option)
    container = base.__new__(kind)
    if base is collections.deque:
        base.__init__(container, (), option)
    elif base is collections.defaultdict:
        base.__init__(container, option)
    else:
        base.__init__(container)
    return container


def option_of(container: Any) -> Any:
    """Return what a container has beside its content: its length limit, factory of missing values, or type code."""
    names = {collections.deque: "maxlen", collections.defaultdict: "default_factory", array.array: "typecode"}
    name = names.get(base_of(type(container)), "")
    return getattr(container, name, None)


def content_of(container: Any) -> list[Any]:
    """Return what a container holds: its items, or its keys and values in turn."""
    base = base_of(type(container))
    if base is types.SimpleNamespace:
        return [each for pair in vars(container).items() for each in pair]
    if issubclass(base, dict):
        return [each for pair in base.items(container) for each in pair]
    return [*base.__iter__(container)]


def set_content(container: Any, content: list[Any]) -> None:
    """Replace what a container holds."""
    base = base_of(type(container))
    if base is types.SimpleNamespace:
        # Its attributes are a dictionary.
        base, container = dict, vars(container)
    # Hashing an item may run code. Nothing is changed before all items are hashed.
    if issubclass(base, dict):
        pairs = dict(zip(content[::2], content[1::2]))  # noqa: B905
        base.clear(container)
        for key, value in pairs.items():
            base.__setitem__(container, key, value)
    elif base is set:
        items = set(content)
        set.clear(container)
        set.update(container, items)
    elif base is collections.deque:
        base.clear(container)
        base.extend(container, content)
    else:
        whole: Any = array.array(container.typecode, content) if base is array.array else content
        base.__setitem__(container, slice(None), whole)
