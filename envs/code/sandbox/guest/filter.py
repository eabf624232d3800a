"""Installs system call filters on this process. The host makes them: `seccomp.py`."""

from __future__ import annotations

import ctypes
import os
from typing import Any

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP_MODE_FILTER = 2
libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = [("count", ctypes.c_ushort), ("steps", ctypes.c_char_p)]


def choose_filters(config: dict[str, Any]) -> list[bytes]:
    """Return the filters for this machine's architecture. Raises `SystemExit` if there are none."""
    machine = os.uname().machine
    found = config["filters"].get(machine)
    if found is None:
        raise SystemExit(
            f"there is no system call filter for the architecture {machine}, and programs never run without one; "
            f"expected one of {', '.join(config['filters'])}"
        )
    return [bytes.fromhex(text) for text in found]


def install_filter(code: bytes) -> None:
    """Install a filter on this process and all that it will start, for good. Raises `OSError`."""
    program = _Program(len(code) // 8, code)
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program))):
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "the kernel refuses a system call filter")
