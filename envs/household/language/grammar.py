"""TextWorld's grammar files (`.twl2`): rules, commands and answers, read by parsers of our own.

A right-hand side is literal text with `#rule#`, `{expression}`, `{expression | query}` and, for a list with commas,
`[{expression | query}]`. An expression is made of `x`, `x.name`, `'text'`, `+` and `or`; a query of
`predicate(x:type, …)` joined by `&`. Nothing else is understood, and nothing is ever evaluated as Python.

TextWorld's parser stops at the first sign that it cannot read and drops the rest of the text; so does this one, for
players see the result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ....errors import UsageError

MOST_CHARACTERS = 1_000_000
"""A grammar may have so many; ALFWorld's has about 12,000."""
MOST_ATOMS = 50
"""A query may ask so much; ALFWorld's ask for at most four things."""

_BLANK = re.compile(r"(?:\s|#[^\n]*(?:\n|$))*")
_NAME = re.compile(r"[\w/-]+")
_STRING = re.compile(r'"[^"]*"')
_BLOCK = re.compile(r'"""(?:.|\n)*?"""')

# TextWorld's tokens of a right-hand side.
_LINE_START = re.compile(r"(?://[^\n]*|\s*)\n?")
_TABS = re.compile(r"\t+")
_TAG = re.compile(r"[\w()/!<>\-\s,.]+")
_STATEMENT = re.compile(r"[^|\[\]{}\n<>]+")
_GIVEN_MARK = re.compile(r"\s*\|\s*")
_GIVEN = re.compile(r"[^;|{}\n\[\]#]+")
_LITERAL = re.compile(r'[^;|"<>\[\]#{}]*')

_WORD = re.compile(r"\s*(?:(\w+)\s*\.\s*(\w+)|'([^'\\]*)'|\"([^\"\\]*)\"|(\w+))\s*")
_PREDICATE = re.compile(r"\s*(!?)([\w/]+)\s*\(([^()]*)\)\s*")
_PLACEHOLDER = re.compile(r"\s*([\w']+)\s*(?::\s*([\w/-]+)\s*)?")


@dataclass(frozen=True)
class Call:
    """`#rule#`: what the rule says."""

    rule: str
    """Its name."""


@dataclass(frozen=True)
class Word:
    """A part of an expression."""

    name: str
    """The variable; empty for a literal."""
    field: str
    """Which of its fields; empty for the variable itself, which is its name. Of a literal, the text."""


@dataclass(frozen=True)
class Value:
    """An expression: the first of `choices` that is not empty; each is what its words say, in a row."""

    choices: tuple[tuple[Word, ...], ...]


@dataclass(frozen=True)
class Atom:
    """`predicate(x:type, …)` in a query."""

    predicate: str
    arguments: tuple[tuple[str, str], ...]
    """Placeholders with their types."""


Query = tuple[Atom, ...]


@dataclass(frozen=True)
class Each:
    """`{body | query}`: the body for every match of the query, or once when there is none."""

    body: Call | Value
    query: Query | None
    listed: bool
    """Whether the results are joined as a list, `[…]`."""


Symbol = str | Call | Each


@dataclass(frozen=True)
class Rule:
    """One way to expand a name."""

    text: str
    """The right-hand side."""
    condition: str
    """A query; empty when the rule always applies."""


@dataclass(frozen=True)
class ActionText:
    """How an action is commanded and answered: two right-hand sides."""

    template: str
    feedback: str


@dataclass(frozen=True)
class Grammar:
    """A grammar file."""

    rules: Mapping[str, tuple[Rule, ...]]
    """For every name its rules; the first that applies counts."""
    actions: Mapping[str, ActionText]
    """By the action's name in lower case."""


def read_grammar(text: str, where: str) -> Grammar:
    """The grammar that `text` is. Raises `UsageError`, which begins with `where`, for whatever TextWorld refuses."""
    if len(text) > MOST_CHARACTERS:
        raise UsageError(f"{where}: it has {len(text):,} characters; at most {MOST_CHARACTERS:,} are read")
    return _Reader(text, where).grammar()


class _Reader:
    """Reads `.twl2` from the top down."""

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where, self.at = text, where, 0
        self.rules: dict[str, tuple[Rule, ...]] = {}
        self.actions: dict[str, ActionText] = {}

    def grammar(self) -> Grammar:
        self._blanks()
        while self.at < len(self.text):
            if self._word("grammar"):
                self._add_rules(self._assigned(_BLOCK)[3:-3])
            elif self._word("action"):
                self._action()
            else:
                raise self._wrong("'grammar' or 'action'")
        return Grammar(self.rules, self.actions)

    def _action(self) -> None:
        name = self._match(_NAME, "the name of an action")
        self._take("{")
        found: dict[str, str] = {}
        while not self._word("}"):
            for part in ("template", "feedback", "pddl", "grammar"):
                if self._word(part):
                    found[part] = self._assigned(_STRING if part in ("template", "feedback") else _BLOCK)
                    break
            else:
                raise self._wrong("'template', 'feedback', 'grammar' or '}'")
        for part in ("template", "feedback"):
            if part not in found:
                raise UsageError(f"{self.where}: the action {name} has no {part}")
        self.actions[name.lower()] = ActionText(found["template"][1:-1], found["feedback"][1:-1])
        if "grammar" in found:
            lines = found["grammar"][3:-3].split("\n")
            self._add_rules("\n".join(line for line in lines if not line.lstrip().startswith("#")))

    def _add_rules(self, text: str) -> None:
        line = self.text.count("\n", 0, self.at) + 1
        try:
            rules = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{self.where}: the rules that end in line {line} are not JSON ({error})") from None
        if not isinstance(rules, dict):
            raise UsageError(f"{self.where}: the rules that end in line {line} are no JSON object")
        for name, alternatives in rules.items():
            self.rules[name] = _rules(name, alternatives, self.where)

    def _assigned(self, pattern: re.Pattern[str]) -> str:
        self._take("::")
        value = self._match(pattern, "a text in quotes" if pattern is _STRING else 'a text in """')
        self._take(";")
        return value

    def _blanks(self) -> None:
        match = _BLANK.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def _word(self, word: str) -> bool:
        if not self.text.startswith(word, self.at):
            return False
        self.at += len(word)
        self._blanks()
        return True

    def _take(self, word: str) -> None:
        if not self._word(word):
            raise self._wrong(repr(word))

    def _match(self, pattern: re.Pattern[str], what: str) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise self._wrong(what)
        self.at = match.end()
        self._blanks()
        return match[0]

    def _wrong(self, expected: str) -> UsageError:
        line = self.text.count("\n", 0, self.at) + 1
        found = self.text[self.at : self.at + 30]
        return UsageError(f"{self.where}, line {line}: expected {expected}, found {found!r}")


def _rules(name: str, alternatives: Any, where: str) -> tuple[Rule, ...]:
    if not isinstance(alternatives, list) or not alternatives:
        raise UsageError(f"{where}: rule {name!r} is no list of alternatives")
    found = []
    for alternative in alternatives:
        text = alternative.get("rhs") if isinstance(alternative, dict) else None
        condition = alternative.get("condition", "") if isinstance(alternative, dict) else None
        if not isinstance(text, str) or not isinstance(condition, str):
            raise UsageError(f"{where}: rule {name!r} has an alternative without a text 'rhs': {str(alternative)[:80]}")
        if not text.isprintable() and any("\ud800" <= sign <= "\udfff" for sign in text):
            raise UsageError(f"{where}: rule {name!r} says what is no text: {ascii(text)[:80]}")
        found.append(Rule(text, condition))
    return tuple(found)


def read_text(text: str, where: str) -> tuple[Symbol, ...]:
    """The symbols of a right-hand side, up to the first sign that TextWorld cannot read.

    Raises `UsageError` for an expression or a query in it that is not of the known forms.
    """
    found: list[Symbol] = []
    at = _skip(text, 0)
    while at < len(text):
        read = _each(text, at, where) or _call(text, at) or _literal(text, at)
        if read is None:
            break
        symbol, end = read
        found.append(symbol)
        at = _skip(text, end)
    return tuple(found)


def _skip(text: str, at: int) -> int:
    """Past what TextWorld drops between symbols: tabs and, where a line begins, blanks and `//` with what follows."""
    before = -1
    while at != before:
        before = at
        if at == 0 or text[at - 1] == "\n":
            at = _end(_LINE_START, text, at)
        at = _end(_TABS, text, at)
    return at


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _token(text: str, at: int, token: str) -> int:
    """Where `token` ends; -1 when it is not there."""
    at = _skip(text, at)
    return at + len(token) if text.startswith(token, at) else -1


def _each(text: str, at: int, where: str) -> tuple[Symbol, int] | None:
    listed = text.startswith("[", at)
    at = _token(text, at + 1 if listed else at, "{")
    if at < 0:
        return None
    body: Call | Value
    called = _call(text, _skip(text, at))
    if called is not None:
        body, at = called
        statement = None
    else:
        match = _STATEMENT.match(text, at)
        if match is None:
            return None
        statement, at = match[0], match.end()
    given = None
    mark = _GIVEN_MARK.match(text, at)
    if mark:
        match = _GIVEN.match(text, mark.end())
        if match:
            given, at = match[0], match.end()
    at = _token(text, at, "}")
    if at >= 0 and listed:
        at = _token(text, at, "]")
    if at < 0:
        return None
    if statement is not None:
        body = read_expression(statement, where)
    return Each(body, read_query(given, where) if given else None, listed), at


def _call(text: str, at: int) -> tuple[Call, int] | None:
    if not text.startswith("#", at):
        return None
    match = _TAG.match(text, _skip(text, at + 1))
    end = _token(text, match.end(), "#") if match else -1
    return (Call(match[0]), end) if match and end >= 0 else None


def _literal(text: str, at: int) -> tuple[Symbol, int] | None:
    if text.startswith('"', at):
        match = _LITERAL.match(text, at + 1)
        end = _token(text, match.end(), '"') if match else -1
        return (match[0], end) if match and end >= 0 else None
    match = _LITERAL.match(text, at)
    return (match[0], match.end()) if match and match[0] else None


def read_expression(text: str, where: str) -> Value:
    """`x.name`, `x.indefinite + ' ' + x.name`, `x.name or x.id` and the like; `UsageError` for anything else."""
    choices: list[tuple[Word, ...]] = []
    words: list[Word] = []
    at = 0
    while match := _WORD.match(text, at):
        variable, field, single, double, alone = match.groups()
        if variable or alone:
            words.append(Word(variable or alone, field or ""))
        else:
            words.append(Word("", single if single is not None else double))
        at = match.end()
        if text.startswith("+", at):
            at += 1
        elif re.match(r"or\b", text[at:]):
            choices.append(tuple(words))
            words = []
            at += 2
        elif at == len(text):
            return Value((*choices, tuple(words)))
        else:
            break
    raise UsageError(
        f"{where}: cannot read the expression {text.strip()[:80]!r}; known are x.name, 'text', + and or, nothing else"
    )


def read_query(text: str, where: str) -> Query:
    """A conjunction of `predicate(x:type, …)`; raises `UsageError` for anything else."""
    atoms: list[Atom] = []
    at = 0
    while match := _PREDICATE.match(text, at):
        negated, name, inner = match.groups()
        atoms.append(Atom(("not_" if negated else "") + name, _placeholders(inner, text, where)))
        at = match.end()
        if len(atoms) > MOST_ATOMS:
            raise UsageError(f"{where}: a query has more than {MOST_ATOMS} predicates: {text.strip()[:80]!r}")
        if at == len(text):
            return tuple(atoms)
        if text[at] != "&":
            break
        at += 1
    raise UsageError(f"{where}: cannot read the query {text.strip()[:80]!r}; expected predicate(x:type, …) & …")


def _placeholders(inner: str, text: str, where: str) -> tuple[tuple[str, str], ...]:
    found = []
    for part in inner.split(",") if inner.strip() else []:
        match = _PLACEHOLDER.fullmatch(part)
        if match is None:
            raise UsageError(f"{where}: cannot read {part.strip()[:40]!r} in the query {text.strip()[:80]!r}")
        found.append((match[1], match[2] or match[1].rstrip("'")))
    return tuple(found)
