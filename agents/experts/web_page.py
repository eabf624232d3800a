"""Reading pages as the web environment tells them: lines of roles, names and values, some of them numbered."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...envs.web.condense import LINE, QUOTED

_VALUE = re.compile(rf" value ({QUOTED})")
_OPTIONS = re.compile(rf" options ((?:{QUOTED})(?:, (?:{QUOTED}))*)")
FIELDS = ("textbox", "searchbox")


class Lost(Exception):
    """The page does not show what was looked for; the text says what that was."""


@dataclass(frozen=True)
class Line:
    """One line of a page."""

    depth: int
    role: str
    name: str
    id: int | None = None
    """Number of what can be acted on."""
    value: str = ""
    options: tuple[str, ...] = ()
    states: tuple[str, ...] = ()


class Page:
    """One observation, read."""

    def __init__(self, observation: str) -> None:
        self.lines = [line for line in map(read_line, observation.split("\n")) if line is not None]

    def find(self, roles: str | Sequence[str], names: Iterable[str]) -> Line:
        """The first line of these roles that can be acted on and has one of these names; raises `Lost`."""
        wanted = set(names)
        for line in self.lines:
            if line.id is not None and line.role in _tuple(roles) and line.name in wanted:
                return line
        raise Lost(f"{' or '.join(_tuple(roles))} {' or '.join(sorted(wanted))}")

    def has(self, roles: str | Sequence[str], names: Iterable[str]) -> bool:
        """Whether `find` would find something."""
        try:
            self.find(roles, names)
        except Lost:
            return False
        return True

    def after(self, name: str) -> str:
        """What stands below the text `name`; raises `Lost`."""
        for first, second in zip(self.lines, self.lines[1:], strict=False):
            if (first.role, first.name) == ("text", name):
                return second.name
        raise Lost(f"what is said of {name}")

    def first(self, role: str) -> Line:
        """The first line of a role, whatever its name; raises `Lost`."""
        for line in self.lines:
            if line.role == role:
                return line
        raise Lost(f"a {role}")

    def rows(self) -> list[list[str]]:
        """The rows of all tables, cell by cell."""
        rows: list[list[str]] = []
        for line in self.lines:
            if line.role == "row":
                rows.append(line.name.split(" | ") if line.name else [])
            elif line.role in ("cell", "rowheader", "columnheader") and rows:
                rows[-1].append(line.name)
        return rows

    def cell(self, row: int, column: int) -> str:
        """What a cell of the tables says, counted from 0; raises `Lost`."""
        rows = self.rows()
        if row < len(rows) and column < len(rows[row]):
            return rows[row][column]
        raise Lost(f"row {row} of a table")

    def fact(self, name: str, column: int = 1) -> str:
        """A cell of the row that begins with `name`; raises `Lost`."""
        for row in self.rows():
            if len(row) > column and row[0] == name:
                return row[column]
        raise Lost(f"a row {name}")

    def below(self, heading: str) -> list[Line]:
        """The lines that follow the first heading of this name."""
        for number, line in enumerate(self.lines):
            if (line.role, line.name) == ("heading", heading):
                return self.lines[number + 1 :]
        raise Lost(f"a heading {heading}")


def read_line(text: str) -> Line | None:
    """One line of a page; None for what is none (address, title, notes)."""
    match = LINE.fullmatch(text)
    if match is None or text.startswith(("URL: ", "Title: ", "Tabs: ", "Note: ", "Refused: ", "Task: ", "Actions: ")):
        return None
    more = match["more"] or ""
    value, options = _VALUE.search(more), _OPTIONS.search(more)
    return Line(
        depth=len(match["indent"]) // 2,
        role=match["role"],
        name=_unquoted(match["name"]),
        id=int(match["id"]) if match["id"] else None,
        value=_unquoted(value[1]) if value else "",
        options=tuple(_unquoted(found) for found in re.findall(QUOTED, options[1])) if options else (),
        states=tuple(re.sub(QUOTED, "", more).split()),
    )


def _unquoted(text: str | None) -> str:
    return str(ast.literal_eval(text)) if text else ""


def _tuple(roles: str | Sequence[str]) -> tuple[str, ...]:
    return (roles,) if isinstance(roles, str) else tuple(roles)
