"""Reader of the PDDL domain in a game file.

The engine implements a fixed set of actions directly, which makes it fast. Each action of a domain must therefore be
equivalent to one of them. It may name its parameters differently, and order and nest its conditions differently. A
domain may also omit actions, and choose which kinds of receptacles heat, cool and clean and which objects slice. Any
other difference raises an error.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from ....errors import UsageError, unknown
from ..verbs import ACTION_NAMES
from .lisp import Expression, Form, read_form, typed_list

IGNORED_PREDICATES = frozenset({"checked", "ison"})
"""Predicates that actions change but that no text or condition reads."""
TYPE_PREDICATES = {"receptacletype": "receptacle", "objecttype": "object"}
"""Predicates that state the kind of an entity."""

NormalForm = tuple[Any, ...]
"""A condition, an effect or an action in normal form, as nested tuples."""


@dataclass(frozen=True)
class Domain:
    """The parts of a domain that differ between game files."""

    parameters: Mapping[int, tuple[tuple[str, str], ...]]
    """For each verb of the domain, the names and types of its action's parameters, in the engine's order."""
    tools: Mapping[int, frozenset[str]]
    """Kinds of receptacles for `HEAT`, `COOL` and `CLEAN`, and kinds of objects for `SLICE`."""
    predicates: Mapping[str, int]
    """Number of arguments of each predicate."""
    types: frozenset[str]
    """All declared types, and `object`."""
    constants: Mapping[str, str]
    """Constants of the domain, with their types."""


def kind_of(type_name: str) -> str:
    """Return the kind that a type stands for: `mug` for `mugtype`."""
    return type_name.removesuffix("type")


DOMAIN_FIELD = "pddl_domain"
"""Field of a game file that holds the domain."""


@functools.lru_cache(maxsize=8)
def read_domain(text: str, where: str = DOMAIN_FIELD) -> Domain:
    """Parse the domain of a game file.

    Args:
        text: The domain in PDDL.
        where: Name of the text in error messages.

    Returns:
        The domain.

    Raises:
        UsageError: If the text is not PDDL, or an action is not equivalent to one of the engine's. The message starts
            with `where` and names the line and the action.
    """
    form = read_form(text, where)
    parts = _parts(form, where)
    names = [name for name, _ in typed_list(_items(parts.get(":types"), where))]
    types = frozenset({*names, "object"})
    parameters: dict[int, tuple[tuple[str, str], ...]] = {}
    tools: dict[int, frozenset[str]] = {}
    for action in [part for part in form.forms if part.head == ":action"]:
        verb, pairs, kinds = _action(action, types, where)
        parameters[verb] = pairs
        if kinds:
            tools[verb] = kinds
    predicates = {}
    for predicate in parts[":predicates"].forms if ":predicates" in parts else ():
        predicates[predicate.head] = len(typed_list(predicate.words(where)[1:]))
    return Domain(parameters, tools, predicates, types, dict(typed_list(_items(parts.get(":constants"), where))))


def _parts(form: Form, where: str) -> dict[str, Form]:
    if form.head != "define":
        raise UsageError(f"{where}, line {form.line}: found ({form.head} ...); expected (define (domain ...) ...)")
    return {part.head: part for part in form.forms if part.head != ":action"}


def _items(part: Form | None, where: str) -> tuple[str, ...]:
    return part.words(where)[1:] if part is not None else ()


def _action(form: Form, types: frozenset[str], where: str) -> tuple[int, tuple[tuple[str, str], ...], frozenset[str]]:
    name = next((item for item in form.items[1:] if isinstance(item, str)), "")
    where = f"{where}, line {form.line}, action {name}"
    if name not in _VERBS:
        raise UsageError(f"{where}: {unknown('action', name, _VERBS)}")
    shape, pairs, kinds = _normalise(form, types, where)
    expected, _, _ = _known_actions()[name]
    for what, found, wanted in zip(("parameters", "precondition", "effect"), shape, expected, strict=True):
        if found != wanted:
            raise UsageError(
                f"{where}: its {what} is not supported; found {str(found)[:160]}, expected {str(wanted)[:160]}"
            )
    return _VERBS[name], pairs, kinds


_VERBS = {name.lower(): verb for verb, name in ACTION_NAMES.items()}


@functools.cache
def _known_actions() -> Mapping[str, tuple[NormalForm, tuple[tuple[str, str], ...], frozenset[str]]]:
    form = read_form(bundled_text("domain.pddl"), DOMAIN_FIELD)
    types = frozenset(name for name, _ in typed_list(_items(_parts(form, DOMAIN_FIELD)[":types"], DOMAIN_FIELD)))
    actions = [part for part in form.forms if part.head == ":action"]
    return {str(action.items[1]): _normalise(action, types, DOMAIN_FIELD) for action in actions}


@functools.cache
def bundled_text(name: str) -> str:
    """Return the text of `domain.pddl` or `grammar.twl2`, the two files in this package."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _normalise(
    form: Form, types: frozenset[str], where: str
) -> tuple[NormalForm, tuple[tuple[str, str], ...], frozenset[str]]:
    """Return the normal form of an action, its parameters, and the kinds that its conditions name.

    The normal form consists of the parameter types, the precondition and the effect.
    """
    parts = dict(zip(form.items[2::2], form.items[3::2], strict=False))
    parameters = parts.get(":parameters", Form((), form.line))
    if not isinstance(parameters, Form):
        raise UsageError(f"{where}: its parameters are a word; expected a list in parentheses")
    pairs = typed_list(parameters.words(where))
    names = {name: f"?{number}" for number, (name, _) in enumerate(pairs)}
    kinds: set[str] = set()
    normal = _Normaliser(types, kinds)
    shape = (
        tuple(type_ for _, type_ in pairs),
        normal.condition(parts.get(":precondition", ""), names),
        normal.effect(parts.get(":effect", ""), names),
    )
    return shape, tuple((name.removeprefix("?"), type_) for name, type_ in pairs), frozenset(kinds)


@dataclass(frozen=True)
class _Normaliser:
    """Converts conditions and effects to a normal form, so that equivalent ones compare equal."""

    types: frozenset[str]
    kinds: set[str]
    """Collects the kinds of receptacles and objects that conditions name."""

    def condition(self, part: Expression, names: Mapping[str, str]) -> NormalForm:
        if isinstance(part, str) or not part.items:
            return ("and",)
        if part.head in ("and", "or"):
            return self._joined(part, names)
        if part.head == "not":
            return ("not", *[self.condition(item, names) for item in part.items[1:]])
        if part.head in ("exists", "forall"):
            return self._quantified(part, names)
        words = tuple(item if isinstance(item, str) else "" for item in part.items)
        if words[0] in TYPE_PREDICATES and len(words) == 3 and not words[2].startswith("?"):
            self.kinds.add(kind_of(words[2]))
            return ("is", words[0], names.get(words[1], words[1]))
        return tuple(names.get(word, word) for word in words)

    def _joined(self, part: Form, names: Mapping[str, str]) -> NormalForm:
        found: set[NormalForm] = set()
        for item in part.items[1:]:
            inner = self.condition(item, names)
            if inner[0] == part.head:
                found |= set(inner[1:])
            else:
                found.add(inner)
        return next(iter(found)) if len(found) == 1 else (part.head, *sorted(found, key=repr))

    def _quantified(self, part: Form, names: Mapping[str, str]) -> NormalForm:
        quantified = part.items[1] if len(part.items) > 1 else ""
        words = (
            tuple(item for item in quantified.items if isinstance(item, str)) if isinstance(quantified, Form) else ()
        )
        pairs = typed_list(words)
        if part.head == "exists" and any(type_ not in self.types for _, type_ in pairs):
            # No object has an undeclared type, so the condition is false. A stray comma in ALFWorld's `examineObject`
            # leads to such a condition.
            return ("or",)
        inner = {**names, **{name: f"?{part.head}{number}" for number, (name, _) in enumerate(pairs)}}
        body = self.condition(part.items[2] if len(part.items) > 2 else "", inner)
        return (part.head, tuple(type_ for _, type_ in pairs), body)

    def effect(self, part: Expression, names: Mapping[str, str]) -> NormalForm:
        """Return the effects that a text or condition can read, sorted."""
        if isinstance(part, str):
            return ()
        if part.head == "and":
            return tuple(sorted({inner for item in part.items[1:] for inner in self.effect(item, names)}, key=repr))
        if part.head == "increase" or part.head in IGNORED_PREDICATES:
            return ()
        if part.head == "not" and len(part.items) == 2 and isinstance(part.items[1], Form):
            return tuple(("not", inner) for inner in self.effect(part.items[1], names))
        if part.head == "forall" and not self.effect(part.items[-1], names):
            return ()
        if part.head == "when":
            inner = self.effect(part.items[-1], names)
            return (("when", self.condition(part.items[1], names), inner),) if inner else ()
        return (tuple(names.get(word, word) for word in part.items if isinstance(word, str)),)
