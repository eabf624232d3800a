"""Compiler of a grammar's commands and answers into functions of a state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ....errors import UsageError, unknown
from ..state import State
from .grammar import ForEach, Grammar, Query, RuleCall, Symbol, Value, Word, read_query, read_text
from .queries import Bindings, Lookup, QueryTest, Scope, compile_matcher, compile_test, dependencies, plan_query
from .relations import Dependency, Kind, Tables

MAX_PARTS = 20_000
"""Maximum number of parts of a compiled text. ALFWorld's have about 20."""
MAX_LITERAL_CHARACTERS = 20_000
"""Maximum total length of the literals of a text, counting repetitions. ALFWorld's have a few hundred characters."""
MAX_RENDERED_CHARACTERS = 1_000_000
"""Maximum length of a rendered text or part of it."""
MAX_DEPTH = 30
"""Maximum depth of rule calls."""

LIST_RULES = ("list_empty", "list_separator", "list_last_separator")
"""Rules for the text of an empty list, the separator of items and the last separator."""

Render = Callable[[Tables, State, Bindings], str]


@dataclass(frozen=True)
class Name:
    """The name of the entity in a slot."""

    kind: Kind
    slot: int


Part = str | Name | Render


@dataclass(frozen=True)
class Text:
    """One compiled text."""

    renderer: Render
    """Function that renders the text."""
    scratch: tuple[int, ...]
    """Zeros for the slots that queries fill and for the fact counter at the end of the `Bindings`."""
    parts: tuple[str | Name, ...]
    """Literals and names of the text; empty if it has other parts."""
    depends_on: Dependency
    """Part of the state that the text depends on, used as the cache key of answers."""

    def render(self, tables: Tables, state: State, *bound: int) -> str:
        """Render the text. `bound` holds the entities of the first slots."""
        return self.renderer(tables, state, [*bound, *self.scratch])


class Compiler:
    """Compiles the texts of one grammar."""

    def __init__(self, grammar: Grammar, where: str) -> None:
        self.grammar, self.where = grammar, where
        self._parts = 0
        self._literal_length = 0
        self._slots = 0
        self._dependencies: set[Dependency] = set()
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
        """Compile one text.

        Args:
            text: The right-hand side.
            names: Names and kinds of the bound placeholders, in the order of their slots.
            what: Description of the text for error messages.
            receptacle: Slot of the receptacle whose contents a cached text may show.
            hidden: Names of placeholders that the text may not mention.

        Returns:
            The compiled text.

        Raises:
            UsageError: If a rule is missing, a placeholder is unknown, a query is unsupported or a limit is exceeded.
        """
        self._parts, self._literal_length, self._slots, self._dependencies = 0, 0, len(names), {"nothing"}
        self._receptacle, self._hidden = receptacle, hidden
        parts = _merge_literals(self._compile_text(text, Scope.of(names), f"{self.where}, {what}", ()))
        simple = tuple(part for part in parts if isinstance(part, str | Name))
        scratch = (0,) * (self._slots - len(names) + 1)
        simple = simple if len(simple) == len(parts) else ()
        return Text(_renderer(parts), scratch, simple, _combined(self._dependencies))

    def _compile_text(self, text: str, scope: Scope, where: str, calls: tuple[str, ...]) -> list[Part]:
        return [part for symbol in read_text(text, where) for part in self._compile_symbol(symbol, scope, where, calls)]

    def _compile_symbol(self, symbol: Symbol, scope: Scope, where: str, calls: tuple[str, ...]) -> list[Part]:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise UsageError(f"{where}: the text has too many parts; expected at most {MAX_PARTS:,}")
        if isinstance(symbol, str):
            self._literal_length += len(symbol)
            if self._literal_length > MAX_LITERAL_CHARACTERS:
                raise UsageError(
                    f"{where}: the literals are too long; expected at most {MAX_LITERAL_CHARACTERS:,} characters"
                )
            return [symbol]
        if isinstance(symbol, RuleCall):
            return self._compile_rule(symbol.rule, scope, calls)
        return self._compile_each(symbol, scope, where, calls)

    def _compile_rule(self, name: str, scope: Scope, calls: tuple[str, ...]) -> list[Part]:
        where = f"{self.where}, rule {name!r}"
        if name not in self.grammar.rules:
            raise UsageError(f"{self.where}: {unknown('rule', name, self.grammar.rules)}")
        if name in calls or len(calls) >= MAX_DEPTH:
            raise UsageError(f"{where}: it calls itself or is nested too deeply ({' -> '.join((*calls, name))[:200]})")
        calls = (*calls, name)
        cases: list[tuple[QueryTest | None, Render]] = []
        for rule in self.grammar.rules[name]:
            if not rule.condition:
                parts = self._compile_text(rule.text, scope, where, calls)
                if not cases:
                    return parts
                cases.append((None, _renderer(parts)))
                break
            lookups, _ = self._plan_query(read_query(rule.condition, where), scope, where)
            cases.append((compile_test(lookups), _renderer(self._compile_text(rule.text, scope, where, calls))))

        def render(t: Tables, s: State, bindings: Bindings) -> str:
            for test, render_case in cases:
                if test is None or test(t, s, bindings):
                    return render_case(t, s, bindings)
            return ""

        return [render]

    def _plan_query(self, query: Query, scope: Scope, where: str) -> tuple[tuple[Lookup, ...], Scope]:
        lookups, inner = plan_query(query, scope, self._hidden, where)
        self._dependencies |= dependencies(lookups, self._receptacle)
        self._slots = max(self._slots, len(inner.slots))
        return lookups, inner

    def _compile_each(self, each: ForEach, scope: Scope, where: str, calls: tuple[str, ...]) -> list[Part]:
        lookups, inner = self._plan_query(each.query, scope, where) if each.query is not None else ((), scope)
        if isinstance(each.body, RuleCall):
            body = self._compile_rule(each.body.rule, inner, calls)
        else:
            body = self._compile_value(each.body, inner, where)
        if not lookups:
            return body
        render_matches = _match_renderer(lookups, body)
        if not each.listed:
            return [lambda t, s, bindings: "".join(render_matches(t, s, bindings))]
        parts = [_merge_literals(self._compile_rule(name, scope, calls)) for name in LIST_RULES]
        if all(isinstance(part, str) for rule in parts for part in rule):
            return [_list_renderer(render_matches, *["".join(map(str, rule)) for rule in parts])]
        none, comma, last = map(_renderer, parts)

        def render_list(t: Tables, s: State, bindings: Bindings) -> str:
            items = render_matches(t, s, bindings)
            if len(items) < 2:
                return items[0] if items else none(t, s, bindings)
            return _join_list(items, comma(t, s, bindings), last(t, s, bindings))

        return [render_list]

    def _compile_value(self, value: Value, scope: Scope, where: str) -> list[Part]:
        choices = [[self._compile_word(word, scope, where) for word in words] for words in value.choices]
        # A name is never empty, so no choice after it is ever rendered.
        rendered = (choice for choice in choices if any(isinstance(part, Name) or part for part in choice))
        return next(rendered, choices[-1])

    def _compile_word(self, word: Word, scope: Scope, where: str) -> Part:
        if not word.name:
            return word.field
        if word.name not in scope.variables or word.name in self._hidden:
            raise UsageError(f"{where}: {unknown('placeholder', word.name, scope.variables.keys() - self._hidden)}")
        slot = scope.variables[word.name]
        kind = scope.slots[slot]
        if word.field in ("", "name"):
            return Name(kind, slot)
        if word.field == "id":
            return lambda t, s, bindings: t.ids[kind][bindings[slot]]
        if word.field in ("indefinite", "definite"):
            return "a" if word.field == "indefinite" else "the"
        if word.field == "type":
            return kind
        raise UsageError(f"{where}: {unknown('field', word.field, ('name', 'id', 'indefinite', 'definite', 'type'))}")


def _list_renderer(
    render_matches: Callable[[Tables, State, Bindings], list[str]], none: str, comma: str, last: str
) -> Render:
    """Return a renderer for a list with constant separators."""

    def render_list(t: Tables, s: State, bindings: Bindings) -> str:
        items = render_matches(t, s, bindings)
        if len(items) < 2:
            return items[0] if items else none
        return _join_list(items, comma, last)

    return render_list


def _join_list(items: Sequence[str], comma: str, last: str) -> str:
    _check_length(len(comma) * len(items))
    return comma.join(items[:-1]) + last + items[-1]


def _check_length(length: int) -> None:
    """Raise `UsageError` for texts so long that a malicious game file could fill the memory."""
    if length > MAX_RENDERED_CHARACTERS:
        raise UsageError(f"a text of the grammar is too long; expected at most {MAX_RENDERED_CHARACTERS:,} characters")


def _combined(found: set[Dependency]) -> Dependency:
    """Return the dependency that covers all in `found`."""
    if "all" in found or ("view" in found and found & {"opened", "inside"}):
        return "all"
    order: tuple[Dependency, ...] = ("view", "inside", "opened", "nothing")
    return next(dependency for dependency in order if dependency in found)


def _match_renderer(lookups: Sequence[Lookup], body: Sequence[Part]) -> Callable[[Tables, State, Bindings], list[str]]:
    """Return a function that renders `body` for each match of a query."""
    merged = _merge_literals(body)
    short = not isinstance(merged[0], str) or len(merged[0]) < 100
    if len(lookups) == 1 and len(merged) <= 2 and isinstance(merged[-1], Name) and short:
        lookup, name = lookups[0], merged[-1]
        before = merged[0] if len(merged) == 2 else ""
        free = [index for index, bound in enumerate(lookup.bound) if not bound]
        if (
            isinstance(before, str)
            and len(free) == 1
            and lookup.slots[free[0]] == name.slot
            and not lookup.must_differ[free[0]]
        ):
            return _name_renderer(lookup, free[0], before, name.kind)
    matches, render_body = compile_matcher(lookups), _renderer(body)

    def render_matches(t: Tables, s: State, bindings: Bindings) -> list[str]:
        rendered, length = [], 0
        for _ in matches(t, s, bindings):
            rendered.append(render_body(t, s, bindings))
            length += len(rendered[-1])
            _check_length(length)
        return rendered

    return render_matches


def _name_renderer(
    lookup: Lookup, index: int, before: str, kind: Kind
) -> Callable[[Tables, State, Bindings], list[str]]:
    """Return a fast renderer for the most frequent case: an optional literal and a name for each fact."""
    rows = lookup.relation.rows
    arguments = tuple(zip(lookup.slots, lookup.bound, strict=True))

    def render_matches(t: Tables, s: State, bindings: Bindings) -> list[str]:
        names = t.names[kind]
        values = [bindings[slot] if bound else None for slot, bound in arguments]
        return [before + names[row[index]] for row in rows(t, s, *values)]

    return render_matches


def _merge_literals(parts: Sequence[Part]) -> list[Part]:
    """Return the parts with adjacent literals joined."""
    merged: list[Part] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)
    return merged or [""]


def _renderer(parts: Sequence[Part]) -> Render:
    """Return one function that renders all parts."""
    merged = _merge_literals(parts)
    if len(merged) == 1:
        return _part_renderer(merged[0])
    if sum(isinstance(part, Name) for part in merged) <= 2 and all(isinstance(part, str | Name) for part in merged):
        return _named_renderer(merged)
    functions = [_part_renderer(part) for part in merged]

    def render(t: Tables, s: State, bindings: Bindings) -> str:
        rendered, length = [], 0
        for function in functions:
            rendered.append(function(t, s, bindings))
            length += len(rendered[-1])
            _check_length(length)
        return "".join(rendered)

    return render


def _part_renderer(part: Part) -> Render:
    if isinstance(part, str):
        return lambda t, s, bindings: part
    if isinstance(part, Name):
        kind, slot = part.kind, part.slot
        return lambda t, s, bindings: t.names[kind][bindings[slot]]
    return part


def _named_renderer(merged: Sequence[Part]) -> Render:
    """Return a fast renderer for literals around one or two names, the form of most commands and answers."""
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
        return lambda t, s, bindings: before + t.names[kind][bindings[slot]] + between
    kind2, slot2 = names[1].kind, names[1].slot
    return lambda t, s, bindings: (
        before + t.names[kind][bindings[slot]] + between + t.names[kind2][bindings[slot2]] + after
    )
