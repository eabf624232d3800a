"""What the score of an attempt is computed from: the database before and after it, and the answer."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]

SESSION_TABLES = frozenset({"session"})
"""Tables of the browser session. Their changes never count as side effects."""


class Evidence:
    """The database before and after an attempt, and the answer or None. Both databases have the same tables."""

    def __init__(self, before: sqlite3.Connection, after: sqlite3.Connection, answer: str | None) -> None:
        self.before = before
        self.after = after
        self.answer = answer

    def rows_after(self, sql: str, *values: Any) -> list[Row]:
        """Return the rows of a query on the database after the attempt."""
        return _rows(self.after, sql, values)

    def rows_before(self, sql: str, *values: Any) -> list[Row]:
        """Return the rows of a query on the database before the attempt."""
        return _rows(self.before, sql, values)

    def added_rows(self, table: str) -> list[Row]:
        """Return the rows whose id did not exist before the attempt, ordered by id."""
        old_ids = {row["id"] for row in self.rows_before(f"SELECT id FROM {table}")}
        return [row for row in self.rows_after(f"SELECT * FROM {table} ORDER BY id") if row["id"] not in old_ids]

    def has_side_effects(self, may_change: frozenset[str], may_add: frozenset[str]) -> bool:
        """Return whether the attempt changed more than the task allows.

        Args:
            may_change: Tables that may differ in any way.
            may_add: Tables that may have new rows after the existing ones.
        """
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
        tables = {name for (name,) in self.after.execute(query)} - SESSION_TABLES - may_change
        return any(self._changed(table, table in may_add) for table in tables)

    def _changed(self, table: str, may_grow: bool) -> bool:
        query = f"SELECT * FROM {table} ORDER BY rowid"
        before, after = self.before.execute(query).fetchall(), self.after.execute(query).fetchall()
        return before != (after[: len(before)] if may_grow else after)

    def answer_is(self, expected: str | float, others: Iterable[str] = ()) -> bool:
        """Return whether the answer contains `expected` and no competing value.

        A number must be in the answer, and no other number; `£1,204.50` is read as 1204.5. Texts are compared word by
        word, ignoring case, punctuation and the articles a, an, the.

        Args:
            expected: The correct number or text.
            others: Wrong texts that the answer must not contain.
        """
        if self.answer is None:
            return False
        if isinstance(expected, (int, float)):
            return {round(number, 2) for number in parse_numbers(self.answer)} == {round(float(expected), 2)}
        given, wanted = normalised_words(self.answer), normalised_words(expected)
        wrong_answers = [normalised_words(other) for other in others if normalised_words(other) != wanted]
        # "Oak Hall" is part of the correct answer "Old Oak Hall", so it does not count as a wrong answer.
        wrong_answers = [wrong for wrong in wrong_answers if not _is_sublist(wrong, wanted)]
        return _is_sublist(wanted, given) and not any(_is_sublist(wrong, given) for wrong in wrong_answers)


def parse_numbers(text: str) -> list[float]:
    """Return the numbers in a text. Commas and no-break spaces between groups of three digits are ignored."""
    joined = re.sub(r"(?<=\d)[,\u202f\u00a0](?=\d{3}(?!\d))", "", text)
    return [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?", joined)]


def normalised_words(text: str) -> list[str]:
    """Return the case-folded words and numbers of a text, without the articles a, an, the."""
    found = re.findall(r"[^\W_]+", text.casefold())
    return [word for word in found if word not in ("a", "an", "the")]


def _is_sublist(needle: Sequence[str], haystack: Sequence[str]) -> bool:
    n = len(needle)
    return n > 0 and any(list(haystack[i : i + n]) == list(needle) for i in range(len(haystack) - n + 1))


def _rows(db: sqlite3.Connection, sql: str, values: Sequence[Any]) -> list[Row]:
    cursor = db.execute(sql, tuple(values))
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
