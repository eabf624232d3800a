"""Compiler of a grammar's queries into chains of lookups.

Which placeholders are bound at each lookup is determined at compile time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ....errors import UsageError, unknown
from ..state import State
from .grammar import Atom, Query
from .relations import EMPTY_RELATIONS, KINDS, RELATIONS, Dependency, Kind, Relation, Tables

MAX_FACTS = 100_000
"""Maximum number of facts that one text may look up."""

Bindings = list[int]
"""Entity index of each slot. The last element counts the facts looked up so far."""
QueryTest = Callable[[Tables, State, Bindings], bool]
"""Function that returns whether a query has a match."""
Matcher = Callable[[Tables, State, Bindings], Iterator[None]]
"""Function that iterates over the matches of a query. Each match is written to the `Bindings`."""


@dataclass(frozen=True)
class Scope:
    """The bound placeholders and their slots."""

    slots: tuple[Kind, ...] = ()
    """Kind of the entity in each slot."""
    placeholders: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Slots by placeholder name and type, for queries."""
    variables: Mapping[str, int] = field(default_factory=dict)
    """Slots by placeholder name, for expressions."""

    @classmethod
    def of(cls, names: Sequence[tuple[str, Kind]]) -> Scope:
        """Return a scope with these placeholders in the first slots."""
        return cls(
            tuple(kind for _, kind in names),
            {pair: slot for slot, pair in enumerate(names)},
            {name: slot for slot, (name, _) in enumerate(names)},
        )

    def with_new(self, name: str, kind: Kind) -> Scope:
        """Return a copy with one more placeholder."""
        slot = len(self.slots)
        return Scope((*self.slots, kind), {**self.placeholders, (name, kind): slot}, {**self.variables, name: slot})


@dataclass(frozen=True)
class Lookup:
    """One lookup of a query."""

    relation: Relation
    """Relation to look up."""
    slots: tuple[int, ...]
    """Slots of its arguments."""
    bound: tuple[bool, ...]
    """For each argument, whether an earlier lookup binds its slot."""
    must_differ: tuple[tuple[int, ...], ...]
    """For each argument with a new slot, the earlier slots of its kind. Its entity must differ from theirs."""


_EMPTY_LOOKUP = Lookup(Relation((), lambda t, s: (), "nothing"), (), (), ())


def plan_query(query: Query, scope: Scope, hidden: frozenset[str], where: str) -> tuple[tuple[Lookup, ...], Scope]:
    """Compile a query into lookups.

    Args:
        query: The query.
        scope: Placeholders that are already bound.
        hidden: Names of placeholders that the query may not mention.
        where: Name of the text in error messages.

    Returns:
        The lookups, and the scope extended by the placeholders that the query binds.

    Raises:
        UsageError: If the query mentions a hidden placeholder or an unsupported predicate.
    """
    _check_not_inreceptacle(query, where)
    lookups: list[Lookup] = []
    for atom in query:
        relation = _relation(atom, where)
        slots: list[int] = []
        bound: list[bool] = []
        must_differ: list[tuple[int, ...]] = []
        for name, type_ in atom.arguments:
            kind = _kind(type_, atom, where)
            if name in hidden:
                raise UsageError(f"{where}: {name!r} is not available here; remove it")
            slot = scope.placeholders.get((name, kind))
            if slot in slots:
                raise UsageError(
                    f"{where}: {name!r} occurs twice in one {atom.predicate}; expected different placeholders"
                )
            bound.append(slot is not None)
            if slot is None:
                must_differ.append(tuple(i for i, other in enumerate(scope.slots) if other == kind))
                scope = scope.with_new(name, kind)
                slot = len(scope.slots) - 1
            else:
                must_differ.append(())
            slots.append(slot)
        lookups.append(
            Lookup(relation, tuple(slots), tuple(bound), tuple(must_differ)) if relation is not None else _EMPTY_LOOKUP
        )
    return tuple(lookups), scope


def dependencies(lookups: Sequence[Lookup], receptacle: int | None) -> set[Dependency]:
    """Return the parts of a state that the result of a query depends on.

    `receptacle` is the slot of the receptacle that `opened` and `inside` may refer to.
    """
    found: set[Dependency] = set()
    for lookup in lookups:
        dependency = lookup.relation.depends_on
        if dependency in ("opened", "inside") and not (lookup.bound[-1] and lookup.slots[-1] == receptacle):
            dependency = "all"
        found.add(dependency)
    return found


def compile_test(lookups: Sequence[Lookup]) -> QueryTest:
    """Return a function that tests whether a query has a match."""
    if all(all(lookup.bound) for lookup in lookups):
        tests = [_lookup_test(lookup) for lookup in lookups]
        if len(tests) == 1:
            return tests[0]
        return lambda t, s, bindings: all(test(t, s, bindings) for test in tests)
    matches = compile_matcher(lookups)
    return lambda t, s, bindings: any(True for _ in matches(t, s, bindings))


def _lookup_test(lookup: Lookup) -> QueryTest:
    rows = lookup.relation.rows
    if len(lookup.slots) == 1:
        (slot,) = lookup.slots
        return lambda t, s, bindings: bool(rows(t, s, bindings[slot]))
    slots = lookup.slots
    return lambda t, s, bindings: bool(rows(t, s, *[bindings[slot] for slot in slots]))


def compile_matcher(lookups: Sequence[Lookup]) -> Matcher:
    """Return a function that iterates over the matches of a query."""
    matcher: Matcher | None = None
    for lookup in reversed(lookups):
        matcher = _matcher(lookup, matcher)
    assert matcher is not None
    return matcher


def _matcher(lookup: Lookup, rest: Matcher | None) -> Matcher:
    rows = lookup.relation.rows
    arguments = tuple(zip(lookup.slots, lookup.bound, strict=True))
    free = tuple(
        (index, slot, must_differ)
        for index, (slot, bound, must_differ) in enumerate(
            zip(lookup.slots, lookup.bound, lookup.must_differ, strict=True)
        )
        if not bound
    )

    def matches(t: Tables, s: State, bindings: Bindings) -> Iterator[None]:
        found = rows(t, s, *[bindings[slot] if bound else None for slot, bound in arguments])
        bindings[-1] += len(found)
        if bindings[-1] > MAX_FACTS:
            raise UsageError(f"a text of the grammar needs too many facts; expected at most {MAX_FACTS:,}")
        for row in found:
            for index, slot, must_differ in free:
                if must_differ and any(bindings[other_slot] == row[index] for other_slot in must_differ):
                    break
                bindings[slot] = row[index]
            else:
                if rest is None:
                    yield
                else:
                    yield from rest(t, s, bindings)

    return matches


def _relation(atom: Atom, where: str) -> Relation | None:
    if atom.predicate in EMPTY_RELATIONS:
        return None
    relation = RELATIONS.get(atom.predicate)
    if relation is None:
        raise UsageError(f"{where}: the query is not supported: {unknown('predicate', atom.predicate, RELATIONS)}")
    if len(atom.arguments) != len(relation.kinds):
        raise UsageError(
            f"{where}: {atom.predicate} has {len(atom.arguments)} arguments; expected "
            f"{len(relation.kinds)}: {', '.join(relation.kinds)}"
        )
    for (name, type_), kind in zip(atom.arguments, relation.kinds, strict=True):
        if type_ != kind:
            raise UsageError(f"{where}: {name!r} of {atom.predicate} has type {type_!r}; expected {kind!r}")
    return relation


def _kind(type_: str, atom: Atom, where: str) -> Kind:
    for kind in KINDS:
        if kind == type_:
            return kind
    raise UsageError(f"{where}, {atom.predicate}: {unknown('type', type_, KINDS)}")


def _check_not_inreceptacle(query: Query, where: str) -> None:
    """Check the use of `not_inreceptacle`, which the engine only tracks for receptacles that share a place."""
    queried = {(atom.predicate, tuple(name for name, _ in atom.arguments)) for atom in query}
    for predicate, names in queried:
        if predicate == "not_inreceptacle" and len(names) == 2:
            places = {others[-1] for other, others in queried if other == "objectatlocation" and others[0] == names[0]}
            if not any(("receptacleatlocation", (names[1], place)) in queried for place in places):
                raise UsageError(
                    f"{where}: not_inreceptacle is used alone; expected it together with objectatlocation and "
                    "receptacleatlocation of the same place"
                )
