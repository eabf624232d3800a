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
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from .errors import UsageError, unknown
from .plugins import load

T = TypeVar("T")
_SEVERAL = (tuple, list, Sequence, frozenset)
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


def arguments(
    function: Callable[..., Any], values: Mapping[str, Any], what: str, given: Collection[str] = ()
) -> dict[str, Any]:
    """The keyword arguments that `values` mean for `function`, which gets those named in `given` from elsewhere.

    A class that passes on arguments which it does not name has those of its parents too. Raises `UsageError`, which
    begins with `what`, for a name that is no argument, a value that does not fit, and an argument that is missing.
    """
    known, anything = parameters(function)
    hints = hints_of(function)
    found = {}
    for name, value in _nested(values).items():
        if name not in known and not anything:
            raise unknown(f"{what} argument", name, known)
        where, usual = f"{what} argument {name!r}", known.get(name)
        deeper = isinstance(value, Mapping) and _is_object(usual)
        found[name] = changed(usual, value, where) if deeper else convert(value, hints.get(name, Any), where)
    for name, usual in known.items():
        if usual is inspect.Parameter.empty and name not in found and name not in given:
            raise UsageError(f"{what} needs the argument {name!r}; expected {_described(hints.get(name, Any))}")
    return found


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The arguments that can be left out, with what they are then; of a class also those that its parents take."""
    return {name: usual for name, usual in parameters(function)[0].items() if usual is not inspect.Parameter.empty}


def parameters(function: Any) -> tuple[dict[str, Any], bool]:
    """Names of arguments and their defaults (`Parameter.empty` for none), and whether any others may be named."""
    called, found = _called(function), dict[str, Any]()
    for each in called:
        for p in list(inspect.signature(each).parameters.values())[int(inspect.isclass(function)) :]:
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
                found.setdefault(p.name, p.default)
    if inspect.isclass(function) and dataclasses.is_dataclass(function):
        made = {field.name: field.default_factory for field in dataclasses.fields(function) if field.init}
        found |= {name: factory() for name, factory in made.items() if factory is not dataclasses.MISSING}
    return found, bool(called) and _takes_anything(called[-1])


def build(cls: type[T], values: Mapping[str, Any], what: str) -> T:
    """An object of a dataclass from its fields; those that are left out have their defaults, also within a default that
    has fields. Raises `UsageError` as `arguments` does.
    """
    return cls(**arguments(cls, values, what))


def changed(config: T, values: Mapping[str, Any], where: str, inside: str = "") -> T:
    """The same dataclass object with fields replaced, fields of fields too.

    Raises `UsageError` for a key that does not exist and a value that does not fit; it says `where`, and in which table
    (`inside`).
    """
    hints, known = hints_of(type(config)), [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    found = {}
    for name, value in _nested(values).items():
        if name not in known:
            raise unknown(f"key in {where}{inside and f', table [{inside}]:'}", name, known)
        now, key = getattr(config, name), f"{inside}.{name}" if inside else name
        deeper = isinstance(value, Mapping) and _is_object(now)
        found[name] = changed(now, value, where, key) if deeper else convert(value, hints[name], f"{where}: {key}")
    return dataclasses.replace(config, **found)  # type: ignore[type-var]


def hints_of(function: Any) -> dict[str, Any]:
    """The types of its arguments, where it says them. Raises `UsageError` for a name that cannot be found."""
    # Inherited fields of dataclasses are named as their own module names them, not as that of the subclass does.
    own = [function] if dataclasses.is_dataclass(function) else reversed(_called(function))
    try:
        return {name: hint for each in own for name, hint in typing.get_type_hints(each, include_extras=True).items()}
    except NameError as error:
        raise UsageError(
            f"the types of the arguments of {plain(function)!r} cannot be read ({error}); "
            "import what they name where it runs, not for type checkers alone"
        ) from error


def convert(value: Any, wanted: Any, what: str) -> Any:
    """`value` as the type `wanted`. Text is read; of other JSON values it is checked that they are of this type, and
    objects are taken as they are. Raises `UsageError` for what does not fit.
    """
    if typing.get_origin(wanted) is typing.Annotated:
        return convert(value, typing.get_args(wanted)[0], what)
    if typing.get_origin(wanted) in (typing.Union, types.UnionType):
        return _first(value, typing.get_args(wanted), what)
    if isinstance(value, Mapping) and dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
        return build(wanted, value, what)
    several = isinstance(value, list) and typing.get_origin(wanted) in _SEVERAL
    if not several and not isinstance(value, str):
        if not _fits(value, wanted):
            raise UsageError(f"{what} is {value!r}; expected {_described(wanted)}")
        return value
    try:
        if several:
            return _several(wanted, value, lambda each, kind: convert(each, kind, what))
        return _from_text(value, wanted)
    except (ValueError, TypeError):
        raise UsageError(f"{what} is {value!r}; expected {_described(wanted)}") from None


def plain(value: Any) -> Any:
    """JSON-clean data that says what `value` is: objects that are no data are named by their class or definition."""
    if isinstance(value, str | int | float | bool | None):
        return value
    if _is_object(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(map(plain, value), key=str)
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
    if origin in _SEVERAL:
        return _several(wanted, [part.strip() for part in text.split(",") if part.strip()], _from_text)
    return _referred(text)


def _fits(value: Any, wanted: Any) -> bool:
    """Whether a value that is no text may be a `wanted` one; only JSON values are known well enough to be refused."""
    if wanted in (Any, object) or not isinstance(value, bool | int | float | list | dict | None):
        return True
    if typing.get_origin(wanted) is typing.Literal:
        return any(value == choice and type(value) is type(choice) for choice in typing.get_args(wanted))
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if wanted in (bool, int):
        return type(value) is wanted
    kind = typing.get_origin(wanted) or wanted
    return value is None if wanted is type(None) else not isinstance(kind, type) or isinstance(value, kind)


def _several(wanted: Any, parts: Sequence[Any], made: Callable[[Any, Any], Any]) -> Any:
    """The tuple, list or set that is wanted, of `made(part, type)`; raises `ValueError` for another number of parts."""
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    kinds = inner if origin is tuple and inner[-1:] != (Ellipsis,) else inner[:1] * len(parts)
    found = [made(part, kind) for part, kind in zip(parts, kinds, strict=True)]
    return origin(found) if origin in (list, frozenset) else tuple(found)


def _referred(text: str) -> Any:
    """The object that `module:attribute` or `module:function(text)` names."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    found = load(match[1], repr(text))
    if match[2] is None:
        return found
    try:
        return found(match[2])
    except (ValueError, TypeError) as error:
        # Otherwise it would be said that the text is no reference.
        raise UsageError(
            f"{text!r} cannot be made ({type(error).__name__}: {error}); expected a text that {match[1]!r} takes"
        ) from error


def _first(value: Any, choices: Iterable[Any], what: str) -> Any:
    """The value as the first of these types that it can be; None and numbers before plain text."""
    ordered = sorted(choices, key=lambda each: (each is not type(None), each in (str, object, Any)))
    if not isinstance(value, str):
        mapped = [each for each in ordered if isinstance(value, Mapping) and dataclasses.is_dataclass(each)]
        listed = [each for each in ordered if isinstance(value, list) and typing.get_origin(each) in _SEVERAL]
        if mapped or listed:
            return convert(value, [*mapped, *listed][0], what)
        if any(_fits(value, each) for each in ordered):
            return value
    for each in ordered if isinstance(value, str) else ():
        with contextlib.suppress(ValueError, TypeError):
            return _from_text(value, each)
    raise UsageError(f"{what} is {value!r}; expected {' or '.join(map(_described, ordered))}")


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """`{"a.b": 1}` as `{"a": {"b": 1}}`, together with whatever else is said of `a`."""
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


def _called(function: Any) -> list[Any]:
    """What takes the arguments: the function; of a class its `__init__`, and its parents' where it passes them on."""
    if not inspect.isclass(function):
        return [function]
    found: list[Any] = []
    for cls in function.__mro__[:-1]:
        if "__init__" in vars(cls) and (not found or _takes_anything(found[-1])):
            found.append(vars(cls)["__init__"])
    return found


def _takes_anything(function: Any) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())


def _is_object(value: Any) -> bool:
    """Whether it is an object of a dataclass."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _described(wanted: Any) -> str:
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted is type(None):
        return "none"
    if origin is typing.Literal:
        return " or ".join(map(repr, inner))
    if origin in _SEVERAL:
        return "values with commas between"
    if wanted in (bool, int, float, str, Path):
        names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
        return names[wanted]
    if dataclasses.is_dataclass(wanted):
        return f"its fields, such as {', '.join(field.name + '=...' for field in dataclasses.fields(wanted)[:3])}"
    return "a reference, 'module:attribute' or 'module:function(text)'"
