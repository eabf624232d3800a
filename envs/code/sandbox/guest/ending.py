"""What an interpreter does at the end of a program. The child process ends by `os._exit`, which does none of it.

Only what the program itself has made is finalized. The rest, which all programs share, ends with the process.
"""

from __future__ import annotations

import _io
import atexit
import contextlib
import gc
import io
import itertools
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from typing import Any


def finish(code: int, known: int) -> int:
    """Wait for threads, run exit handlers, finalize the program's objects, and write what open files still hold.

    Args:
        code: Exit code of the program.
        known: Number of modules that were loaded before the program started.

    Returns:
        The exit code, or 120 if it was 0 and a step failed.
    """
    steps: list[Callable[[], object]] = [threading._shutdown, atexit._run_exitfuncs, flush_streams]  # type: ignore[attr-defined]
    steps += [flush_files, lambda: remove_modules(known), flush_streams]
    for step in steps:
        try:
            step()
        except BaseException:
            # The program may have closed or replaced stderr.
            with contextlib.suppress(BaseException):
                traceback.print_exc()
            code = code or 120
    return code


def remove_modules(known: int) -> None:
    """Remove the program's modules, so that their objects are finalized: files, archives, `__del__` methods.

    As in an interpreter, finalizers of collected modules still see their variables; the others lose them. The first
    `known` modules are not even looked at, since touching memory that a fork shares with the worker copies it.
    """
    if threading.active_count() > 1:
        # Daemon threads run on until the process ends. They would fail without these variables and files.
        return
    references = []
    new = max(0, len(sys.modules) - known)
    for name in ["__main__", *itertools.islice(reversed(sys.modules), new)]:
        with contextlib.suppress(TypeError, KeyError):
            references.append(weakref.ref(sys.modules[name]))
            sys.modules[name] = None  # type: ignore[assignment]
    gc.collect()
    close_files()
    for reference in references:
        module = reference()
        if module is not None:
            _clear(vars(module))
            del module
            gc.collect()


def _clear(variables: dict[str, Any]) -> None:
    """Remove the variables of a module, first those with one leading underscore."""
    for private in (True, False):
        for name in list(variables):
            if (name[:1] == "_" and name[1:2] != "_") == private and name != "__builtins__":
                variables[name] = None


def flush_streams() -> None:
    """Flush the standard streams and what the program has replaced them by. Raises what the last failure was."""
    failure = None
    for stream in (sys.__stdout__, sys.__stderr__, sys.stdout, sys.stderr):
        if stream is not None and not getattr(stream, "closed", False):
            try:
                stream.flush()
            except BaseException as error:
                failure = error
    if failure is not None:
        raise failure


def flush_files() -> None:
    """Write what open files hold. The collector would close the inner file of a wrapper first, and so lose the rest."""
    for file in _open_files():
        with contextlib.suppress(BaseException):
            file.flush()


def close_files() -> None:
    """Close the files that something still refers to. Those of the library need their modules for it."""
    for file in _open_files():
        with contextlib.suppress(BaseException):
            file.close()


def _open_files() -> list[Any]:
    """Return the program's open files. A file that wraps another one comes before it."""
    # Classes of the program decide what `isinstance` says of their objects, but not what `type` says.
    files = [each for each in gc.get_objects() if issubclass(type(each), _io._IOBase)]
    return sorted(filter(_is_open, files), key=_rank) if files else files


def _is_open(file: Any) -> bool:
    with contextlib.suppress(BaseException):
        return not file.closed
    return False


def _rank(file: Any) -> int:
    if isinstance(file, io.TextIOWrapper):
        return 1
    if isinstance(file, (io.BufferedWriter, io.BufferedRandom, io.BufferedReader, io.BufferedRWPair)):
        return 2
    return 3 if isinstance(file, io.RawIOBase) else 0
