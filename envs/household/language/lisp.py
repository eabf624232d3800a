"""S-expressions, as PDDL is written in: read with line numbers and within bounds, never evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from ....errors import UsageError

MOST_CHARACTERS = 8_000_000
"""A text may have so many; ALFWorld's problems have about 100,000."""
DEEPEST = 64
"""Forms may be nested so deep; ALFWorld's goals are 8 deep."""
_TOKEN = re.compile(r"[()]|;[^\n]*|[^\s();]+")


@dataclass(frozen=True, slots=True)
class Form:
    """One pair of parentheses."""

    items: tuple[Expression, ...]
    """What is between them: words in lower case, and forms."""
    line: int
    """Where it begins, from 1."""

    @property
    def head(self) -> str:
        """The first word; empty when there is none."""
        first = self.items[0] if self.items else ""
        return first if isinstance(first, str) else ""

    @property
    def forms(self) -> tuple[Form, ...]:
        """The forms among the items."""
        return tuple(item for item in self.items if isinstance(item, Form))

    def words(self, where: str) -> tuple[str, ...]:
        """All items; raises `UsageError` when one is not a word."""
        words = tuple(item for item in self.items if isinstance(item, str))
        if len(words) != len(self.items):
            raise UsageError(f"{where}, line {self.line}: expected words only in {show(self)}")
        return words


Expression: TypeAlias = str | Form


def show(expression: Expression, most: int = 80) -> str:
    """The expression as a short text, for messages."""
    text = _text(expression)
    return text if len(text) <= most else text[:most] + "…"


def _text(expression: Expression) -> str:
    if isinstance(expression, str):
        return expression
    return "(" + " ".join(map(_text, expression.items)) + ")"


def read_form(text: str, where: str) -> Form:
    """The one form that `text` consists of, in lower case, as Fast Downward reads it.

    Raises `UsageError` that begins with `where` and names the line.
    """
    if len(text) > MOST_CHARACTERS:
        raise UsageError(f"{where}: it has {len(text):,} characters; at most {MOST_CHARACTERS:,} are read")
    stack: list[tuple[list[Expression], int]] = [([], 0)]
    line = 1
    for token, line in _tokens(text):
        if token == "(":
            if len(stack) > DEEPEST:
                raise UsageError(f"{where}, line {line}: more than {DEEPEST} parentheses are open")
            stack.append(([], line))
        elif token == ")":
            if len(stack) == 1:
                raise UsageError(f"{where}, line {line}: a parenthesis closes that none opened")
            items, begun = stack.pop()
            stack[-1][0].append(Form(tuple(items), begun))
        else:
            stack[-1][0].append(token)
    if len(stack) > 1:
        raise UsageError(f"{where}, line {line}: it ends in the middle of what began in line {stack[-1][1]}")
    whole = stack[0][0]
    if len(whole) != 1 or not isinstance(whole[0], Form):
        raise UsageError(f"{where}: expected one form (define ...), found {len(whole)}")
    return whole[0]


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    for number, line in enumerate(text.lower().split("\n"), start=1):
        for token in _TOKEN.findall(line):
            if token[0] != ";":
                yield token, number


def typed(words: tuple[str, ...], default: str = "object") -> list[tuple[str, str]]:
    """PDDL's `a b - kind c`: every name with its type."""
    pairs: list[tuple[str, str]] = []
    waiting: list[str] = []
    left = iter(words)
    for word in left:
        if word == "-":
            kind = next(left, default)
            pairs += [(name, kind) for name in waiting]
            waiting = []
        else:
            waiting.append(word)
    return pairs + [(name, default) for name in waiting]
