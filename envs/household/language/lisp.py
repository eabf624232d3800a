"""Parser of S-expressions, the syntax of PDDL. Keeps line numbers and limits length and depth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from ....errors import UsageError

MAX_CHARACTERS = 8_000_000
"""Maximum length of a text. ALFWorld's problems have about 100,000 characters."""
MAX_DEPTH = 64
"""Maximum nesting depth of forms. ALFWorld's goals have depth 8."""
_TOKEN = re.compile(r"[()]|;[^\n]*|[^\s();]+")


@dataclass(frozen=True, slots=True)
class Form:
    """A list in parentheses."""

    items: tuple[Expression, ...]
    """Its words (in lower case) and forms."""
    line: int
    """Line in which it starts, counted from 1."""

    @property
    def head(self) -> str:
        """The first item if it is a word, else an empty text."""
        first = self.items[0] if self.items else ""
        return first if isinstance(first, str) else ""

    @property
    def forms(self) -> tuple[Form, ...]:
        """The forms among the items."""
        return tuple(item for item in self.items if isinstance(item, Form))

    def words(self, where: str) -> tuple[str, ...]:
        """Return all items. Raises `UsageError` if one of them is not a word."""
        words = tuple(item for item in self.items if isinstance(item, str))
        if len(words) != len(self.items):
            raise UsageError(f"{where}, line {self.line}: {show(self)} contains a list; expected words only")
        return words


Expression: TypeAlias = str | Form


def show(expression: Expression, limit: int = 80) -> str:
    """Return the expression as text for messages, cut to about `limit` characters."""
    text = _text(expression)
    return text if len(text) <= limit else text[:limit] + "…"


def _text(expression: Expression) -> str:
    if isinstance(expression, str):
        return expression
    return "(" + " ".join(map(_text, expression.items)) + ")"


def read_form(text: str, where: str) -> Form:
    """Parse a text that consists of one form. All words are converted to lower case, as Fast Downward does.

    Args:
        text: The text.
        where: Name of the text in error messages.

    Returns:
        The form.

    Raises:
        UsageError: If the text is not a single form, or exceeds a limit. The message starts with `where`.
    """
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"{where}: it has {len(text):,} characters; expected at most {MAX_CHARACTERS:,}")
    stack: list[tuple[list[Expression], int]] = [([], 0)]
    line = 1
    for token, line in _tokens(text):
        if token == "(":
            if len(stack) > MAX_DEPTH:
                raise UsageError(
                    f"{where}, line {line}: the nesting is too deep; expected at most {MAX_DEPTH} open parentheses"
                )
            stack.append(([], line))
        elif token == ")":
            if len(stack) == 1:
                raise UsageError(f"{where}, line {line}: unmatched closing parenthesis")
            items, begun = stack.pop()
            stack[-1][0].append(Form(tuple(items), begun))
        else:
            stack[-1][0].append(token)
    if len(stack) > 1:
        raise UsageError(
            f"{where}, line {line}: the text ends; expected the parenthesis of line {stack[-1][1]} to close"
        )
    whole = stack[0][0]
    if len(whole) != 1 or not isinstance(whole[0], Form):
        raise UsageError(f"{where}: it has {len(whole)} top-level items; expected one form (define ...)")
    return whole[0]


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    for number, line in enumerate(text.lower().split("\n"), start=1):
        for token in _TOKEN.findall(line):
            if token[0] != ";":
                yield token, number


def typed_list(words: tuple[str, ...], default: str = "object") -> list[tuple[str, str]]:
    """Parse a typed list of PDDL, such as `a b - kind c`, into names and types."""
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
