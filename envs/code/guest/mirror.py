"""Stand-ins for objects of another process: the operations on them are carried out where the object is."""

from __future__ import annotations

import abc
import functools
from typing import Any, Protocol

from .containers import CONTAINERS
from .values import SUBCLASSED, known_types

OPERATORS = "lt le eq ne gt ge add sub mul matmul truediv floordiv mod divmod pow lshift rshift and xor or".split()
FORWARDED = frozenset(
    f"__{name}__"
    for name in (
        *OPERATORS,
        *(f"r{name}" for name in OPERATORS[6:]),
        *(f"i{name}" for name in OPERATORS[6:]),
        *"call len length_hint getitem setitem delitem missing iter next reversed contains bool hash".split(),
        *"repr str format bytes int float complex index round trunc floor ceil neg pos abs invert".split(),
        *"enter exit aenter aexit aiter anext await fspath dir".split(),
    )
)
"""Special methods that Python looks up in the type, and that stand-ins pass on."""
BASES = frozenset({object, *CONTAINERS, *SUBCLASSED})
"""Types that a stand-in class may inherit from, beside exceptions and the abstract classes of `collections.abc`."""


class Owner(Protocol):
    """What a stand-in needs of the connection to the process that owns its object."""

    def operate(self, target: Any, name: str, arguments: Any, keywords: Any) -> Any:
        """Call a special method of the object behind a stand-in."""
        ...

    def attribute(self, operation: str, target: Any, *arguments: Any) -> Any:
        """Get, set or delete an attribute of the object behind a stand-in, or copy the object."""
        ...


def is_base(kind: type) -> bool:
    """Return whether a stand-in class may inherit from a known type."""
    return kind in BASES or issubclass(kind, BaseException) or kind.__module__ == "collections.abc"


class Mirrors:
    """Makes stand-ins whose operations go to one owner."""

    def __init__(self, owner: Owner) -> None:

        def set_attribute(obj: Any, name: str, value: Any) -> None:
            # Python itself sets some attributes of exceptions and abstract classes, which stay here.
            if name.startswith("__") or name == "_abc_impl":
                (type if isinstance(obj, type) else object).__setattr__(obj, name, value)
            else:
                owner.attribute("set", obj, name, value)

        self.owner = owner
        self.methods = {name: self._method(name) for name in FORWARDED}
        self.common = {
            "__slots__": (),
            "__getattr__": lambda obj, name: owner.attribute("get", obj, name),
            "__setattr__": set_attribute,
            "__delattr__": lambda obj, name: owner.attribute("delete", obj, name),
            "__copy__": lambda obj: owner.attribute("copy", obj, False),
            "__deepcopy__": lambda obj, memo: owner.attribute("copy", obj, True),
        }
        shown = ("__repr__", "__str__", "__format__", "__dir__")
        self.shown = {name: self.methods[name] for name in shown}
        called = {"__call__": self.methods["__call__"]}
        self.metaclass: Any = type("MirroredType", (abc.ABCMeta,), {**self.common, **called})
        self.proxy_class = functools.lru_cache(maxsize=None)(self._proxy_class)

    def _method(self, name: str) -> Any:
        def method(*arguments: Any, **keywords: Any) -> Any:
            return self.owner.operate(arguments[0], name, arguments[1:], keywords)

        method.__name__ = name
        return method

    def _proxy_class(self, known: type) -> type:
        """Return the class of stand-ins for objects of a known type, such as functions and iterators."""
        names = [name for name in FORWARDED if getattr(known, name, None) is not getattr(object, name, None)]
        content = {**self.common, **self.shown, **{name: self.methods[name] for name in names}}
        # `isinstance` asks an object for its class.
        return type(known.__name__, (), {**content, "__class__": property(lambda obj: known)})

    def make_class(
        self, name: str, qualname: str, module: str, bases: list[type], names: list[str], of_class: list[str]
    ) -> type:
        """Return the stand-in for a class that the other process defined.

        Args:
            name: Its name.
            qualname: Its qualified name.
            module: Name of its module.
            bases: Known types and stand-ins.
            names: Names that the class defines. `__hash__=` says that its instances cannot be hashed.
            of_class: Special methods that its metaclass defines.
        """
        content: dict[str, Any] = dict(self.common)
        if not any(issubclass(base, (*CONTAINERS, *SUBCLASSED, BaseException)) for base in bases):
            content.update(self.shown)
        for each in names:
            if each == "__hash__=":
                content["__hash__"] = None
            elif each in FORWARDED:
                content[each] = self.methods[each]
            elif not each.startswith("__"):
                content[each] = _Attribute(self.owner, each)
        content.update(__module__=module, __qualname__=qualname)
        inherited = dict.fromkeys(type(base) for base in bases if isinstance(base, self.metaclass))
        metaclass = type(
            "MirroredType", tuple(inherited) or (self.metaclass,), {each: self.methods[each] for each in of_class}
        )
        try:
            made = metaclass(name, tuple(bases), dict(content))
        except TypeError:
            # Stand-ins of these bases cannot be combined.
            made = metaclass(name, (next((base for base in bases if base in BASES), object),), dict(content))
        made.__abstractmethods__ = frozenset()
        return made  # type: ignore[no-any-return]


class _Attribute:
    """An attribute that the other process defines in a class. It hides one of the same name in a base."""

    def __init__(self, owner: Owner, name: str) -> None:
        self.owner = owner
        self.name = name

    def __get__(self, obj: Any, kind: type) -> Any:
        return self.owner.attribute("get", kind if obj is None else obj, self.name)

    def __set__(self, obj: Any, value: Any) -> None:
        self.owner.attribute("set", obj, self.name, value)

    def __delete__(self, obj: Any) -> None:
        self.owner.attribute("delete", obj, self.name)


def real_type(name: str) -> type:
    """Return the known type of this name. Raises `ValueError`."""
    if name not in known_types():
        raise ValueError(f"unknown type {name[:80]!r}")
    return known_types()[name]
