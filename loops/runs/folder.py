"""Safe writing to a run's folder: atomic files, a lock against other processes, and errors with a remedy."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from ...envs.tasks import replace_surrogates
from ...errors import UsageError

_OWN_FILES = {"run.db", "run.db-wal", "run.db-shm", "run.db.new", "config.toml", ".config.toml.new"}
"""Files that `RunStore.open` creates beside the lock."""


def write_atomically(path: Path, text: str) -> None:
    """Write a file atomically, by renaming a temporary file. Lone surrogates become U+FFFD."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(replace_surrogates(text), encoding="utf-8")
    new.replace(path)


def holds_run(folder: Path) -> bool:
    """Return whether a folder holds a `run.db`.

    Args:
        folder: Folder of a run; it need not exist.

    Raises:
        UsageError: The folder cannot be read, or its `run.db` is a folder, a pipe or a device.
    """
    path = folder / "run.db"
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read {str(path)!r} ({why}); name the folder of a run that you may read") from error
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path} is not a regular file; expected the database of a run: name another folder")
    return True


class FolderMaker:
    """Makes the folder of a run, and takes back what opening the run has made."""

    def __init__(self, folder: Path) -> None:
        """Note what exists. Nothing is made yet.

        Raises:
            UsageError: The path is, or leads through, something that is not a folder.
        """
        self.folder = folder
        self._missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in (folder, *folder.parents):
            if path.exists() and not path.is_dir():
                raise UsageError(f"{path} is not a folder; name another folder for the run")
        self._had_lock = (folder / ".lock").exists()

    def make(self) -> None:
        """Make the folder and those above it."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def remove_folders(self) -> None:
        """Remove the folders that `make` made and that are empty."""
        for path in self._missing:
            with contextlib.suppress(OSError):
                path.rmdir()

    def remove_files(self, *, run: bool) -> None:
        """Remove the lock file if it is new, and with `run` the files of the run. The lock must be held."""
        for name in (_OWN_FILES if run else set()) | (set() if self._had_lock else {".lock"}):
            with contextlib.suppress(OSError):
                (self.folder / name).unlink()

    def holds_other_files(self) -> bool:
        """Return whether the folder holds anything but the files of a run that has just been created."""
        return any(path.name not in _OWN_FILES | {".lock"} for path in self.folder.iterdir())


def lock_folder(folder: Path) -> Callable[[], None]:
    """Lock a folder for this process; the lock ends with the process.

    Args:
        folder: Folder to lock.

    Returns:
        A function that releases the lock.

    Raises:
        UsageError: Another process holds the lock.
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
    """Commit everything that is written inside, or nothing if an exception leaves the block."""
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
    """Convert errors of the database and the disk to `UsageError`s that name a remedy."""
    try:
        yield
    # A damaged schema may not be UTF-8, and a damaged length asks for more memory than there is.
    except (sqlite3.Error, UnicodeError, MemoryError, OverflowError) as error:
        raise UsageError(f"{folder}/run.db: {error}; {_remedy(error)}") from error
    except OSError as error:
        raise UsageError(f"{folder}: {error}; {_remedy(error)}") from error


def _remedy(error: Exception) -> str:
    text = str(error)
    if not isinstance(error, sqlite3.Error | OSError) or re.search("malformed|not a database|decode|no such", text):
        return "the file is damaged. Restore the file from a copy, or start again in a new run folder."
    if re.search("full|No space|too large|disk I/O", text):
        return "earlier records are intact. Free some disk space and run the same command again to resume."
    return "earlier records are intact. Fix the cause and run the same command again to resume."
