"""A seccomp filter for bubblewrap, which does not include one.

It refuses system calls that programs do not need and that widen the attack surface. Refused calls return EPERM, so
programs see an error instead of being killed. `clone3` returns ENOSYS, and a call of another architecture kills the
process. The filter is a classic BPF program over `struct seccomp_data`.
"""

from __future__ import annotations

import errno
import platform
import struct

ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | errno.EPERM
NOT_IMPLEMENTED = 0x00050000 | errno.ENOSYS
KILL = 0x80000000
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
NEW_NAMESPACES = 0x7E020080
"""The flags CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET and
CLONE_NEWTIME."""
FOREIGN_ABI = 0x40000000
"""Bit that marks system calls of the x32 ABI on x86-64. All of them are refused."""

_TABLES: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        {
            "clone": 56, "ptrace": 101, "pivot_root": 155, "mount": 165, "umount2": 166, "swapon": 167, "reboot": 169,
            "init_module": 175, "delete_module": 176, "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272,
            "kexec_load": 246, "perf_event_open": 298, "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310,
            "process_vm_writev": 311, "finit_module": 313, "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323,
            "prlimit64": 302, "clone3": 435, "chroot": 161, "pidfd_getfd": 438,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "clone": 220, "ptrace": 117, "pivot_root": 41, "mount": 40, "umount2": 39, "swapon": 224, "reboot": 142,
            "init_module": 105, "delete_module": 106, "add_key": 217, "request_key": 218, "keyctl": 219, "unshare": 97,
            "kexec_load": 104, "perf_event_open": 241, "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270,
            "process_vm_writev": 271, "finit_module": 273, "kexec_file_load": 294, "bpf": 280, "userfaultfd": 282,
            "prlimit64": 261, "clone3": 435, "chroot": 51, "pidfd_getfd": 438,
        },
    ),
}  # fmt: skip
_SHARED_NUMBERS = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "mount_setattr": 442,
}  # fmt: skip
"""Further system calls, whose numbers are the same on both architectures."""


def make_filter(machine: str | None = None) -> bytes | None:
    """Return the filter for an architecture, or None if it is unknown.

    Args:
        machine: The architecture, named as by `platform.machine`. Default: that of this machine.
    """
    table = _TABLES.get(machine or platform.machine())
    if table is None:
        return None
    architecture, calls = table[0], {**table[1], **_SHARED_NUMBERS}
    special = {"clone": calls.pop("clone"), "clone3": calls.pop("clone3"), "prlimit64": calls.pop("prlimit64")}
    code = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 0, 1, FOREIGN_ABI),
        (RETURN, 0, 0, REFUSE),
        # The flags of `clone3` are behind a pointer and cannot be checked. The C library then falls back to `clone`.
        (EQUAL, 0, 1, special["clone3"]),
        (RETURN, 0, 0, NOT_IMPLEMENTED),
        (EQUAL, 0, 4, special["clone"]),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (ANY_BIT, 0, 1, NEW_NAMESPACES),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
        # A process may change its own limits (pid 0), but not those of another process.
        (EQUAL, 0, 4, special["prlimit64"]),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (EQUAL, 1, 0, 0),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    ]
    for number in calls.values():
        code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, REFUSE)]
    code.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("<HBBI", *step) for step in code)
