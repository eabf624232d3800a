"""Parser for observations of the web environment: lines with roles, names, values and element numbers."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...envs.web.condense import LINE, QUOTED

_VALUE = re.compile(rf" value ({QUOTED})")
_OPTIONS = re.compile(rf" options ((?:{QUOTED})(?:, (?:{QUOTED}))*)")
FIELD_ROLES = ("textbox", "searchbox")


class PageMismatch(Exception):
    """The page lacks an element that a script expects."""


@dataclass(frozen=True)
class Line:
    """One line of an observation."""

    depth: int
    role: str
    name: str
    id: int | None = None
    """Number of an element that actions can use; None for other lines."""
    value: str = ""
    options: tuple[str, ...] = ()
    states: tuple[str, ...] = ()


class Page:
    """A parsed observation."""

    def __init__(self, observation: str) -> None:
        self.lines = [line for line in map(read_line, observation.split("\n")) if line is not None]

    def find(self, roles: str | Sequence[str], names: Iterable[str]) -> Line:
        """Return the first numbered element with one of the roles and one of the names, or raise `PageMismatch`."""
        wanted = set(names)
        for line in self.lines:
            if line.id is not None and line.role in _as_tuple(roles) and line.name in wanted:
                return line
        raise PageMismatch(f"{' or '.join(_as_tuple(roles))} {' or '.join(sorted(wanted))}")

    def has(self, roles: str | Sequence[str], names: Iterable[str]) -> bool:
        """Return whether `find` finds an element."""
        try:
            self.find(roles, names)
        except PageMismatch:
            return False
        return True

    def text_after(self, name: str) -> str:
        """Return the name of the line after the text `name`, or raise `PageMismatch`."""
        for first, second in zip(self.lines, self.lines[1:], strict=False):
            if (first.role, first.name) == ("text", name):
                return second.name
        raise PageMismatch(f"a line after the text {name}")

    def first(self, role: str) -> Line:
        """Return the first line with this role, or raise `PageMismatch`."""
        for line in self.lines:
            if line.role == role:
                return line
        raise PageMismatch(f"a {role}")

    def rows(self) -> list[list[str]]:
        """Return the rows of all tables, each as a list of cells."""
        rows: list[list[str]] = []
        for line in self.lines:
            if line.role == "row":
                rows.append(line.name.split(" | ") if line.name else [])
            elif line.role in ("cell", "rowheader", "columnheader") and rows:
                rows[-1].append(line.name)
        return rows

    def cell(self, row: int, column: int) -> str:
        """Return a cell of `rows()` by its row and column, counted from 0, or raise `PageMismatch`."""
        rows = self.rows()
        if row < len(rows) and column < len(rows[row]):
            return rows[row][column]
        raise PageMismatch(f"row {row} of a table with a column {column}")

    def row_value(self, name: str, column: int = 1) -> str:
        """Return a cell of the first row whose first cell is `name`, or raise `PageMismatch`."""
        for row in self.rows():
            if len(row) > column and row[0] == name:
                return row[column]
        raise PageMismatch(f"a row {name}")

    def lines_below(self, heading: str) -> list[Line]:
        """Return the lines after the first heading with this name, or raise `PageMismatch`."""
        for number, line in enumerate(self.lines):
            if (line.role, line.name) == ("heading", heading):
                return self.lines[number + 1 :]
        raise PageMismatch(f"a heading {heading}")


def read_line(text: str) -> Line | None:
    """Parse one line of an observation; return None for the URL, title, notes and other lines without a role."""
    match = LINE.fullmatch(text)
    if match is None or text.startswith(("URL: ", "Title: ", "Tabs: ", "Note: ", "Refused: ", "Task: ", "Actions: ")):
        return None
    more = match["more"] or ""
    value, options = _VALUE.search(more), _OPTIONS.search(more)
    return Line(
        depth=len(match["indent"]) // 2,
        role=match["role"],
        name=_unquote(match["name"]),
        id=int(match["id"]) if match["id"] else None,
        value=_unquote(value[1]) if value else "",
        options=tuple(_unquote(found) for found in re.findall(QUOTED, options[1])) if options else (),
        states=tuple(re.sub(QUOTED, "", more).split()),
    )


def _unquote(text: str | None) -> str:
    return str(ast.literal_eval(text)) if text else ""


def _as_tuple(roles: str | Sequence[str]) -> tuple[str, ...]:
    return (roles,) if isinstance(roles, str) else tuple(roles)
