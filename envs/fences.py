"""Finds the code in an answer: the content of the first Markdown fence, by the rules of CommonMark, or all of it."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Sequence

_OPENING = re.compile(r"([ \t]*)(?:(`{3,})([^`]*)|(~{3,})(.*))", re.DOTALL)
_AFTER_TEXT = re.compile(r"([ \t]*).*?(?<!\S)(?:(`{3,})|(~{3,}))[\w+-]*[ \t\r]*")
"""A line of text that ends with an opening fence, which CommonMark does not know."""
_INVISIBLE = "\ufeff\u200b\u2060\u00a0"
_LIST_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]")
_CODE_INDENT = 4
"""Columns of indentation from which CommonMark reads a line as text of a code block, unless it is in a list.

Counted from the text before the line, since a whole answer may be indented.
"""

_NOT_PYTHON = ("`", "$", "?")
"""Characters outside strings that no Python code has. Their token type depends on the version of Python."""


def extract_code(text: str) -> str:
    """Return the code in a text.

    A fence is a line of at least three backticks or tildes and an info string. It ends at a line of at least as many,
    indented no further than the opening line (or up to three columns further, if there is no such line), or at the end
    of the text. Its content is returned as it is, less the indentation of the opening line. A line inside a string of
    the code is no fence. If only the text before a fence ends with one, its content begins there. Without a fence, the
    whole text is the code: common indentation, empty lines around it and trailing spaces are removed.
    """
    lines = [line.lstrip(_INVISIBLE) if line.startswith(tuple(_INVISIBLE)) else line for line in text.split("\n")]
    margin: int | None = None  # The smallest indentation so far.
    in_list, in_strings = False, None
    for number, line in enumerate(lines):
        opening = _OPENING.fullmatch(line)
        if opening and (margin is None or in_list or _columns(opening[1]) - margin < _CODE_INDENT):
            if in_strings is None:
                in_strings = set() if margin is None else _lines_in_strings(text)
            if number not in in_strings:
                content = _content(lines[number + 1 :], opening)
                return content if content.strip() else _content_after_text(lines, number) or content
        if line.strip():
            indent = _columns(_indent(line))
            margin = indent if margin is None else min(margin, indent)
            in_list = in_list or bool(_LIST_ITEM.match(line))
    return _without_margin(lines) if text.startswith("\n") else text.strip("\n").rstrip()


def _lines_in_strings(text: str) -> set[int]:
    """Return the indices of the lines that begin inside a string, or none if the text is not Python code."""
    found, starts = set[int](), list[int]()
    try:
        ast.parse(text)
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            kind, first, last = tokenize.tok_name[token.type], token.start[0] - 1, token.end[0] - 1
            if kind == "ERRORTOKEN" or token.string in _NOT_PYTHON:
                return set()
            if kind.endswith("STRING_START"):  # An f-string is several tokens from Python 3.12 on.
                starts.append(first)
            elif kind.endswith("STRING_END"):
                found.update(range(starts.pop() + 1, last + 1))
            elif kind == "STRING":
                found.update(range(first + 1, last + 1))
    except (tokenize.TokenError, SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    return found


def opens_fence(line: str, after_text: bool = False) -> re.Match[str] | None:
    """Return the match if a line opens a fence: alone, or, if `after_text`, also behind other text."""
    return _OPENING.fullmatch(line) or (_AFTER_TEXT.fullmatch(line) if after_text else None)


def closing_line(lines: Sequence[str], opening: re.Match[str]) -> int | None:
    """Return the index of the line that closes a fence, or None. `lines` are those after the opening line."""
    indent, fence = _columns(opening[1]), _fence(opening)
    closing = re.compile(rf"([ \t]*){re.escape(fence[0])}{{{len(fence)},}}[ \t\r]*")
    found = [(number, _columns(match[1])) for number, line in enumerate(lines) if (match := closing.fullmatch(line))]
    for allowed in (indent, indent + _CODE_INDENT - 1):
        for number, columns in found:
            if columns <= allowed:
                return number
    return None


def _fence(opening: re.Match[str]) -> str:
    return next(part for part in opening.groups()[1:] if part and part[0] in "`~")


def _content_after_text(lines: Sequence[str], end: int) -> str:
    """Return what stands between a line of text that ends with a fence and the line `end`; empty if there is none."""
    for number, line in enumerate(lines[:end]):
        opening = _AFTER_TEXT.fullmatch(line)
        if opening:
            return _content(lines[number + 1 : end + 1], opening)
    return ""


def _content(lines: Sequence[str], opening: re.Match[str]) -> str:
    indent, fence, end = _columns(opening[1]), _fence(opening), closing_line(lines, opening)
    content = "\n".join(_unindented(line, indent) for line in lines[:end])
    stripped = content.rstrip()
    bare = stripped.rstrip(fence[0])
    if end is None and len(stripped) - len(bare) >= len(fence):
        content = bare  # A model may forget the last line break. A fence in the middle of a line is otherwise none.
    return content.removesuffix("\r") if opening[0].endswith("\r") else content


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _columns(indent: str) -> int:
    return len(indent.expandtabs(4))


def _unindented(line: str, columns: int) -> str:
    """Remove up to this many columns of indentation."""
    at = 0
    while at < len(line) and line[at] in " \t" and _columns(line[: at + 1]) <= columns:
        at += 1
    return line[at:]


def _without_margin(lines: Sequence[str]) -> str:
    indents = [_indent(line) for line in lines if line.strip()]
    first, last = min(indents, default=""), max(indents, default="")
    margin = next((first[:at] for at, char in enumerate(first) if char != last[at]), first)
    return "\n".join(line.removeprefix(margin) for line in lines).strip("\n").rstrip()
