"""Parser of the goal of a PDDL problem, which must have one of ALFWorld's six forms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ....errors import UsageError
from ..goals import Goal
from ..language.domain import kind_of
from ..language.lisp import Expression, Form, show, typed_list

_TYPE_OF_PREDICATES = {
    frozenset({"cleanable", "isclean"}): "pick_clean_then_place_in_recep",
    frozenset({"heatable", "ishot"}): "pick_heat_then_place_in_recep",
    frozenset({"coolable", "iscool"}): "pick_cool_then_place_in_recep",
    frozenset(): "pick_and_place_simple",
}
"""Task types by the predicates that the goal requires of the object."""


@dataclass
class _Conjunction:
    """The conditions of a goal, collected from nested conjunctions and quantifiers."""

    types: dict[str, str] = field(default_factory=dict)
    """Types of the quantified variables."""
    atoms: set[tuple[str, ...]] = field(default_factory=set)
    """Facts that must hold."""
    different: set[frozenset[str]] = field(default_factory=set)
    """Pairs of variables that must differ."""


def read_pddl_goal(form: Form, types: Mapping[str, str], where: str) -> Goal:
    """Parse `(:goal ...)`.

    Args:
        form: The goal.
        types: Types of the problem's entities.
        where: Name of the text in error messages.

    Returns:
        The goal.

    Raises:
        UsageError: If the goal has none of ALFWorld's six forms. The message names the line.
    """
    found = _Conjunction()
    for part in form.items[1:]:
        _collect(part, {}, found, where, form.line)
    goal = _look(found) or _place(found)
    if goal is None:
        raise UsageError(
            f"{where}, line {form.line}: cannot read the goal {show(form, 300)}; expected one of ALFWorld's forms: "
            "put an object, a clean, hot or cool one, or two in a receptacle, or look at an object under a lamp"
        )
    return goal


def _collect(part: Expression, names: Mapping[str, str], found: _Conjunction, where: str, line: int) -> None:
    """Add the conditions of `part` to `found`. `names` maps its variables to unique names."""
    if isinstance(part, str):
        raise UsageError(
            f"{where}, line {line}: cannot read the goal: found {part[:40]!r}; expected a condition in parentheses"
        )
    if part.head == "and":
        for item in part.items[1:]:
            _collect(item, names, found, where, part.line)
    elif part.head == "exists" and len(part.items) == 3 and isinstance(part.items[1], Form):
        inner = dict(names)
        for name, type_ in typed_list(part.items[1].words(where)):
            # Two quantifiers may use the same name for different variables.
            inner[name] = f"{name}/{len(found.types)}"
            found.types[inner[name]] = type_
        _collect(part.items[2], inner, found, where, part.line)
    elif part.head == "not" and len(part.forms) == 1 and part.forms[0].head == "=":
        found.different.add(frozenset(names.get(word, word) for word in part.forms[0].words(where)[1:]))
    elif part.head in ("or", "not", "forall", "imply", "exists", "when"):
        raise UsageError(
            f"{where}, line {part.line}: cannot read the goal: ALFWorld's goals do not have the form {show(part)}"
        )
    else:
        words = part.words(where)
        # Predicates in ALFWorld's goals have one or two arguments.
        if len(words) not in (2, 3):
            raise UsageError(
                f"{where}, line {part.line}: cannot read the goal: {show(part)} has a wrong number of arguments"
            )
        found.atoms.add(tuple(names.get(word, word) for word in words))


def _kinds(found: _Conjunction, predicate: str) -> dict[str, str]:
    """Return the kind that the goal requires of each variable."""
    return {atom[1]: kind_of(atom[2]) for atom in found.atoms if atom[0] == predicate and len(atom) == 3}


def _place(found: _Conjunction) -> Goal | None:
    things, targets = _kinds(found, "objecttype"), _kinds(found, "receptacletype")
    if len(targets) != 1 or len(things) not in (1, 2) or len(set(things.values())) != 1:
        return None
    (r, target), kind = next(iter(targets.items())), next(iter(things.values()))
    expected = {("receptacletype", r, f"{target}type")}
    for o in things:
        expected |= {("objecttype", o, f"{kind}type"), ("inreceptacle", o, r)}
    types = {**dict.fromkeys(things, "object"), r: "receptacle"}
    rest = found.atoms - expected
    if found.types != types or not expected <= found.atoms or any(len(atom) != 2 for atom in rest):
        return None
    if len(things) == 2:
        apart = found.different == {frozenset(things)}
        return Goal("pick_two_obj_and_place", kind, target) if apart and not rest else None
    type_ = _TYPE_OF_PREDICATES.get(frozenset(atom[0] for atom in rest))
    about = {atom[1] for atom in rest} <= set(things)
    return Goal(type_, kind, target) if type_ and about and not found.different else None


def _look(found: _Conjunction) -> Goal | None:
    by_name = {atom[0]: atom for atom in found.atoms}
    names = ("istoggled", "toggleable", "holds", "atlocation", "receptacleatlocation", "inreceptacle")
    if found.different or len(found.atoms) != 8 or not all(name in by_name for name in names):
        return None
    lamp, held, r, place = (
        by_name["istoggled"][1],
        by_name["holds"][-1],
        by_name["receptacleatlocation"][1],
        by_name["atlocation"][-1],
    )
    kinds = _kinds(found, "objecttype")
    expected = {
        ("istoggled", lamp),
        ("toggleable", lamp),
        ("receptacleatlocation", r, place),
        ("inreceptacle", lamp, r),
        by_name["holds"],
        by_name["atlocation"],
    }
    typed_right = [found.types.get(name) for name in (lamp, held, r, place)] == [
        "object",
        "object",
        "receptacle",
        "location",
    ]
    agents = all(found.types.get(by_name[name][1]) == "agent" for name in ("holds", "atlocation"))
    if not (expected <= found.atoms and set(kinds) == {lamp, held} and typed_right and agents and lamp != held):
        return None
    return Goal("look_at_obj_in_light", kinds[held], kinds[lamp])
