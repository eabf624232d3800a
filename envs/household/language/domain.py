"""The planning domain in a game file, compared with ours: same actions, maybe in other words.

The engine knows fourteen actions by heart; that is what makes it fast. A file's domain may name parameters
differently, order and nest conditions differently, leave actions out, and say at which kinds of receptacles one
heats, cools and cleans and with which objects one slices. Any other difference is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from ....errors import UsageError, unknown
from ..verbs import ACTIONS
from .lisp import Expression, Form, read_form, typed

UNSEEN = frozenset({"checked", "ison"})
"""Predicates that actions change and nothing ever shows."""
KINDS_OF = {"receptacletype": "receptacle", "objecttype": "object"}

Shape = tuple[Any, ...]


@dataclass(frozen=True)
class Domain:
    """What a game file's domain adds to what the engine knows."""

    parameters: Mapping[int, tuple[tuple[str, str], ...]]
    """For every verb that there is, its action's parameters with their types, in our order."""
    tools: Mapping[int, frozenset[str]]
    """For `HEAT`, `COOL` and `CLEAN` the kinds of receptacles that do it; for `SLICE` the kinds of objects."""
    predicates: Mapping[str, int]
    """Every predicate with the number of its arguments."""
    types: frozenset[str]
    constants: Mapping[str, str]
    """Objects that the domain itself declares, with their types."""


def kind_of(type_name: str) -> str:
    """`mug` for `mugtype`."""
    return type_name.removesuffix("type")


FIELD = "pddl_domain"
"""Where a game file has its domain."""


@functools.lru_cache(maxsize=8)
def read_domain(text: str, where: str = FIELD) -> Domain:
    """The domain in a game file. Raises `UsageError`, which begins with `where` and names the action or the line."""
    form = read_form(text, where)
    parts = _parts(form, where)
    names = [name for name, _ in typed(_items(parts.get(":types"), where))]
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
        predicates[predicate.head] = len(typed(predicate.words(where)[1:]))
    return Domain(parameters, tools, predicates, types, dict(typed(_items(parts.get(":constants"), where))))


def _parts(form: Form, where: str) -> dict[str, Form]:
    if form.head != "define":
        raise UsageError(f"{where}, line {form.line}: expected (define (domain ...) ...), found ({form.head} ...)")
    return {part.head: part for part in form.forms if part.head != ":action"}


def _items(part: Form | None, where: str) -> tuple[str, ...]:
    return part.words(where)[1:] if part is not None else ()


def _action(form: Form, types: frozenset[str], where: str) -> tuple[int, tuple[tuple[str, str], ...], frozenset[str]]:
    name = next((item for item in form.items[1:] if isinstance(item, str)), "")
    where = f"{where}, line {form.line}, action {name}"
    if name not in _VERBS:
        raise UsageError(f"{where}: {unknown('action', name, _VERBS)}")
    shape, pairs, kinds = _shape(form, types, where)
    expected, _, _ = _ours()[name]
    for what, found, wanted in zip(("parameters", "precondition", "effect"), shape, expected, strict=True):
        if found != wanted:
            raise UsageError(
                f"{where}: its {what} is not the one that this engine knows; found {str(found)[:160]}, "
                f"expected {str(wanted)[:160]}"
            )
    return _VERBS[name], pairs, kinds


_VERBS = {name.lower(): verb for verb, name in ACTIONS.items()}


@functools.cache
def _ours() -> Mapping[str, tuple[Shape, tuple[tuple[str, str], ...], frozenset[str]]]:
    form = read_form(own("domain.pddl"), FIELD)
    types = frozenset(name for name, _ in typed(_items(_parts(form, FIELD)[":types"], FIELD)))
    actions = [part for part in form.forms if part.head == ":action"]
    return {str(action.items[1]): _shape(action, types, FIELD) for action in actions}


@functools.cache
def own(name: str) -> str:
    """The text of one of our two files, `domain.pddl` and `grammar.twl2`."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _shape(form: Form, types: frozenset[str], where: str) -> tuple[Shape, tuple[tuple[str, str], ...], frozenset[str]]:
    """An action without its wording: types, precondition, effect; its parameters; the kinds that it names."""
    parts = dict(zip(form.items[2::2], form.items[3::2], strict=False))
    parameters = parts.get(":parameters", Form((), form.line))
    if not isinstance(parameters, Form):
        raise UsageError(f"{where}: its parameters are no list")
    pairs = typed(parameters.words(where))
    names = {name: f"?{number}" for number, (name, _) in enumerate(pairs)}
    kinds: set[str] = set()
    normal = _Normal(types, kinds)
    shape = (
        tuple(type_ for _, type_ in pairs),
        normal.condition(parts.get(":precondition", ""), names),
        normal.effect(parts.get(":effect", ""), names),
    )
    return shape, tuple((name.removeprefix("?"), type_) for name, type_ in pairs), frozenset(kinds)


@dataclass(frozen=True)
class _Normal:
    """Brings conditions and effects into one form, so that equal ones compare equal."""

    types: frozenset[str]
    kinds: set[str]
    """Gathers the kinds of receptacles and objects that conditions ask for."""

    def condition(self, part: Expression, names: Mapping[str, str]) -> Shape:
        if isinstance(part, str) or not part.items:
            return ("and",)
        if part.head in ("and", "or"):
            return self._joined(part, names)
        if part.head == "not":
            return ("not", *[self.condition(item, names) for item in part.items[1:]])
        if part.head in ("exists", "forall"):
            return self._quantified(part, names)
        words = tuple(item if isinstance(item, str) else "" for item in part.items)
        if words[0] in KINDS_OF and len(words) == 3 and not words[2].startswith("?"):
            self.kinds.add(kind_of(words[2]))
            return ("is", words[0], names.get(words[1], words[1]))
        return tuple(names.get(word, word) for word in words)

    def _joined(self, part: Form, names: Mapping[str, str]) -> Shape:
        found: set[Shape] = set()
        for item in part.items[1:]:
            inner = self.condition(item, names)
            if inner[0] == part.head:
                found |= set(inner[1:])
            else:
                found.add(inner)
        return next(iter(found)) if len(found) == 1 else (part.head, *sorted(found, key=repr))

    def _quantified(self, part: Form, names: Mapping[str, str]) -> Shape:
        quantified = part.items[1] if len(part.items) > 1 else ""
        words = (
            tuple(item for item in quantified.items if isinstance(item, str)) if isinstance(quantified, Form) else ()
        )
        pairs = typed(words)
        if part.head == "exists" and any(type_ not in self.types for _, type_ in pairs):
            # No object is of an undeclared type; ALFWorld's `examineObject` has such a condition, for its stray comma.
            return ("or",)
        inner = {**names, **{name: f"?{part.head}{number}" for number, (name, _) in enumerate(pairs)}}
        body = self.condition(part.items[2] if len(part.items) > 2 else "", inner)
        return (part.head, tuple(type_ for _, type_ in pairs), body)

    def effect(self, part: Expression, names: Mapping[str, str]) -> Shape:
        """The effects that can ever be seen, sorted."""
        if isinstance(part, str):
            return ()
        if part.head == "and":
            return tuple(sorted({inner for item in part.items[1:] for inner in self.effect(item, names)}, key=repr))
        if part.head == "increase" or part.head in UNSEEN:
            return ()
        if part.head == "not" and len(part.items) == 2 and isinstance(part.items[1], Form):
            return tuple(("not", inner) for inner in self.effect(part.items[1], names))
        if part.head == "forall" and not self.effect(part.items[-1], names):
            return ()
        if part.head == "when":
            inner = self.effect(part.items[-1], names)
            return (("when", self.condition(part.items[1], names), inner),) if inner else ()
        return (tuple(names.get(word, word) for word in part.items if isinstance(word, str)),)
