"""Classes that the code of one process derives from classes of the other one, and what `super()` finds for them."""

from __future__ import annotations

from typing import Any

from .values import known_name

OF_EACH_CLASS = frozenset(f"__{name}__" for name in "dict weakref module qualname doc".split())
"""Names in the namespace of a class that its subclasses do not inherit."""


def without_own_bases(
    bases: tuple[Any, ...], namespace: dict[str, Any], metaclass: type
) -> tuple[list[Any], dict[str, Any]]:
    """Replace bases of this process, which cannot be bases of a class of the other one, by what they define.

    Args:
        bases: Bases of the new class.
        namespace: Its namespace.
        metaclass: Metaclass of stand-ins.

    Returns:
        The other bases, and the namespace with what the left out ones define.
    """
    foreign = [base for base in bases if isinstance(base, metaclass) or known_name(base)]
    for base in reversed(bases):
        if base not in foreign:
            found = {name: value for kind in reversed(base.__mro__[:-1]) for name, value in vars(kind).items()}
            namespace = {name: value for name, value in found.items() if name not in OF_EACH_CLASS} | namespace
    return foreign, namespace


def inherited(target: Any, name: str, kind: type) -> Any:
    """Return an attribute as `super()` does that starts at a class."""
    value = next(vars(each)[name] for each in kind.__mro__ if name in vars(each))
    bind = getattr(type(value), "__get__", None)
    if bind is None:
        return value
    return bind(value, None, target) if isinstance(target, type) else bind(value, target, type(target))
