"""Parsers for TextWorld's grammar files (`.twl2`): rules, commands and answers.

A right-hand side is literal text with `#rule#`, `{expression}`, `{expression | query}` and, for a list with commas,
`[{expression | query}]`. An expression consists of `x`, `x.name`, `'text'`, `+` and `or`. A query consists of
`predicate(x:type, …)` joined by `&`. Nothing else is supported, and nothing is evaluated as Python.

TextWorld's parser stops at the first character that it cannot read and drops the rest of the text. These parsers do the
same, because agents see the result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ....errors import UsageError
from ...reading import parse_json

MAX_CHARACTERS = 1_000_000
"""Maximum length of a grammar. ALFWorld's has about 12,000 characters."""
MAX_PREDICATES = 50
"""Maximum number of predicates in a query. ALFWorld's have at most four."""

_BLANK = re.compile(r"(?:\s|#[^\n]*(?:\n|$))*")
_NAME = re.compile(r"[\w/-]+")
_STRING = re.compile(r'"[^"]*"')
_BLOCK = re.compile(r'"""(?:.|\n)*?"""')

# TextWorld's tokens of a right-hand side.
_LINE_START = re.compile(r"(?://[^\n]*|\s*)\n?")
_TABS = re.compile(r"\t+")
_TAG = re.compile(r"[\w()/!<>\-\s,.]+")
_STATEMENT = re.compile(r"[^|\[\]{}\n<>]+")
_QUERY_MARK = re.compile(r"\s*\|\s*")
_QUERY = re.compile(r"[^;|{}\n\[\]#]+")
_LITERAL = re.compile(r'[^;|"<>\[\]#{}]*')

_WORD = re.compile(r"\s*(?:(\w+)\s*\.\s*(\w+)|'([^'\\]*)'|\"([^\"\\]*)\"|(\w+))\s*")
_PREDICATE = re.compile(r"\s*(!?)([\w/]+)\s*\(([^()]*)\)\s*")
_PLACEHOLDER = re.compile(r"\s*([\w']+)\s*(?::\s*([\w/-]+)\s*)?")


@dataclass(frozen=True)
class RuleCall:
    """`#rule#`: the text of the rule."""

    rule: str
    """Name of the rule."""


@dataclass(frozen=True)
class Word:
    """A variable or a literal in an expression."""

    name: str
    """Name of the variable; empty for a literal."""
    field: str
    """Field of the variable; empty if none is given, which means the name. For a literal, its text."""


@dataclass(frozen=True)
class Value:
    """An expression: the first choice whose text is not empty."""

    choices: tuple[tuple[Word, ...], ...]
    """Alternatives joined by `or`. The texts of the words of one choice are concatenated."""


@dataclass(frozen=True)
class Atom:
    """`predicate(x:type, …)` in a query."""

    predicate: str
    """Name of the predicate. A negated one starts with `not_`."""
    arguments: tuple[tuple[str, str], ...]
    """Placeholders and their types."""


Query = tuple[Atom, ...]


@dataclass(frozen=True)
class ForEach:
    """`{body | query}`: the body once for each match of the query."""

    body: RuleCall | Value
    """Rule or expression to render."""
    query: Query | None
    """Query that binds the placeholders of the body. If None, the body is rendered once."""
    listed: bool
    """Whether the results are joined as a list with commas, `[…]`."""


Symbol = str | RuleCall | ForEach


@dataclass(frozen=True)
class Rule:
    """One alternative of a rule."""

    text: str
    """The right-hand side."""
    condition: str
    """Query that must have a match; empty if the alternative always applies."""


@dataclass(frozen=True)
class ActionText:
    """The two texts of an action. Both are right-hand sides."""

    template: str
    """The command."""
    feedback: str
    """The answer."""


@dataclass(frozen=True)
class Grammar:
    """The content of a grammar file."""

    rules: Mapping[str, tuple[Rule, ...]]
    """For each rule name, its alternatives. The first one that applies is used."""
    actions: Mapping[str, ActionText]
    """Texts by action name in lower case."""


def read_grammar(text: str, where: str) -> Grammar:
    """Parse a grammar file.

    Args:
        text: Content of the file.
        where: Name of the file in error messages.

    Returns:
        The grammar. Its right-hand sides are not parsed yet.

    Raises:
        UsageError: If TextWorld would not accept the file. The message starts with `where`.
    """
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"{where}: it has {len(text):,} characters; expected at most {MAX_CHARACTERS:,}")
    return _Reader(text, where).grammar()


class _Reader:
    """Recursive-descent parser of `.twl2`."""

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where, self.position = text, where, 0
        self.rules: dict[str, tuple[Rule, ...]] = {}
        self.actions: dict[str, ActionText] = {}

    def grammar(self) -> Grammar:
        self._skip_blanks()
        while self.position < len(self.text):
            if self._accept("grammar"):
                self._add_rules(self._assignment(_BLOCK)[3:-3])
            elif self._accept("action"):
                self._action()
            else:
                raise self._error("'grammar' or 'action'")
        return Grammar(self.rules, self.actions)

    def _action(self) -> None:
        name = self._match(_NAME, "the name of an action")
        self._expect("{")
        found: dict[str, str] = {}
        while not self._accept("}"):
            for part in ("template", "feedback", "pddl", "grammar"):
                if self._accept(part):
                    found[part] = self._assignment(_STRING if part in ("template", "feedback") else _BLOCK)
                    break
            else:
                raise self._error("'template', 'feedback', 'grammar' or '}'")
        for part in ("template", "feedback"):
            if part not in found:
                raise UsageError(f"{self.where}: action {name} has no {part}; add it")
        self.actions[name.lower()] = ActionText(found["template"][1:-1], found["feedback"][1:-1])
        if "grammar" in found:
            lines = found["grammar"][3:-3].split("\n")
            self._add_rules("\n".join(line for line in lines if not line.lstrip().startswith("#")))

    def _add_rules(self, text: str) -> None:
        line = self.text.count("\n", 0, self.position) + 1
        try:
            rules = parse_json(text)
        except ValueError as error:
            raise UsageError(f"{self.where}: the rules that end in line {line} are not valid JSON ({error})") from None
        if not isinstance(rules, dict):
            raise UsageError(f"{self.where}: the rules that end in line {line} are not a JSON object")
        for name, alternatives in rules.items():
            self.rules[name] = _rules(name, alternatives, self.where)

    def _assignment(self, pattern: re.Pattern[str]) -> str:
        self._expect("::")
        value = self._match(pattern, "a text in quotes" if pattern is _STRING else 'a text in """')
        self._expect(";")
        return value

    def _skip_blanks(self) -> None:
        match = _BLANK.match(self.text, self.position)
        self.position = match.end() if match else self.position

    def _accept(self, word: str) -> bool:
        if not self.text.startswith(word, self.position):
            return False
        self.position += len(word)
        self._skip_blanks()
        return True

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            raise self._error(repr(word))

    def _match(self, pattern: re.Pattern[str], what: str) -> str:
        match = pattern.match(self.text, self.position)
        if match is None:
            raise self._error(what)
        self.position = match.end()
        self._skip_blanks()
        return match[0]

    def _error(self, expected: str) -> UsageError:
        line = self.text.count("\n", 0, self.position) + 1
        found = self.text[self.position : self.position + 30]
        return UsageError(f"{self.where}, line {line}: found {found!r}; expected {expected}")


def _rules(name: str, alternatives: Any, where: str) -> tuple[Rule, ...]:
    if not isinstance(alternatives, list) or not alternatives:
        raise UsageError(f"{where}: rule {name!r} is not a list of alternatives, or is empty")
    found = []
    for alternative in alternatives:
        text = alternative.get("rhs") if isinstance(alternative, dict) else None
        condition = alternative.get("condition", "") if isinstance(alternative, dict) else None
        if not isinstance(text, str) or not isinstance(condition, str):
            raise UsageError(f"{where}: rule {name!r} has an alternative without a text 'rhs': {str(alternative)[:80]}")
        if not text.isprintable() and any("\ud800" <= sign <= "\udfff" for sign in text):
            raise UsageError(
                f"{where}: rule {name!r} has lone surrogates, which are not valid text: {ascii(text)[:80]}"
            )
        found.append(Rule(text, condition))
    return tuple(found)


def read_text(text: str, where: str) -> tuple[Symbol, ...]:
    """Parse a right-hand side, up to the first character that TextWorld cannot read.

    Args:
        text: The right-hand side.
        where: Name of the text in error messages.

    Returns:
        Literals, rule calls and `ForEach` symbols.

    Raises:
        UsageError: If an expression or a query has an unsupported form.
    """
    found: list[Symbol] = []
    position = _skip_dropped(text, 0)
    while position < len(text):
        read = _parse_for_each(text, position, where) or _parse_call(text, position) or _parse_literal(text, position)
        if read is None:
            break
        symbol, end = read
        found.append(symbol)
        position = _skip_dropped(text, end)
    return tuple(found)


def _skip_dropped(text: str, position: int) -> int:
    """Skip what TextWorld drops between symbols: tabs and, at line starts, white space and `//` comments."""
    before = -1
    while position != before:
        before = position
        if position == 0 or text[position - 1] == "\n":
            position = _match_end(_LINE_START, text, position)
        position = _match_end(_TABS, text, position)
    return position


def _match_end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _token_end(text: str, position: int, token: str) -> int:
    """Return the position after `token`, or -1 if the text does not continue with it."""
    position = _skip_dropped(text, position)
    return position + len(token) if text.startswith(token, position) else -1


def _parse_for_each(text: str, position: int, where: str) -> tuple[Symbol, int] | None:
    listed = text.startswith("[", position)
    position = _token_end(text, position + 1 if listed else position, "{")
    if position < 0:
        return None
    body: RuleCall | Value
    called = _parse_call(text, _skip_dropped(text, position))
    if called is not None:
        body, position = called
        statement = None
    else:
        match = _STATEMENT.match(text, position)
        if match is None:
            return None
        statement, position = match[0], match.end()
    query_text = None
    mark = _QUERY_MARK.match(text, position)
    if mark:
        match = _QUERY.match(text, mark.end())
        if match:
            query_text, position = match[0], match.end()
    position = _token_end(text, position, "}")
    if position >= 0 and listed:
        position = _token_end(text, position, "]")
    if position < 0:
        return None
    if statement is not None:
        body = read_expression(statement, where)
    return ForEach(body, read_query(query_text, where) if query_text else None, listed), position


def _parse_call(text: str, position: int) -> tuple[RuleCall, int] | None:
    if not text.startswith("#", position):
        return None
    match = _TAG.match(text, _skip_dropped(text, position + 1))
    end = _token_end(text, match.end(), "#") if match else -1
    return (RuleCall(match[0]), end) if match and end >= 0 else None


def _parse_literal(text: str, position: int) -> tuple[Symbol, int] | None:
    if text.startswith('"', position):
        match = _LITERAL.match(text, position + 1)
        end = _token_end(text, match.end(), '"') if match else -1
        return (match[0], end) if match and end >= 0 else None
    match = _LITERAL.match(text, position)
    return (match[0], match.end()) if match and match[0] else None


def read_expression(text: str, where: str) -> Value:
    """Parse an expression such as `x.name + ' ' + x.id` or `x.name or x.id`. Raises `UsageError` for other forms."""
    choices: list[tuple[Word, ...]] = []
    words: list[Word] = []
    position = 0
    while match := _WORD.match(text, position):
        variable, field, single, double, alone = match.groups()
        if variable or alone:
            words.append(Word(variable or alone, field or ""))
        else:
            words.append(Word("", single if single is not None else double))
        position = match.end()
        if text.startswith("+", position):
            position += 1
        elif re.match(r"or\b", text[position:]):
            choices.append(tuple(words))
            words = []
            position += 2
        elif position == len(text):
            return Value((*choices, tuple(words)))
        else:
            break
    raise UsageError(
        f"{where}: cannot read the expression {text.strip()[:80]!r}; expected only x.name, 'text', + and or"
    )


def read_query(text: str, where: str) -> Query:
    """Parse a conjunction of `predicate(x:type, …)`. Raises `UsageError` if the query has another form."""
    atoms: list[Atom] = []
    position = 0
    while match := _PREDICATE.match(text, position):
        negated, name, inner = match.groups()
        atoms.append(Atom(("not_" if negated else "") + name, _placeholders(inner, text, where)))
        position = match.end()
        if len(atoms) > MAX_PREDICATES:
            raise UsageError(
                f"{where}: the query {text.strip()[:80]!r} has too many predicates; expected at most {MAX_PREDICATES}"
            )
        if position == len(text):
            return tuple(atoms)
        if text[position] != "&":
            break
        position += 1
    raise UsageError(f"{where}: cannot read the query {text.strip()[:80]!r}; expected predicate(x:type, …) & …")


def _placeholders(inner: str, text: str, where: str) -> tuple[tuple[str, str], ...]:
    found = []
    for part in inner.split(",") if inner.strip() else []:
        match = _PLACEHOLDER.fullmatch(part)
        if match is None:
            raise UsageError(f"{where}: cannot read {part.strip()[:40]!r} in the query {text.strip()[:80]!r}")
        found.append((match[1], match[2] or match[1].rstrip("'")))
    return tuple(found)
