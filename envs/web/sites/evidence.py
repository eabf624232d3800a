"""What a checker looks at: the database before and after, and the answer given."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]

VISIT = frozenset({"session"})
"""Tables about the visit itself, which no task is about."""


class Evidence:
    """One finished attempt: two databases of the same tables, and an answer or None."""

    def __init__(self, before: sqlite3.Connection, after: sqlite3.Connection, answer: str | None) -> None:
        self.before = before
        self.after = after
        self.answer = answer

    def rows(self, sql: str, *values: Any) -> list[Row]:
        """What a query finds afterwards."""
        return _rows(self.after, sql, values)

    def was(self, sql: str, *values: Any) -> list[Row]:
        """What a query finds in the content that the attempt began with."""
        return _rows(self.before, sql, values)

    def added(self, table: str) -> list[Row]:
        """Rows that are there afterwards under a key that was not there before, in order of key."""
        old = {row["id"] for row in self.was(f"SELECT id FROM {table}")}
        return [row for row in self.rows(f"SELECT * FROM {table} ORDER BY id") if row["id"] not in old]

    def damaged(self, touches: frozenset[str], adds: frozenset[str]) -> bool:
        """Whether a table differs that is neither in `touches`, nor in `adds` and only longer, nor about the visit."""
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
        tables = {name for (name,) in self.after.execute(query)} - VISIT - touches
        return any(self._differs(table, table in adds) for table in tables)

    def _differs(self, table: str, longer: bool) -> bool:
        query = f"SELECT * FROM {table} ORDER BY rowid"
        before, after = self.before.execute(query).fetchall(), self.after.execute(query).fetchall()
        return before != (after[: len(before)] if longer else after)

    def says(self, expected: str | float, others: Iterable[str] = ()) -> bool:
        """Whether the answer is `expected`, alone or in a sentence that names none of the `others`.

        Numbers are compared as numbers: `£1,204.50` is 1204.5, and there must be no second, different number. Texts are
        compared by their words, without case and punctuation.
        """
        if self.answer is None:
            return False
        if isinstance(expected, (int, float)):
            return {round(number, 2) for number in numbers(self.answer)} == {round(float(expected), 2)}
        said, wanted = words(self.answer), words(expected)
        rivals = [words(other) for other in others if words(other) != wanted]
        # A rival inside the right answer ("Oak Hall" in "Old Oak Hall") is not named by it.
        rivals = [rival for rival in rivals if not _within(rival, wanted)]
        return _within(wanted, said) and not any(_within(rival, said) for rival in rivals)


def numbers(text: str) -> list[float]:
    """The numbers in a text; commas and narrow spaces between groups of three digits are read over."""
    joined = re.sub(r"(?<=\d)[,\u202f\u00a0](?=\d{3}(?!\d))", "", text)
    return [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?", joined)]


def words(text: str) -> list[str]:
    """Lower-case words and numbers, without articles."""
    found = re.findall(r"[^\W_]+", text.casefold())
    return [word for word in found if word not in ("a", "an", "the")]


def _within(needle: Sequence[str], hay: Sequence[str]) -> bool:
    n = len(needle)
    return n > 0 and any(list(hay[i : i + n]) == list(needle) for i in range(len(hay) - n + 1))


def _rows(db: sqlite3.Connection, sql: str, values: Sequence[Any]) -> list[Row]:
    cursor = db.execute(sql, tuple(values))
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
