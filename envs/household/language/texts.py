"""A grammar, compiled for the engine: commands and answers as functions of a state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ....errors import UsageError, unknown
from ..state import State
from .grammar import Call, Each, Grammar, Query, Symbol, Value, Word, read_query, read_text
from .queries import Env, Scope, Step, Test, assign_of, plan, reads, test_of
from .relations import Kind, Reads, Tables

MOST_PARTS = 20_000
"""A text may be compiled into so many parts; ALFWorld's are of about 20."""
MOST_WRITTEN = 20_000
"""Characters of the literals of a text, every time that they stand in it; ALFWorld's have a few hundred."""
MOST_SAID = 1_000_000
"""Characters that any part of a text may grow to when it is said."""
DEEPEST = 30
"""Rules may call rules so deep."""

LIST_RULES = ("list_empty", "list_separator", "list_last_separator")
"""The rules for a list that is empty, and for what stands between its items."""

Render = Callable[[Tables, State, Env], str]


@dataclass(frozen=True)
class Name:
    """The name of the entity in a slot."""

    kind: Kind
    slot: int


Part = str | Name | Render


@dataclass(frozen=True)
class Text:
    """One compiled text."""

    render: Render
    """What it says."""
    spare: tuple[int, ...]
    """Zeros for the slots of its `Env` that queries fill, and for the counter."""
    parts: tuple[str | Name, ...]
    """Where it is made of literals and names alone, these."""
    reads: Reads
    """What of the state it depends on; answers that depend on little can be remembered by that little."""

    def say(self, tables: Tables, state: State, *bound: int) -> str:
        """The text, for the entities that the first slots stand for."""
        return self.render(tables, state, [*bound, *self.spare])


class Compiler:
    """Compiles the texts of one grammar."""

    def __init__(self, grammar: Grammar, where: str) -> None:
        self.grammar, self.where = grammar, where
        self._parts = 0
        self._written = 0
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
        self._parts, self._written, self._slots, self._reads = 0, 0, len(names), {"nothing"}
        self._receptacle, self._hidden = receptacle, hidden
        parts = _merged(self._text(text, Scope.of(names), f"{self.where}, {what}", ()))
        simple = tuple(part for part in parts if isinstance(part, str | Name))
        spare = (0,) * (self._slots - len(names) + 1)
        simple = simple if len(simple) == len(parts) else ()
        return Text(_render(parts), spare, simple, _most(self._reads))

    def _text(self, text: str, scope: Scope, where: str, calls: tuple[str, ...]) -> list[Part]:
        return [part for symbol in read_text(text, where) for part in self._symbol(symbol, scope, where, calls)]

    def _symbol(self, symbol: Symbol, scope: Scope, where: str, calls: tuple[str, ...]) -> list[Part]:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise UsageError(f"{where}: the text grows to more than {MOST_PARTS:,} parts")
        if isinstance(symbol, str):
            self._written += len(symbol)
            if self._written > MOST_WRITTEN:
                raise UsageError(f"{where}: the text grows to more than {MOST_WRITTEN:,} characters of literals")
            return [symbol]
        if isinstance(symbol, Call):
            return self._rule(symbol.rule, scope, calls)
        return self._each(symbol, scope, where, calls)

    def _rule(self, name: str, scope: Scope, calls: tuple[str, ...]) -> list[Part]:
        where = f"{self.where}, rule {name!r}"
        if name not in self.grammar.rules:
            raise UsageError(f"{self.where}: {unknown('rule', name, self.grammar.rules)}")
        if name in calls or len(calls) >= DEEPEST:
            raise UsageError(f"{where}: it calls itself ({' -> '.join((*calls, name))[:200]})")
        calls = (*calls, name)
        cases: list[tuple[Test | None, Render]] = []
        for rule in self.grammar.rules[name]:
            if not rule.condition:
                parts = self._text(rule.text, scope, where, calls)
                if not cases:
                    return parts
                cases.append((None, _render(parts)))
                break
            steps, _ = self._plan(read_query(rule.condition, where), scope, where)
            cases.append((test_of(steps), _render(self._text(rule.text, scope, where, calls))))

        def render(t: Tables, s: State, env: Env) -> str:
            for test, say in cases:
                if test is None or test(t, s, env):
                    return say(t, s, env)
            return ""

        return [render]

    def _plan(self, query: Query, scope: Scope, where: str) -> tuple[tuple[Step, ...], Scope]:
        steps, inner = plan(query, scope, self._hidden, where)
        self._reads |= reads(steps, self._receptacle)
        self._slots = max(self._slots, len(inner.slots))
        return steps, inner

    def _each(self, each: Each, scope: Scope, where: str, calls: tuple[str, ...]) -> list[Part]:
        steps, inner = self._plan(each.query, scope, where) if each.query is not None else ((), scope)
        if isinstance(each.body, Call):
            body = self._rule(each.body.rule, inner, calls)
        else:
            body = self._value(each.body, inner, where)
        if not steps:
            return body
        found = _all_of(steps, body)
        if not each.listed:
            return [lambda t, s, env: "".join(found(t, s, env))]
        parts = [_merged(self._rule(name, scope, calls)) for name in LIST_RULES]
        if all(isinstance(part, str) for rule in parts for part in rule):
            return [_listing(found, *["".join(map(str, rule)) for rule in parts])]
        none, comma, last = map(_render, parts)

        def listing(t: Tables, s: State, env: Env) -> str:
            items = found(t, s, env)
            if len(items) < 2:
                return items[0] if items else none(t, s, env)
            return _row(items, comma(t, s, env), last(t, s, env))

        return [listing]

    def _value(self, value: Value, scope: Scope, where: str) -> list[Part]:
        choices = [[self._word(word, scope, where) for word in words] for words in value.choices]
        # A name is never empty, so what follows it with `or` is never said.
        said = (choice for choice in choices if any(isinstance(part, Name) or part for part in choice))
        return next(said, choices[-1])

    def _word(self, word: Word, scope: Scope, where: str) -> Part:
        if not word.name:
            return word.field
        if word.name not in scope.variables or word.name in self._hidden:
            raise UsageError(f"{where}: {unknown('placeholder', word.name, scope.variables.keys() - self._hidden)}")
        slot = scope.variables[word.name]
        kind = scope.slots[slot]
        if word.field in ("", "name"):
            return Name(kind, slot)
        if word.field == "id":
            return lambda t, s, env: t.ids[kind][env[slot]]
        if word.field in ("indefinite", "definite"):
            return "a" if word.field == "indefinite" else "the"
        if word.field == "type":
            return kind
        raise UsageError(f"{where}: {unknown('field', word.field, ('name', 'id', 'indefinite', 'definite', 'type'))}")


def _listing(found: Callable[[Tables, State, Env], list[str]], none: str, comma: str, last: str) -> Render:
    """A list whose separators are what they always are."""

    def listing(t: Tables, s: State, env: Env) -> str:
        items = found(t, s, env)
        if len(items) < 2:
            return items[0] if items else none
        return _row(items, comma, last)

    return listing


def _row(items: Sequence[str], comma: str, last: str) -> str:
    _bounded(len(comma) * len(items))
    return comma.join(items[:-1]) + last + items[-1]


def _bounded(length: int) -> None:
    """Nothing that a hostile game says may fill the memory."""
    if length > MOST_SAID:
        raise UsageError(f"a text of the grammar grows to more than {MOST_SAID:,} characters; it is not ALFWorld's")


def _most(found: set[Reads]) -> Reads:
    """The one word for all that is read."""
    if "all" in found or ("view" in found and found & {"opened", "inside"}):
        return "all"
    order: tuple[Reads, ...] = ("view", "inside", "opened", "nothing")
    return next(what for what in order if what in found)


def _all_of(steps: Sequence[Step], body: Sequence[Part]) -> Callable[[Tables, State, Env], list[str]]:
    """What `body` says for every match of a query."""
    merged = _merged(body)
    short = not isinstance(merged[0], str) or len(merged[0]) < 100
    if len(steps) == 1 and len(merged) <= 2 and isinstance(merged[-1], Name) and short:
        step, name = steps[0], merged[-1]
        before = merged[0] if len(merged) == 2 else ""
        new = [place for place, known in enumerate(step.known) if not known]
        if isinstance(before, str) and len(new) == 1 and step.slots[new[0]] == name.slot and not step.rivals[new[0]]:
            return _quick(step, new[0], before, name.kind)
    assign, say = assign_of(steps), _render(body)

    def found(t: Tables, s: State, env: Env) -> list[str]:
        said, length = [], 0
        for _ in assign(t, s, env):
            said.append(say(t, s, env))
            length += len(said[-1])
            _bounded(length)
        return said

    return found


def _quick(step: Step, place: int, before: str, kind: Kind) -> Callable[[Tables, State, Env], list[str]]:
    """The most frequent case, names of what is in one relation to what is known, without detours."""
    rows = step.relation.rows
    arguments = tuple(zip(step.slots, step.known, strict=True))

    def found(t: Tables, s: State, env: Env) -> list[str]:
        names = t.names[kind]
        known = [env[slot] if known else None for slot, known in arguments]
        return [before + names[row[place]] for row in rows(t, s, *known)]

    return found


def _merged(parts: Sequence[Part]) -> list[Part]:
    """The same with neighbouring literals made one."""
    merged: list[Part] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)
    return merged or [""]


def _render(parts: Sequence[Part]) -> Render:
    """One function for parts in a row."""
    merged = _merged(parts)
    if len(merged) == 1:
        return _one(merged[0])
    if sum(isinstance(part, Name) for part in merged) <= 2 and all(isinstance(part, str | Name) for part in merged):
        return _names(merged)
    functions = [_one(part) for part in merged]

    def render(t: Tables, s: State, env: Env) -> str:
        said, length = [], 0
        for function in functions:
            said.append(function(t, s, env))
            length += len(said[-1])
            _bounded(length)
        return "".join(said)

    return render


def _one(part: Part) -> Render:
    if isinstance(part, str):
        return lambda t, s, env: part
    if isinstance(part, Name):
        kind, slot = part.kind, part.slot
        return lambda t, s, env: t.names[kind][env[slot]]
    return part


def _names(merged: Sequence[Part]) -> Render:
    """Literals around one or two names: most commands and answers."""
    literals = ["", "", ""]
    names: list[Name] = []
    for part in merged:
        if isinstance(part, str):
            literals[len(names)] = part
        elif isinstance(part, Name):
            names.append(part)
    before, between, after = literals
    kind, slot = names[0].kind, names[0].slot
    if len(names) == 1:
        return lambda t, s, env: before + t.names[kind][env[slot]] + between
    kind2, slot2 = names[1].kind, names[1].slot
    return lambda t, s, env: before + t.names[kind][env[slot]] + between + t.names[kind2][env[slot2]] + after
