"""A grammar, compiled for the engine: commands and answers as functions of a state.

Which placeholders are bound is known before play, so every query becomes a short chain of look-ups. Answers that
depend on little are remembered by that little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ....errors import UsageError, unknown
from ..state import State
from .grammar import Atom, Call, Each, Grammar, Query, Symbol, Value, Word, read_query, read_text
from .relations import KINDS, NEVER, RELATIONS, Kind, Reads, Relation, Tables

MOST_PARTS = 20_000
"""A text may be compiled into so many parts; ALFWorld's are of about 20."""
MOST_MATCHES = 100_000
"""A text may look at so many facts."""
DEEPEST = 30
"""Rules may call rules so deep."""

Env = list[int]
"""The numbers of the entities that the placeholders stand for; the last counts the facts that were looked at."""
Render = Callable[[Tables, State, Env], str]
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
        return Scope(
            (*self.slots, kind), {**self.placeholders, (name, kind): slot}, {**self.variables, name: slot}
        )


@dataclass(frozen=True)
class Text:
    """One compiled text."""

    render: Render
    """What it says."""
    slots: int
    """How many slots its `Env` has, the counter aside."""
    reads: Reads
    """What of the state it depends on."""

    def say(self, tables: Tables, state: State, *bound: int) -> str:
        """The text, for the entities that the first slots stand for."""
        return self.render(tables, state, [*bound, *([0] * (self.slots - len(bound) + 1))])


class Compiler:
    """Compiles the texts of one grammar."""

    def __init__(self, grammar: Grammar, where: str) -> None:
        self.grammar, self.where = grammar, where
        self._parts = 0
        self._slots = 0
        self._reads: set[Reads] = set()
        self._receptacle: int | None = None
        self._hidden: frozenset[str] = frozenset()

    def compile(
        self,
        text: str,
        names: Sequence[tuple[str, Kind]],
        what: str,
        receptacle: int | None = None,
        hidden: frozenset[str] = frozenset(),
    ) -> Text:
        """The text whose placeholders `names` are bound, in this order.

        `receptacle` is the slot of the receptacle on which an answer may depend and still be remembered; `hidden` are
        placeholders that may not be mentioned.
        Raises `UsageError` for a missing rule, an unknown placeholder, a query of what the engine does not keep.
        """
        scope = Scope.of(names)
        self._parts, self._slots, self._reads = 0, len(names), {"nothing"}
        self._receptacle, self._hidden = receptacle, hidden
        render = self._text(text, scope, f"{self.where}, {what}", ())
        order: tuple[Reads, ...] = ("all", "inside", "opened", "nothing")
        reads = next(kind for kind in order if kind in self._reads)
        return Text(render, self._slots, reads)

    def _text(self, text: str, scope: Scope, where: str, calls: tuple[str, ...]) -> Render:
        symbols = read_text(text, where)
        return _in_a_row([self._symbol(symbol, scope, where, calls) for symbol in symbols])

    def _symbol(self, symbol: Symbol, scope: Scope, where: str, calls: tuple[str, ...]) -> str | Render:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise UsageError(f"{where}: the text grows to more than {MOST_PARTS:,} parts")
        if isinstance(symbol, str):
            return symbol
        if isinstance(symbol, Call):
            return self._rule(symbol.rule, scope, calls)
        return self._each(symbol, scope, where, calls)

    def _rule(self, name: str, scope: Scope, calls: tuple[str, ...]) -> Render:
        where = f"{self.where}, rule {name!r}"
        if name not in self.grammar.rules:
            raise UsageError(f"{self.where}: {unknown('rule', name, self.grammar.rules)}")
        if name in calls or len(calls) >= DEEPEST:
            raise UsageError(f"{where}: it calls itself ({' -> '.join((*calls, name))[:200]})")
        calls = (*calls, name)
        cases: list[tuple[Assign | None, Render]] = []
        for rule in self.grammar.rules[name]:
            test = None
            if rule.condition:
                test, _ = self._query(read_query(rule.condition, where), scope, where)
            cases.append((test, self._text(rule.text, scope, where, calls)))
            if test is None:
                break
        if len(cases) == 1 and cases[0][0] is None:
            return cases[0][1]

        def render(t: Tables, s: State, env: Env) -> str:
            for test, say in cases:
                if test is None or any(True for _ in test(t, s, env)):
                    return say(t, s, env)
            return ""

        return render

    def _each(self, each: Each, scope: Scope, where: str, calls: tuple[str, ...]) -> Render:
        assign: Assign | None = None
        if each.query is not None:
            assign, scope_inside = self._query(each.query, scope, where)
        else:
            scope_inside = scope
        if isinstance(each.body, Call):
            say = self._rule(each.body.rule, scope_inside, calls)
        else:
            say = self._value(each.body, scope_inside, where)
        if not each.listed:
            if assign is None:
                return say
            return lambda t, s, env: "".join([say(t, s, env) for _ in assign(t, s, env)])
        none, comma, last = (
            self._rule(name, scope, calls) for name in ("list_empty", "list_separator", "list_last_separator")
        )

        def listing(t: Tables, s: State, env: Env) -> str:
            found = [say(t, s, env) for _ in assign(t, s, env)] if assign else [say(t, s, env)]
            if len(found) < 2:
                return found[0] if found else none(t, s, env)
            return comma(t, s, env).join(found[:-1]) + last(t, s, env) + found[-1]

        return listing

    def _value(self, value: Value, scope: Scope, where: str) -> Render:
        choices = [_in_a_row([self._word(word, scope, where) for word in words]) for words in value.choices]
        if len(choices) == 1:
            return choices[0]

        def render(t: Tables, s: State, env: Env) -> str:
            said = ""
            for choice in choices:
                said = choice(t, s, env)
                if said:
                    break
            return said

        return render

    def _word(self, word: Word, scope: Scope, where: str) -> str | Render:
        if not word.name:
            return word.field
        if word.name not in scope.variables:
            raise UsageError(f"{where}: {unknown('placeholder', word.name, scope.variables)}")
        slot = scope.variables[word.name]
        kind = scope.slots[slot]
        if word.field in ("", "name"):
            return lambda t, s, env: t.names[kind][env[slot]]
        if word.field == "id":
            return lambda t, s, env: t.ids[kind][env[slot]]
        if word.field in ("indefinite", "definite"):
            return "a" if word.field == "indefinite" else "the"
        if word.field == "type":
            return kind
        raise UsageError(f"{where}: {unknown('field', word.field, ('name', 'id', 'indefinite', 'definite', 'type'))}")

    def _query(self, query: Query, scope: Scope, where: str) -> tuple[Assign, Scope]:
        """Steps through the matches of a query, and the scope with what it binds."""
        steps: list[_Step] = []
        _check_absence(query, where)
        for atom in query:
            relation = self._relation(atom, where)
            known: list[bool] = []
            slots: list[int] = []
            for name, type_ in atom.arguments:
                kind = _kind(type_, atom, where)
                if name in self._hidden:
                    raise UsageError(f"{where}: {name!r} cannot be asked for here")
                slot = scope.placeholders.get((name, kind))
                known.append(slot is not None)
                if slot is None:
                    scope = scope.with_new(name, kind)
                    slot = len(scope.slots) - 1
                slots.append(slot)
            if relation is not None:
                rivals = tuple(
                    () if old else tuple(i for i, kind in enumerate(scope.slots[:slot]) if kind == scope.slots[slot])
                    for old, slot in zip(known, slots, strict=True)
                )
                self._note(relation, slots, known)
                steps.append(_Step(relation, tuple(slots), tuple(known), rivals))
            else:
                steps = [_Step(_NEVER, (), (), ())]
        self._slots = max(self._slots, len(scope.slots))
        return _chain(steps), scope

    def _relation(self, atom: Atom, where: str) -> Relation | None:
        if atom.predicate in NEVER:
            return None
        relation = RELATIONS.get(atom.predicate)
        if relation is None:
            raise UsageError(
                f"{where}: this engine keeps no facts of {unknown('predicate', atom.predicate, RELATIONS)}"
            )
        if len(atom.arguments) != len(relation.kinds):
            raise UsageError(f"{where}: {atom.predicate} takes {len(relation.kinds)} arguments: {relation.kinds}")
        for (name, type_), kind in zip(atom.arguments, relation.kinds, strict=True):
            if type_ != kind:
                raise UsageError(f"{where}: {name!r} of {atom.predicate} is of type {type_!r}, expected {kind!r}")
        return relation

    def _note(self, relation: Relation, slots: Sequence[int], known: Sequence[bool]) -> None:
        reads = relation.reads
        if reads in ("opened", "inside") and not (known[-1] and slots[-1] == self._receptacle):
            reads = "all"
        self._reads.add(reads)


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


_NEVER = Relation((), lambda t, s: (), "nothing")


@dataclass(frozen=True)
class _Step:
    relation: Relation
    slots: tuple[int, ...]
    known: tuple[bool, ...]
    """Which of the slots are bound before."""
    rivals: tuple[tuple[int, ...], ...]
    """For every new slot those of its kind before it: two placeholders never stand for one entity."""


def _chain(steps: list[_Step]) -> Assign:
    after: Assign | None = None
    for step in reversed(steps):
        after = _assign(step, after)
    assert after is not None
    return after


def _assign(step: _Step, then: Assign | None) -> Assign:
    rows = step.relation.rows
    pairs = tuple(zip(step.slots, step.known, step.rivals, strict=True))

    def assign(t: Tables, s: State, env: Env) -> Iterator[None]:
        for row in rows(t, s, *[env[slot] if old else None for slot, old, _ in pairs]):
            env[-1] += 1
            if env[-1] > MOST_MATCHES:
                raise UsageError(f"a text of the grammar looks at more than {MOST_MATCHES:,} facts; it is not ALFWorld's")
            for (slot, old, rivals), value in zip(pairs, row, strict=True):
                if old:
                    if env[slot] != value:
                        break
                else:
                    if rivals and any(env[rival] == value for rival in rivals):
                        break
                    env[slot] = value
            else:
                if then is None:
                    yield
                else:
                    yield from then(t, s, env)

    return assign


def _in_a_row(parts: Sequence[str | Render]) -> Render:
    """One function for texts and functions in a row."""
    merged: list[str | Render] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)
    if len(merged) == 1:
        only = merged[0]
        return (lambda t, s, env: only) if isinstance(only, str) else only
    functions = [_constant(part) if isinstance(part, str) else part for part in merged]

    def render(t: Tables, s: State, env: Env) -> str:
        return "".join([function(t, s, env) for function in functions])

    return render


def _constant(text: str) -> Render:
    return lambda t, s, env: text


