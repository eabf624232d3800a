"""How a run's folder is written: whole or not at all, by one process alone, and with errors that say what to do."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from ...errors import UsageError


def write_whole(path: Path, text: str) -> None:
    """Write a file beside its place, then move it there."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def lock_of(folder: Path) -> Callable[[], None]:
    """Take the folder for this process, until what is returned is called; a process that is killed lets go too.

    Raises `UsageError` when another process has it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(f"{folder} is in use by another process; wait for it to end, or name another folder") from None
    return lock.release


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All that is written inside, or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def readable_errors(folder: Path) -> Iterator[None]:
    """Errors of database and disk as `UsageError`s that say what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise UsageError(f"{folder}/run.db: {error}; what was stored before is kept. {_remedy(str(error))}") from error
    except OSError as error:
        raise UsageError(f"{folder}: {error}; what was stored before is kept. {_remedy(str(error))}") from error


def _remedy(text: str) -> str:
    if "full" in text or "No space" in text or "too large" in text or "disk I/O" in text:
        return "Free some disk space and run the same command again: it goes on where it was."
    if "malformed" in text or "not a database" in text:
        return "Restore the file from a copy, or start again in a new run folder."
    return "Mend the cause and run the same command again: it goes on where it was."
