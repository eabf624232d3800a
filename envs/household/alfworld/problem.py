"""A PDDL problem of ALFWorld's, read into a `Game`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ....errors import UsageError, unknown
from ..game import TOOLS, Game, Object, Receptacle, number_names
from ..language.domain import Domain, kind_of
from ..language.lisp import Form, read_form, show, typed
from ..state import NOTHING
from ..verbs import CLEAN, COOL, HEAT, SLICE
from .goal import read_pddl_goal

ABILITIES = {
    "pickupable": "pickupable",
    "heatable": "heatable",
    "coolable": "coolable",
    "cleanable": "cleanable",
    "toggleable": "toggleable",
    "sliceable": "sliceable",
    "isreceptacleobject": "container",
}
STATES = {"ishot": "hot", "iscool": "cool", "isclean": "clean", "issliced": "sliced", "istoggled": "toggled"}
_TOOL_OF = {HEAT: "heat", COOL: "cool", CLEAN: "clean", SLICE: "slice"}


@dataclass
class Problem:
    """What a problem says, by predicate."""

    where: str
    """The file and the field, for messages."""
    types: dict[str, str]
    """Every declared entity with its type."""
    facts: dict[str, dict[tuple[str, ...], int]] = field(default_factory=dict)
    """For every predicate the arguments of its facts, with the lines."""
    goal: Form | None = None

    def entities(self) -> set[str]:
        """Whatever a fact mentions: what TextWorld counts and names."""
        return {name for rows in self.facts.values() for row in rows for name in row}

    def pairs(self, predicate: str, first: str, second: str) -> list[tuple[str, str]]:
        """The facts of a predicate with two arguments of these types, sorted."""
        return [(row[0], row[1]) for row in self._rows(predicate, (first, second))]

    def ones(self, predicate: str, kind: str) -> list[str]:
        """The facts of a predicate with one argument, sorted."""
        return [row[0] for row in self._rows(predicate, (kind,))]

    def _rows(self, predicate: str, kinds: tuple[str, ...]) -> list[tuple[str, ...]]:
        rows = self.facts.get(predicate, {})
        for row, line in rows.items():
            if tuple(self.types[name] for name in row) != kinds:
                raise UsageError(
                    f"{self.where}, line {line}: ({predicate} {' '.join(row)[:80]}) is about "
                    f"{', '.join(self.types[name] for name in row)}; this engine takes {', '.join(kinds)}"
                )
        return sorted(rows)

    def wrong(self, what: str) -> UsageError:
        """The error for something about the problem as a whole."""
        return UsageError(f"{self.where}: {what}")


def read_problem(text: str, domain: Domain, where: str = "pddl_problem") -> Problem:
    """The facts and the goal in `text`.

    Raises `UsageError`, which begins with `where` and names the line, for what is not PDDL, an unknown predicate, a
    wrong number of arguments and an undeclared entity.
    """
    form = read_form(text, where)
    if form.head != "define":
        raise UsageError(f"{where}, line {form.line}: expected (define (problem ...) ...), found ({form.head} ...)")
    parts = {part.head: part for part in form.forms}
    if ":init" not in parts or ":goal" not in parts:
        raise UsageError(f"{where}: it has no {':goal' if ':init' in parts else ':init'}")
    types = dict(domain.constants)
    for name, type_ in typed(parts[":objects"].words(where)[1:] if ":objects" in parts else ()):
        if type_ not in domain.types:
            raise UsageError(f"{where}: the entity {name!r} is of {unknown('type', type_, domain.types)}")
        if types.setdefault(name, type_) != type_:
            raise UsageError(f"{where}: {name!r} is declared twice, as {types[name]} and as {type_}")
    problem = Problem(where, types, goal=parts[":goal"])
    for fact in parts[":init"].items[1:]:
        _add_fact(problem, domain, fact)
    return problem


def _add_fact(problem: Problem, domain: Domain, fact: str | Form) -> None:
    where = problem.where
    if isinstance(fact, str):
        raise UsageError(f"{where}: expected facts in parentheses in :init, found {fact[:40]!r}")
    if fact.head == "=":
        return
    words = fact.words(where)
    if not words:
        raise UsageError(f"{where}, line {fact.line}: a fact in :init is empty")
    name = words[0]
    if name not in domain.predicates:
        raise UsageError(f"{where}, line {fact.line}: {unknown('predicate', name, domain.predicates)}")
    if len(words) - 1 != domain.predicates[name]:
        raise UsageError(
            f"{where}, line {fact.line}: {show(fact)} has {len(words) - 1} arguments, {name} takes "
            f"{domain.predicates[name]}"
        )
    for argument in words[1:]:
        if argument not in problem.types:
            raise UsageError(f"{where}, line {fact.line}: {show(fact)} is about {argument!r}, which is not declared")
    problem.facts.setdefault(name, {}).setdefault(words[1:], fact.line)


def make_game(problem: Problem, domain: Domain, task: str) -> Game:
    """The game of a problem; `task` is how its grammar states the goal.

    Raises `UsageError` for what this engine does not play: several agents, a receptacle at two places, an object of
    two kinds, a goal of another form.
    """
    names = number_names(problem.entities())
    of_type: dict[str, list[str]] = {"agent": [], "location": [], "receptacle": [], "object": []}
    for id_ in sorted(names):
        of_type.setdefault(problem.types[id_], []).append(id_)
    places = {id_: number for number, id_ in enumerate(of_type["location"])}
    receptacles = _receptacles(problem, of_type["receptacle"], names, places)
    numbers = {receptacle.id: number for number, receptacle in enumerate(receptacles)}
    objects = _objects(problem, of_type["object"], names, numbers, places)
    start = problem.pairs("atlocation", "agent", "location")
    if len(of_type["agent"]) != 1 or len(start) != 1:
        raise problem.wrong(
            f"it has {len(of_type['agent'])} agents at {len(start)} places; this engine plays one at one"
        )
    assert problem.goal is not None
    tools = {_TOOL_OF[verb]: kinds for verb, kinds in domain.tools.items()}
    return Game(
        receptacles=receptacles,
        objects=objects,
        holds=_holds(problem),
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


def _one(problem: Problem, pairs: Iterable[tuple[str, str]], what: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        if found.setdefault(name, value) != value:
            raise problem.wrong(f"{name!r} has two {what}, {found[name]!r} and {value!r}; this engine takes one")
    return found


def _receptacles(
    problem: Problem, ids: list[str], names: Mapping[str, str], places: Mapping[str, int]
) -> tuple[Receptacle, ...]:
    kinds = _one(problem, problem.pairs("receptacletype", "receptacle", "rtype"), "types")
    at = _one(problem, problem.pairs("receptacleatlocation", "receptacle", "location"), "locations")
    openable = set(problem.ones("openable", "receptacle"))
    opened = set(problem.ones("opened", "receptacle"))
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
    kinds = _one(problem, problem.pairs("objecttype", "object", "otype"), "types")
    numbers = {id_: number for number, id_ in enumerate(ids)}
    abilities = _gather([(o, word) for name, word in ABILITIES.items() for o in problem.ones(name, "object")])
    states = _gather([(o, word) for name, word in STATES.items() for o in problem.ones(name, "object")])
    inside = _gather(problem.pairs("inreceptacle", "object", "receptacle"))
    near = _gather(problem.pairs("objectatlocation", "object", "location"))
    inner = _gather([(outer, o) for o, outer in problem.pairs("inreceptacleobject", "object", "object")])
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


def _gather(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def _holds(problem: Problem) -> dict[str, frozenset[str]]:
    pairs = problem.pairs("cancontain", "rtype", "otype")
    found = _gather((kind_of(receptacle), kind_of(thing)) for receptacle, thing in pairs)
    return {receptacle: frozenset(things) for receptacle, things in found.items()}


def _held(problem: Problem, ids: list[str]) -> int:
    held = problem.pairs("holds", "agent", "object")
    if len(held) > 1 or bool(held) != bool(problem.ones("holdsany", "agent")):
        raise problem.wrong("the facts about holds and holdsAny do not agree; this engine holds one object or none")
    return ids.index(held[0][1]) if held else NOTHING
