"""Stand-ins for objects of another process: the operations on them are carried out where the object is."""

from __future__ import annotations

import abc
import collections.abc
import datetime
import functools
import types
from typing import Any, Protocol

from .containers import CONTAINERS
from .values import SUBCLASSED, known_name, known_types

OPERATORS = "lt le eq ne gt ge add sub mul matmul truediv floordiv mod divmod pow lshift rshift and xor or".split()
FORWARDED = frozenset(
    f"__{name}__"
    for name in (
        *OPERATORS,
        *(f"r{name}" for name in OPERATORS[6:]),
        *(f"i{name}" for name in OPERATORS[6:]),
        *"call len length_hint getitem setitem delitem missing iter next reversed contains bool hash".split(),
        *"repr str format bytes int float complex index round trunc floor ceil neg pos abs invert".split(),
        *"enter exit aenter aexit aiter anext await fspath dir get set delete set_name".split(),
        *"instancecheck subclasscheck".split(),
    )
)
"""Special methods that Python looks up in the type, and that stand-ins pass on."""
INHERITED = ("__init__", "__post_init__")
"""Further methods that a subclass in the other process may call by `super()`."""
SHOWN: dict[str, type] = {"__doc__": str, "__annotations__": dict, "__match_args__": tuple}
"""Attributes of a class that its stand-in has a copy of, and their types."""
SET_BY_PYTHON = frozenset(
    f"__{name}__" for name in "abstractmethods traceback context cause suppress_context class".split()
) | {"_abc_impl"}
"""Attributes that Python itself sets in exceptions and abstract classes. They stay in the process."""
BASES = frozenset({object, datetime.tzinfo, *CONTAINERS, *SUBCLASSED})
"""Types that a stand-in class may inherit from, beside exceptions and the abstract classes of `collections.abc`."""

ABSTRACT_SETS = (collections.abc.Set, collections.abc.MutableSet, collections.abc.KeysView, collections.abc.ItemsView)


class Owner(Protocol):
    """What a stand-in needs of the connection to the process that owns its object."""

    def operate(self, target: Any, name: str, arguments: Any, keywords: Any) -> Any:
        """Call a special method of the object behind a stand-in."""
        ...

    def attribute(self, operation: str, target: Any, *arguments: Any) -> Any:
        """Get, set or delete an attribute of the object behind a stand-in, or copy the object.

        `inherited` gets the attribute that a class defines, although a subclass defines it anew, and `raw` what a class
        has in its namespace.
        """
        ...

    def subclass(self, name: str, bases: tuple[Any, ...], namespace: dict[str, Any], keywords: dict[str, Any]) -> Any:
        """Make a class there that derives from a class behind a stand-in. Return its stand-in."""
        ...


def is_base(kind: type) -> bool:
    """Return whether a stand-in class may inherit from a known type."""
    abstract = kind.__module__ in ("collections.abc", "numbers", "abc")
    return kind in BASES or issubclass(kind, BaseException) or (abstract and not issubclass(kind, type))


class Mirrors:
    """Makes stand-ins whose operations go to one owner."""

    def __init__(self, owner: Owner) -> None:

        def set_attribute(obj: Any, name: str, value: Any) -> None:
            kind: Any = type if isinstance(obj, type) else object
            if name in SET_BY_PYTHON:
                kind.__setattr__(obj, name, value)
                return
            replaced = vars(obj).get(name) if kind is type else None
            if isinstance(replaced, Attribute) and replaced.original is None:
                replaced.original = owner.attribute("raw", obj, name)
            owner.attribute("set", obj, name, value)
            if kind is type and name in FORWARDED:
                type.__setattr__(obj, name, self.methods[name])

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

        def new_class(
            metaclass: Any, name: str, bases: Any, namespace: Any, /, is_stand_in: bool = False, **keywords: Any
        ) -> Any:
            if is_stand_in:
                return abc.ABCMeta.__new__(metaclass, name, bases, namespace)
            # A class that the code of this process derives from a stand-in becomes one of the other process.
            return owner.subclass(name, bases, namespace, keywords)

        content = {"__call__": self.methods["__call__"], "__new__": new_class, "__init__": lambda *_, **__: None}
        self.metaclass: Any = type("MirroredType", (abc.ABCMeta,), {**self.common, **content})
        self.proxy_class = functools.lru_cache(maxsize=None)(self._proxy_class)

    def _method(self, name: str) -> Any:
        def method(*arguments: Any, **keywords: Any) -> Any:
            return self.owner.operate(arguments[0], name, arguments[1:], keywords)

        method.__name__ = name
        return method

    def _own_method(self, name: str) -> Any:
        """Return a special method that one class defines. A subclass can reach it by `super()`."""
        forward = self.methods[name]

        def method(*arguments: Any, **keywords: Any) -> Any:
            if _found(type(arguments[0]), name) is method:
                return forward(*arguments, **keywords)
            inherited = self.owner.attribute("inherited", arguments[0], name, method.defined_in)  # type: ignore[attr-defined]
            return inherited(*arguments[1:], **keywords)

        method.__name__ = name
        method.defined_in = None  # type: ignore[attr-defined]
        return method

    def _proxy_class(self, known: type) -> type:
        """Return the class of stand-ins for objects of a known type, such as functions and iterators."""
        names = [name for name in FORWARDED if getattr(known, name, None) is not getattr(object, name, None)]
        content: dict[str, Any] = {**self.common, **self.shown, **{name: self.methods[name] for name in names}}
        if known is types.FunctionType:
            content["__get__"] = lambda obj, target, kind=None: obj if target is None else types.MethodType(obj, target)
        for name in ("__doc__", "__module__"):
            content[name] = property(lambda obj, name=name: self.owner.attribute("get", obj, name))  # type: ignore[misc]
        # `isinstance` asks an object for its class.
        return type(known.__name__, (), {**content, "__class__": property(lambda obj: known)})

    def make_class(
        self,
        name: str,
        qualname: str,
        module: str,
        bases: list[type],
        names: list[str],
        of_class: list[str],
        shown: dict[str, Any],
    ) -> type:
        """Return the stand-in for a class that the other process defined.

        Args:
            name: Its name.
            qualname: Its qualified name.
            module: Name of its module.
            bases: Known types and stand-ins.
            names: Names that the class defines. `__hash__=` says that its instances cannot be hashed.
            of_class: Special methods that its metaclass defines.
            shown: Values of attributes of `SHOWN`.
        """
        content: dict[str, Any] = {**self.common, **shown}
        is_root = not any(isinstance(base, self.metaclass) for base in bases)
        if is_root and bases == [object]:
            content["__slots__"] = ("__weakref__",)
        if is_root and not any(issubclass(base, (*CONTAINERS, *SUBCLASSED, BaseException)) for base in bases):
            content.update(self.shown)
        if any(base in ABSTRACT_SETS for base in bases):
            # Their comparisons would believe the length and the items that an object has, each on its own.
            names = [*names, *(f"__{name}__" for name in OPERATORS[:6])]
        for each in names:
            if each == "__hash__=":
                content["__hash__"] = None
            elif each in FORWARDED:
                content[each] = self._own_method(each)
            elif each in INHERITED or not each.startswith("__"):
                content[each] = Attribute(self.owner, each)

        def new(kind: Any, *arguments: Any, **keywords: Any) -> Any:
            # A class that is derived in this process calls this by `super()`.
            return self.owner.attribute("get", made, "__new__")(kind, *arguments, **keywords)

        content.update(__module__=module, __qualname__=qualname, __new__=staticmethod(new))
        inherited = dict.fromkeys(type(base) for base in bases if isinstance(base, self.metaclass))
        # Where the clock is frozen, dates have a metaclass of their own.
        others = dict.fromkeys(type(base) for base in bases if not issubclass(self.metaclass, type(base)))
        metaclasses = (*(inherited or (self.metaclass,)), *(kind for kind in others if kind not in inherited))
        metaclass = metaclasses[0]
        if len(metaclasses) > 1 or of_class:
            metaclass = type("MirroredType", metaclasses, {each: self.methods[each] for each in of_class})
        try:
            made = metaclass(name, tuple(bases), dict(content), is_stand_in=True)
        except TypeError:
            # Stand-ins of these bases cannot be combined.
            base = next((base for base in bases if base in BASES), object)
            made = metaclass(name, (base,), dict(content), is_stand_in=True)
        for each in content.values():
            if isinstance(each, types.FunctionType) and hasattr(each, "defined_in"):
                each.defined_in = made
            elif isinstance(each, Attribute):
                each.kind = made
        made.__abstractmethods__ = frozenset()
        return made  # type: ignore[no-any-return]


class Attribute:
    """An attribute that the other process defines in a class. It hides one of the same name in a base."""

    def __init__(self, owner: Owner, name: str) -> None:
        self.owner = owner
        self.name = name
        self.kind: Any = None
        """The class that defines it, once its stand-in is made."""
        self.original: Any = None
        """What the other process has there, once the code of this process has replaced it."""

    def __get__(self, obj: Any, kind: type) -> Any:
        if self.kind is None:
            # Python looks at the attributes of an abstract class while it is being made.
            return self
        target = kind if obj is None else obj
        if _found(kind, self.name) is self:
            return self.owner.attribute("get", target, self.name)
        return self.owner.attribute("inherited", target, self.name, self.kind)

    def __set__(self, obj: Any, value: Any) -> None:
        self.owner.attribute("set", obj, self.name, value)

    def __delete__(self, obj: Any) -> None:
        self.owner.attribute("delete", obj, self.name)


def _found(kind: type, name: str) -> Any:
    """Return what the first class that defines a name has for it, or None."""
    return next((vars(each)[name] for each in kind.__mro__ if name in vars(each)), None)


def blank(kind: Any) -> Any:
    """Return an object of a stand-in class without initialising it."""
    known = next(each for each in kind.__mro__ if known_name(each))
    return known.__new__(kind)


def real_type(name: str) -> type:
    """Return the known type of this name. Raises `ValueError`."""
    if name not in known_types():
        raise ValueError(f"unknown type {name[:80]!r}")
    return known_types()[name]
