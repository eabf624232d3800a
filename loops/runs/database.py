"""`Database`: the file `run.db` of a run, an SQLite database (WAL) with append-only rows and checksums.

The checksum of a row covers the whole row: its table, number, stage, key and data. The rows of a table are numbered
from 1 without gaps, and `meta` holds how many there are. A table is checked when it is first read, so a row that is
changed, moved to another stage or missing is reported before anything of its table is used. Rows are then read by
number: the indices of the file serve uniqueness only, and damage to them hides nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from ...envs.core import canonical_json
from ...envs.reading import parse_json
from ...errors import UsageError
from .folder import readable_errors, transaction

SCHEMA_VERSION = 5
"""Format number of a run; runs of another format are refused, not migrated."""
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, sha TEXT NOT NULL);
CREATE TABLE results (
    number INTEGER PRIMARY KEY, stage TEXT NOT NULL, data TEXT NOT NULL, sha TEXT NOT NULL, UNIQUE (stage));
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
_COLUMNS = {"results": ("stage",), "trajectories": ("stage", "key"), "growth": ("stage", "key", "part")}
"""Columns of each table that name a row."""
_KINDS = {"results": "result {0!r}", "trajectories": "stage {0!r}: trajectory {1!r}"}
_KINDS["growth"] = "stage {0!r}: search tree {1!r}"
_REMEDY = "restore the file from a copy, or start again in a new run folder"

Name = tuple[Any, ...]
"""Values of the columns that name a row: stage, key and part, as far as the table has them."""


class Database:
    """The database of one run, for one thread at a time. All methods raise `UsageError` if the disk or file fails."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        """Open an existing file; raise `UsageError` if it has another format.

        With `read_only`, nothing in the folder has to be writable.
        """
        self.folder = folder
        self._names: dict[str, list[Name]] = {table: [] for table in _COLUMNS}
        """The names of the rows that were checked, in order."""
        self._numbers: dict[str, dict[Name, list[int]]] = {table: {} for table in _COLUMNS}
        """The numbers of the checked rows, by each beginning of their name."""
        with contextlib.ExitStack() as undo, readable_errors(folder):
            self._copy = undo.enter_context(contextlib.ExitStack())
            if read_only:
                self._db = self._connect_read_only()
            else:
                self._db = _connect(folder / "run.db")
                undo.callback(self._db.close)
                self._refuse_other_version()
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
            undo.pop_all()

    @classmethod
    def create(cls, folder: Path, config: Mapping[str, Any]) -> Self:
        """Create an empty database atomically, by renaming a temporary file."""
        new = folder / "run.db.new"
        meta = {"schema": str(SCHEMA_VERSION), "config": canonical_json(config), "versions": "{}"}
        meta |= {_count_key(table): "0" for table in _COLUMNS}
        with readable_errors(folder):
            new.unlink(missing_ok=True)
            db = sqlite3.connect(new)
            # A journal file would survive a kill and be applied to the next database.
            db.execute("PRAGMA journal_mode=MEMORY")
            db.executescript(_SCHEMA)
            db.executemany("INSERT INTO meta VALUES (?, ?, ?)", [(k, v, _sha("meta", k, v)) for k, v in meta.items()])
            db.commit()
            db.close()
            new.rename(folder / "run.db")
        return cls(folder)

    def close(self) -> None:
        """Close the file; safe to call again."""
        self._db.close()
        self._copy.close()

    def meta(self, key: str) -> str:
        """Return a value about the run as a whole: `config` or `versions`."""
        for name, value, sha in self.rows("SELECT key, value, sha FROM meta NOT INDEXED"):
            if name == key and isinstance(value, str) and _sha("meta", key, value) == sha:
                return value
        what = "configuration" if key == "config" else f"record {key!r}"
        raise UsageError(f"{self.folder}/run.db: its {what} is damaged (its checksum does not match); {_REMEDY}")

    def set_meta(self, key: str, value: str) -> None:
        """Set a value about the run as a whole."""
        with readable_errors(self.folder):
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", (key, value, _sha("meta", key, value)))

    def append(self, table: str, rows: Iterable[tuple[Name, Any]]) -> None:
        """Append rows in one transaction.

        Args:
            table: `results`, `trajectories` or `growth`.
            rows: For each row its name, and the value to store as JSON.
        """
        old = self.names(table)
        encoded, names = [], []
        for number, (given, value) in enumerate(rows, len(old) + 1):
            name, text = tuple(map(_storable, given)), canonical_json(value)
            names.append(name)
            encoded.append((number, *name, text, _sha(table, number, *name, text)))
        columns = ("number", *_COLUMNS[table], "data", "sha")
        insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        with readable_errors(self.folder), transaction(self._db):
            self._db.executemany(insert, encoded)
            self.set_meta(_count_key(table), str(len(old) + len(names)))
        for name in names:
            self._add_name(table, name)

    def names(self, table: str) -> list[Name]:
        """Return the names of a table's rows in the order of storage, after checking the rows that are new.

        Raises:
            UsageError: A row of the table is damaged or missing.
        """
        with readable_errors(self.folder):
            # Rows and their count are read in one transaction: another process may be writing.
            self._db.execute("BEGIN")
            try:
                self._check(table)
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
        return self._names[table]

    def values(self, table: str, *name: Any) -> list[tuple[Name, Any]]:
        """Return name and JSON value of the rows whose name begins with `name`, in the order of storage.

        Raises:
            UsageError: A row of the table is damaged or missing.
        """
        names, found = self.names(table), []
        for number in self._numbers[table].get(tuple(map(_storable, name)), ()):
            rows = self.rows(f"SELECT data, sha FROM {table} WHERE number = ?", number)
            if len(rows) != 1 or not self._is_whole(table, number, names[number - 1], *rows[0]):
                raise self._damaged(table, names[number - 1])
            try:
                found.append((names[number - 1], parse_json(rows[0][0])))
            except ValueError:
                raise self._damaged(table, names[number - 1]) from None
        return found

    def rows(self, query: str, *arguments: Any) -> Sequence[Any]:
        """Return the rows of a query."""
        with readable_errors(self.folder):
            return self._db.execute(query, arguments).fetchall()

    # -- Checks ---------------------------------------------------------------------------------------------------

    def _check(self, table: str) -> None:
        count, names = self.meta(_count_key(table)), self._names[table]
        columns = ", ".join(("number", *_COLUMNS[table], "data", "sha"))
        query = f"SELECT {columns} FROM {table} NOT INDEXED WHERE number > ? ORDER BY number"
        for number, *name, data, sha in self._db.execute(query, (len(names),)):
            if not self._is_whole(table, number, name, data, sha):
                raise self._damaged(table, name)
            if number != len(names) + 1:
                break
            self._add_name(table, tuple(name))
        if str(len(names)) != count:
            raise UsageError(
                f"{self.folder}/run.db: row {len(names) + 1} of {count} in its table {table!r} is missing, so the file "
                f"is damaged; {_REMEDY}"
            )

    def _add_name(self, table: str, name: Name) -> None:
        self._names[table].append(name)
        for length in range(len(name) + 1):
            self._numbers[table].setdefault(name[:length], []).append(len(self._names[table]))

    @staticmethod
    def _is_whole(table: str, number: int, name: Sequence[Any], data: Any, sha: Any) -> bool:
        texts = (data, *name[:2])
        return all(isinstance(text, str) for text in texts) and _sha(table, number, *name, data) == sha

    def _damaged(self, table: str, name: Sequence[Any]) -> UsageError:
        what = _KINDS[table].format(*name)
        return UsageError(f"{self.folder}/run.db: {what} is damaged (its checksum does not match); {_REMEDY}")

    def _refuse_other_version(self) -> None:
        row = self._db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
        if row is None:
            raise UsageError(
                f"{self.folder}/run.db has no 'schema', so it is damaged or not a run of Kintsugi; name another folder"
            )
        if row[0] != str(SCHEMA_VERSION):
            raise UsageError(
                f"{self.folder} was written with run format {row[0]}; this version of Kintsugi reads format "
                f"{SCHEMA_VERSION}; use the version that wrote it, or a new run folder"
            )

    # -- Reading a run that may not be written --------------------------------------------------------------------

    def _connect_read_only(self) -> sqlite3.Connection:
        """Connect without the need to write: a database in WAL mode otherwise creates files beside it."""
        for last, way in enumerate((self._connect_beside_others, self._connect_alone)):
            with contextlib.ExitStack() as undo:
                try:
                    self._db = way()
                    undo.callback(self._db.close)
                    self._refuse_other_version()
                    self._db.execute("PRAGMA query_only=ON")
                except sqlite3.OperationalError:
                    if last:
                        raise
                    continue
                undo.pop_all()
                break
        return self._db

    def _connect_beside_others(self) -> sqlite3.Connection:
        """Share the file with a process that may be writing it."""
        return _connect(self.folder / "run.db")

    def _connect_alone(self) -> sqlite3.Connection:
        """Read the file as it is, or a copy if a process that was killed left its last records in run.db-wal."""
        path = self.folder / "run.db"
        log = self.folder / "run.db-wal"
        if log.exists() and log.stat().st_size:
            copy = Path(self._copy.enter_context(tempfile.TemporaryDirectory(prefix="kintsugi-run-")))
            for file in (path, log):
                shutil.copyfile(file, copy / file.name)
            return _connect(copy / "run.db")
        return _connect(path.absolute().as_uri() + "?mode=ro&immutable=1", uri=True)


def _connect(path: Path | str, *, uri: bool = False) -> sqlite3.Connection:
    # `collect` uses the connection from another thread if an event loop is running.
    return sqlite3.connect(path, uri=uri, isolation_level=None, check_same_thread=False)


def _count_key(table: str) -> str:
    return f"rows in {table}"


def _storable(value: Any) -> Any:
    """Replace lone surrogates, which SQLite cannot store, by escapes with a backslash."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _sha(*fields: Any) -> str:
    """Return the checksum of a row. Each text is preceded by its length, so that no two rows give the same bytes."""
    digest = hashlib.sha256()
    for field in fields:
        data = str(field).encode("utf-8", "surrogatepass")
        digest.update(f"{type(field).__name__} {len(data)}:".encode() + data)
    return digest.hexdigest()
