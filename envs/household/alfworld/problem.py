"""Reader of ALFWorld's PDDL problems."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ....errors import UsageError, unknown
from ..game import TOOLS, Game, Object, Receptacle, display_names
from ..language.domain import Domain, kind_of
from ..language.lisp import Form, read_form, show, typed_list
from ..state import NO_OBJECT
from ..verbs import CLEAN, COOL, HEAT, SLICE
from .goal import read_pddl_goal

ABILITY_PREDICATES = {
    "pickupable": "pickupable",
    "heatable": "heatable",
    "coolable": "coolable",
    "cleanable": "cleanable",
    "toggleable": "toggleable",
    "sliceable": "sliceable",
    "isreceptacleobject": "container",
}
"""Abilities of objects by predicate."""
STATE_PREDICATES = {"ishot": "hot", "iscool": "cool", "isclean": "clean", "issliced": "sliced", "istoggled": "toggled"}
"""States of objects by predicate."""
_TOOL_OF = {HEAT: "heat", COOL: "cool", CLEAN: "clean", SLICE: "slice"}


@dataclass
class Problem:
    """The facts and the goal of a problem."""

    where: str
    """Name of the problem in error messages."""
    types: dict[str, str]
    """Types of the declared entities."""
    facts: dict[str, dict[tuple[str, ...], int]] = field(default_factory=dict)
    """For each predicate, the arguments of its facts, with their line numbers."""
    goal: Form | None = None
    """The form `(:goal ...)`."""

    def entities(self) -> set[str]:
        """Return all arguments of facts. TextWorld names and numbers exactly these entities."""
        return {name for rows in self.facts.values() for row in rows for name in row}

    def binary_facts(self, predicate: str, first: str, second: str) -> list[tuple[str, str]]:
        """Return the facts of a predicate with two arguments of these types, sorted."""
        return [(row[0], row[1]) for row in self._rows(predicate, (first, second))]

    def unary_facts(self, predicate: str, kind: str) -> list[str]:
        """Return the facts of a predicate with one argument of this type, sorted."""
        return [row[0] for row in self._rows(predicate, (kind,))]

    def _rows(self, predicate: str, kinds: tuple[str, ...]) -> list[tuple[str, ...]]:
        rows = self.facts.get(predicate, {})
        for row, line in rows.items():
            if tuple(self.types[name] for name in row) != kinds:
                raise UsageError(
                    f"{self.where}, line {line}: the arguments of ({predicate} {' '.join(row)[:80]}) have the types "
                    f"{', '.join(self.types[name] for name in row)}; expected {', '.join(kinds)}"
                )
        return sorted(rows)

    def error(self, what: str) -> UsageError:
        """Return an error about the problem as a whole."""
        return UsageError(f"{self.where}: {what}")


def read_problem(text: str, domain: Domain, where: str = "pddl_problem") -> Problem:
    """Parse a PDDL problem.

    Args:
        text: The problem.
        domain: Its domain.
        where: Name of the problem in error messages.

    Returns:
        The facts and the goal.

    Raises:
        UsageError: If the text is not PDDL, or a fact has an unknown predicate, a wrong number of arguments or an
            undeclared entity. The message starts with `where`.
    """
    form = read_form(text, where)
    if form.head != "define":
        raise UsageError(f"{where}, line {form.line}: found ({form.head} ...); expected (define (problem ...) ...)")
    parts = {part.head: part for part in form.forms}
    if ":init" not in parts or ":goal" not in parts:
        raise UsageError(f"{where}: it has no {':goal' if ':init' in parts else ':init'}; add it")
    types = dict(domain.constants)
    for name, type_ in typed_list(parts[":objects"].words(where)[1:] if ":objects" in parts else ()):
        if type_ not in domain.types:
            raise UsageError(f"{where}: the entity {name!r} has the {unknown('type', type_, domain.types)}")
        if types.setdefault(name, type_) != type_:
            raise UsageError(f"{where}: {name!r} is declared as {types[name]} and as {type_}; expected one type")
    problem = Problem(where, types, goal=parts[":goal"])
    for fact in parts[":init"].items[1:]:
        _add_fact(problem, domain, fact)
    return problem


def _add_fact(problem: Problem, domain: Domain, fact: str | Form) -> None:
    where = problem.where
    if isinstance(fact, str):
        raise UsageError(f"{where}: found {fact[:40]!r} in :init; expected facts in parentheses")
    if fact.head == "=":
        return
    words = fact.words(where)
    if not words:
        raise UsageError(f"{where}, line {fact.line}: a fact in :init is empty; expected (predicate argument ...)")
    name = words[0]
    if name not in domain.predicates:
        raise UsageError(f"{where}, line {fact.line}: {unknown('predicate', name, domain.predicates)}")
    if len(words) - 1 != domain.predicates[name]:
        raise UsageError(
            f"{where}, line {fact.line}: {show(fact)} has {len(words) - 1} arguments; expected "
            f"{domain.predicates[name]}"
        )
    for argument in words[1:]:
        if argument not in problem.types:
            raise UsageError(
                f"{where}, line {fact.line}: {show(fact)} mentions {argument!r}, which is not declared in :objects"
            )
    problem.facts.setdefault(name, {}).setdefault(words[1:], fact.line)


def make_game(problem: Problem, domain: Domain, task: str) -> Game:
    """Return the game of a problem.

    Args:
        problem: The problem.
        domain: Its domain.
        task: Goal text of the game.

    Returns:
        The game.

    Raises:
        UsageError: If the game is not supported: several agents, a receptacle at two places, an object of two kinds, or
            a goal of an unknown form.
    """
    names = display_names(problem.entities())
    of_type: dict[str, list[str]] = {"agent": [], "location": [], "receptacle": [], "object": []}
    for id_ in sorted(names):
        of_type.setdefault(problem.types[id_], []).append(id_)
    places = {id_: number for number, id_ in enumerate(of_type["location"])}
    receptacles = _receptacles(problem, of_type["receptacle"], names, places)
    numbers = {receptacle.id: number for number, receptacle in enumerate(receptacles)}
    objects = _objects(problem, of_type["object"], names, numbers, places)
    start = problem.binary_facts("atlocation", "agent", "location")
    if len(of_type["agent"]) != 1 or len(start) != 1:
        raise problem.error(
            f"it has {len(of_type['agent'])} agents at {len(start)} places; expected one agent at one place"
        )
    assert problem.goal is not None
    tools = {_TOOL_OF[verb]: kinds for verb, kinds in domain.tools.items()}
    return Game(
        receptacles=receptacles,
        objects=objects,
        can_contain=_can_contain(problem),
        places=len(places),
        start=places[start[0][1]],
        goal=read_pddl_goal(problem.goal, problem.types, problem.where),
        task=task,
        held=_held(problem, of_type["object"]),
        tools={**TOOLS, **tools},
        place_ids=tuple(places),
        place_names=tuple(names[id_] for id_ in places),
        agent=names[of_type["agent"][0]],
    )


def _unique(problem: Problem, pairs: Iterable[tuple[str, str]], what: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        if found.setdefault(name, value) != value:
            raise problem.error(f"{name!r} has two {what}, {found[name]!r} and {value!r}; expected one")
    return found


def _receptacles(
    problem: Problem, ids: list[str], names: Mapping[str, str], places: Mapping[str, int]
) -> tuple[Receptacle, ...]:
    kinds = _unique(problem, problem.binary_facts("receptacletype", "receptacle", "rtype"), "types")
    at = _unique(problem, problem.binary_facts("receptacleatlocation", "receptacle", "location"), "locations")
    openable = set(problem.unary_facts("openable", "receptacle"))
    opened = set(problem.unary_facts("opened", "receptacle"))
    return tuple(
        Receptacle(
            id=id_,
            name=names[id_],
            kind=kind_of(kinds.get(id_, "")),
            place=places[at[id_]] if id_ in at else -1,
            openable=id_ in openable,
            opened=id_ in opened,
        )
        for id_ in ids
    )


def _objects(
    problem: Problem,
    ids: list[str],
    names: Mapping[str, str],
    receptacles: Mapping[str, int],
    places: Mapping[str, int],
) -> tuple[Object, ...]:
    kinds = _unique(problem, problem.binary_facts("objecttype", "object", "otype"), "types")
    numbers = {id_: number for number, id_ in enumerate(ids)}
    abilities = _group(
        [(o, word) for name, word in ABILITY_PREDICATES.items() for o in problem.unary_facts(name, "object")]
    )
    states = _group([(o, word) for name, word in STATE_PREDICATES.items() for o in problem.unary_facts(name, "object")])
    inside = _group(problem.binary_facts("inreceptacle", "object", "receptacle"))
    near = _group(problem.binary_facts("objectatlocation", "object", "location"))
    inner = _group([(outer, o) for o, outer in problem.binary_facts("inreceptacleobject", "object", "object")])
    return tuple(
        Object(
            id=id_,
            name=names[id_],
            kind=kind_of(kinds.get(id_, "")),
            abilities=frozenset(abilities.get(id_, ())),
            inside=tuple(receptacles[r] for r in inside.get(id_, ())),
            near=tuple(places[place] for place in near.get(id_, ())),
            states=frozenset(states.get(id_, ())),
            contents=tuple(numbers[o] for o in inner.get(id_, ())),
        )
        for id_ in ids
    )


def _group(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def _can_contain(problem: Problem) -> dict[str, frozenset[str]]:
    pairs = problem.binary_facts("cancontain", "rtype", "otype")
    found = _group((kind_of(receptacle), kind_of(thing)) for receptacle, thing in pairs)
    return {receptacle: frozenset(things) for receptacle, things in found.items()}


def _held(problem: Problem, ids: list[str]) -> int:
    held = problem.binary_facts("holds", "agent", "object")
    if len(held) > 1 or bool(held) != bool(problem.unary_facts("holdsany", "agent")):
        raise problem.error("the facts of holds and holdsAny do not agree; expected one object in hand, or none")
    return ids.index(held[0][1]) if held else NO_OBJECT
