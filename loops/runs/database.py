"""`Database`: the file `run.db` of a run, an SQLite database (WAL) with append-only rows and checksums."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from ...envs.core import canonical_json
from ...errors import UsageError
from .folder import readable_errors, transaction

SCHEMA_VERSION = 4
"""Format number of a run; runs of another format are refused, not migrated."""
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE results (stage TEXT PRIMARY KEY, data TEXT NOT NULL, sha TEXT NOT NULL);
CREATE TABLE trajectories (
    number INTEGER PRIMARY KEY, stage TEXT NOT NULL, key TEXT NOT NULL, data TEXT NOT NULL, sha TEXT NOT NULL,
    UNIQUE (stage, key));
CREATE TABLE growth (
    number INTEGER PRIMARY KEY, stage TEXT NOT NULL, key TEXT NOT NULL, part INTEGER NOT NULL, data TEXT NOT NULL,
    sha TEXT NOT NULL, UNIQUE (stage, key, part));
CREATE TRIGGER append_only_update BEFORE UPDATE ON trajectories BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER append_only_delete BEFORE DELETE ON trajectories BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER growth_only_update BEFORE UPDATE ON growth BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER growth_only_delete BEFORE DELETE ON growth BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""


class Database:
    """The database of one run, for one thread at a time. All methods raise `UsageError` if the disk or file fails."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        """Open an existing file; raise `UsageError` if it has another format."""
        self.folder = folder
        with contextlib.ExitStack() as undo, readable_errors(folder):
            # `collect` uses the connection from another thread if an event loop is running.
            self._db = sqlite3.connect(folder / "run.db", isolation_level=None, check_same_thread=False)
            undo.callback(self._db.close)
            self._refuse_other_version()
            if read_only:
                self._db.execute("PRAGMA query_only=ON")
            else:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
            undo.pop_all()

    @classmethod
    def create(cls, folder: Path, config: Mapping[str, Any]) -> Self:
        """Create an empty database atomically, by renaming a temporary file."""
        new = folder / "run.db.new"
        with readable_errors(folder):
            new.unlink(missing_ok=True)
            db = sqlite3.connect(new)
            # A journal file would survive a kill and be applied to the next database.
            db.execute("PRAGMA journal_mode=MEMORY")
            db.executescript(_SCHEMA)
            db.execute("INSERT INTO meta VALUES ('schema', ?)", (str(SCHEMA_VERSION),))
            db.execute("INSERT INTO meta VALUES ('config', ?)", (canonical_json(config),))
            db.commit()
            db.close()
            new.rename(folder / "run.db")
        return cls(folder)

    def close(self) -> None:
        """Close the file; safe to call again."""
        self._db.close()

    def meta(self, key: str) -> str | None:
        """Return a value about the run as a whole, None if it is not set."""
        with readable_errors(self.folder):
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Set a value about the run as a whole."""
        with readable_errors(self.folder):
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def append(self, table: str, rows: Iterable[tuple[tuple[Any, ...], Any]]) -> None:
        """Append rows in one transaction.

        Args:
            table: `results`, `trajectories` or `growth`.
            rows: For each row the values of its key columns, and the value to store as JSON.
        """
        encoded = [(*columns, text, _sha(text)) for columns, value in rows for text in (canonical_json(value),)]
        names = {"results": "stage", "trajectories": "stage, key", "growth": "stage, key, part"}[table]
        marks = ", ".join("?" * (names.count(",") + 3))
        with readable_errors(self.folder), transaction(self._db):
            self._db.executemany(f"INSERT INTO {table} ({names}, data, sha) VALUES ({marks})", encoded)

    def values(self, kind: str, query: str, *arguments: Any) -> list[tuple[str, Any]]:
        """Run a query for a name, `data` and `sha`, and decode its rows.

        Args:
            kind: What the rows hold, for error messages.
            query: SQL query with these three columns.
            *arguments: Values of the query's placeholders.

        Returns:
            Name and JSON value of each row.

        Raises:
            UsageError: The checksum of a row does not match.
        """
        decoded = []
        for name, data, sha in self.rows(query, *arguments):
            if not isinstance(data, str) or _sha(data) != sha:
                raise UsageError(
                    f"{self.folder}/run.db: {kind} {name!r} is damaged (its checksum does not match); "
                    "restore the file from a copy, or start again in a new run folder"
                )
            decoded.append((str(name), json.loads(data)))
        return decoded

    def rows(self, query: str, *arguments: Any) -> Sequence[Any]:
        """Return the rows of a query."""
        with readable_errors(self.folder):
            return self._db.execute(query, arguments).fetchall()

    def _refuse_other_version(self) -> None:
        version = self.meta("schema")
        if version is None:
            raise UsageError(
                f"{self.folder}/run.db has no 'schema', so it is damaged or not a run of Kintsugi; name another folder"
            )
        if version != str(SCHEMA_VERSION):
            raise UsageError(
                f"{self.folder} was written with run format {version}; this version of Kintsugi reads format "
                f"{SCHEMA_VERSION}; use the version that wrote it, or a new run folder"
            )


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
