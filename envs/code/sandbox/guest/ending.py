"""What an interpreter does at the end of a program. The child process ends by `os._exit`, which does none of it.

Only what the program itself has made is finalized. The rest, which all programs share, ends with the process.
"""

from __future__ import annotations

import _io
import atexit
import contextlib
import gc
import io
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from typing import Any


def finish(code: int, folder: str) -> int:
    """Wait for threads, run exit handlers, finalize the program's objects, and write what open files still hold.

    Args:
        code: Exit code of the program.
        folder: Folder of the program's modules.

    Returns:
        The exit code, or 120 if it was 0 and a step failed.
    """
    steps: list[Callable[[], object]] = [threading._shutdown, atexit._run_exitfuncs, flush_streams]  # type: ignore[attr-defined]
    steps += [flush_files, lambda: remove_modules(folder), close_files, flush_streams]
    for step in steps:
        try:
            step()
        except BaseException:
            # The program may have closed or replaced stderr.
            with contextlib.suppress(BaseException):
                traceback.print_exc()
            code = code or 120
    return code


def remove_modules(folder: str) -> None:
    """Remove the program's modules, so that their objects are finalized: files, archives, `__del__` methods.

    As in an interpreter, finalizers of collected modules still see their variables; the others lose them.
    """
    if threading.active_count() > 1:
        # Daemon threads run on until the process ends, and would fail without these variables.
        return
    references = []
    for name in reversed(list(sys.modules)):
        file = getattr(sys.modules[name], "__file__", None)
        if name == "__main__" or (isinstance(file, str) and file.startswith(f"{folder}/")):
            with contextlib.suppress(TypeError):
                references.append(weakref.ref(sys.modules[name]))
            sys.modules[name] = None  # type: ignore[assignment]
    gc.collect()
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
    with contextlib.ExitStack() as stack:
        for stream in (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__):
            if stream is not None and not getattr(stream, "closed", False):
                stack.callback(stream.flush)


def flush_files() -> None:
    """Write what open files hold. The collector would close the inner file of a wrapper first, and so lose the rest."""
    for file in _open_files():
        with contextlib.suppress(BaseException):
            file.flush()


def close_files() -> None:
    """Close the files that something still refers to, unless daemon threads may use them."""
    if threading.active_count() == 1:
        for file in _open_files():
            with contextlib.suppress(BaseException):
                file.close()


def _open_files() -> list[Any]:
    """Return the program's open files. A file that wraps another one comes before it."""
    # Classes of the program decide what `isinstance` says of their objects, but not what `type` says.
    files = [each for each in gc.get_objects() if issubclass(type(each), _io._IOBase)]
    return sorted((file for file in files if _is_open(file)), key=_rank)


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
