"""The queries of a grammar, compiled into chains of look-ups: which placeholders are bound is known before play."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ....errors import UsageError, unknown
from ..state import State
from .grammar import Atom, Query
from .relations import KINDS, NEVER, RELATIONS, Kind, Reads, Relation, Tables

MOST_MATCHES = 100_000
"""A text may look at so many facts."""

Env = list[int]
"""The numbers of the entities that the placeholders stand for; the last counts the facts that were looked at."""
Test = Callable[[Tables, State, Env], bool]
Assign = Callable[[Tables, State, Env], Iterator[None]]
"""Steps through the matches of a query, each of them left in the `Env`."""


@dataclass(frozen=True)
class Scope:
    """Which placeholders are bound, and where their numbers are."""

    slots: tuple[Kind, ...] = ()
    """For every slot the kind of entity in it."""
    placeholders: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Slots of placeholders by name and type: what queries match."""
    variables: Mapping[str, int] = field(default_factory=dict)
    """Slots by name alone: what expressions mean."""

    @classmethod
    def of(cls, names: Sequence[tuple[str, Kind]]) -> Scope:
        """A scope with these placeholders, in the slots from 0."""
        return cls(
            tuple(kind for _, kind in names),
            {pair: slot for slot, pair in enumerate(names)},
            {name: slot for slot, (name, _) in enumerate(names)},
        )

    def with_new(self, name: str, kind: Kind) -> Scope:
        """The same with one more."""
        slot = len(self.slots)
        return Scope((*self.slots, kind), {**self.placeholders, (name, kind): slot}, {**self.variables, name: slot})


@dataclass(frozen=True)
class Step:
    """One look-up of a query."""

    relation: Relation
    slots: tuple[int, ...]
    """Where its arguments are, or will be."""
    known: tuple[bool, ...]
    """Which of the slots are bound before."""
    rivals: tuple[tuple[int, ...], ...]
    """For every new slot those of its kind before it: two placeholders never stand for one entity."""


_NEVER = Step(Relation((), lambda t, s: (), "nothing"), (), (), ())


def plan(query: Query, scope: Scope, hidden: frozenset[str], where: str) -> tuple[tuple[Step, ...], Scope]:
    """The look-ups of a query, and the scope with what it binds.

    Raises `UsageError`, which begins with `where`, for `hidden` placeholders and for what the engine does not keep.
    """
    _check_absence(query, where)
    steps: list[Step] = []
    for atom in query:
        relation = _relation(atom, where)
        slots: list[int] = []
        known: list[bool] = []
        rivals: list[tuple[int, ...]] = []
        for name, type_ in atom.arguments:
            kind = _kind(type_, atom, where)
            if name in hidden:
                raise UsageError(f"{where}: {name!r} cannot be asked for here")
            slot = scope.placeholders.get((name, kind))
            if slot in slots:
                raise UsageError(f"{where}: {name!r} is twice in one {atom.predicate}, which this engine does not ask")
            known.append(slot is not None)
            if slot is None:
                rivals.append(tuple(i for i, other in enumerate(scope.slots) if other == kind))
                scope = scope.with_new(name, kind)
                slot = len(scope.slots) - 1
            else:
                rivals.append(())
            slots.append(slot)
        steps.append(Step(relation, tuple(slots), tuple(known), tuple(rivals)) if relation is not None else _NEVER)
    return tuple(steps), scope


def reads(steps: Sequence[Step], receptacle: int | None) -> set[Reads]:
    """What of a state the answer to a query depends on, where `receptacle` is the slot of the one asked about."""
    found: set[Reads] = set()
    for step in steps:
        what = step.relation.reads
        if what in ("opened", "inside") and not (step.known[-1] and step.slots[-1] == receptacle):
            what = "all"
        found.add(what)
    return found


def test_of(steps: Sequence[Step]) -> Test:
    """Whether a query has a match."""
    if all(all(step.known) for step in steps):
        checks = [_check(step) for step in steps]
        if len(checks) == 1:
            return checks[0]
        return lambda t, s, env: all(check(t, s, env) for check in checks)
    assign = assign_of(steps)
    return lambda t, s, env: any(True for _ in assign(t, s, env))


def _check(step: Step) -> Test:
    rows = step.relation.rows
    if len(step.slots) == 1:
        (slot,) = step.slots
        return lambda t, s, env: bool(rows(t, s, env[slot]))
    slots = step.slots
    return lambda t, s, env: bool(rows(t, s, *[env[slot] for slot in slots]))


def assign_of(steps: Sequence[Step]) -> Assign:
    """Steps through the matches of a query."""
    after: Assign | None = None
    for step in reversed(steps):
        after = _assign(step, after)
    assert after is not None
    return after


def _assign(step: Step, then: Assign | None) -> Assign:
    rows = step.relation.rows
    arguments = tuple(zip(step.slots, step.known, strict=True))
    new = tuple(
        (place, slot, rivals)
        for place, (slot, known, rivals) in enumerate(zip(step.slots, step.known, step.rivals, strict=True))
        if not known
    )

    def assign(t: Tables, s: State, env: Env) -> Iterator[None]:
        found = rows(t, s, *[env[slot] if known else None for slot, known in arguments])
        env[-1] += len(found)
        if env[-1] > MOST_MATCHES:
            raise UsageError(f"a text of the grammar looks at more than {MOST_MATCHES:,} facts; it is not ALFWorld's")
        for row in found:
            for place, slot, rivals in new:
                if rivals and any(env[rival] == row[place] for rival in rivals):
                    break
                env[slot] = row[place]
            else:
                if then is None:
                    yield
                else:
                    yield from then(t, s, env)

    return assign


def _relation(atom: Atom, where: str) -> Relation | None:
    if atom.predicate in NEVER:
        return None
    relation = RELATIONS.get(atom.predicate)
    if relation is None:
        raise UsageError(f"{where}: this engine keeps no facts of {unknown('predicate', atom.predicate, RELATIONS)}")
    if len(atom.arguments) != len(relation.kinds):
        raise UsageError(f"{where}: {atom.predicate} takes {len(relation.kinds)} arguments: {relation.kinds}")
    for (name, type_), kind in zip(atom.arguments, relation.kinds, strict=True):
        if type_ != kind:
            raise UsageError(f"{where}: {name!r} of {atom.predicate} is of type {type_!r}, expected {kind!r}")
    return relation


def _kind(type_: str, atom: Atom, where: str) -> Kind:
    for kind in KINDS:
        if kind == type_:
            return kind
    raise UsageError(f"{where}, {atom.predicate}: {unknown('type', type_, KINDS)}")


def _check_absence(query: Query, where: str) -> None:
    """The engine knows who was taken from where only for receptacles that share a place."""
    said = {(atom.predicate, tuple(name for name, _ in atom.arguments)) for atom in query}
    for predicate, names in said:
        if predicate == "not_inreceptacle" and len(names) == 2:
            places = {at[-1] for what, at in said if what == "objectatlocation" and at[0] == names[0]}
            if not any(("receptacleatlocation", (names[1], place)) in said for place in places):
                raise UsageError(
                    f"{where}: this engine answers not_inreceptacle only together with objectatlocation and "
                    "receptacleatlocation of the same place"
                )
