"""A seccomp filter for bubblewrap, which has none of its own.

It denies system calls that are common attack surfaces and that programs do not need. It is classic BPF over
`struct seccomp_data`. Denied calls return EPERM, so that programs see an error and are not killed.
"""

from __future__ import annotations

import errno
import platform
import struct

ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | errno.EPERM
MISSING = 0x00050000 | errno.ENOSYS
KILL = 0x80000000
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
NEW_NAMESPACES = 0x7E020080
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET and NEWTIME."""
FOREIGN_ABI = 0x40000000
"""Flag of x32 system calls on x86-64, whose numbers are not in the table."""

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
_SAME_EVERYWHERE = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "mount_setattr": 442,
}  # fmt: skip


def program(machine: str | None = None) -> bytes | None:
    """Return the filter for a machine, named as by `platform.machine`, or None if the machine is unknown."""
    table = _TABLES.get(machine or platform.machine())
    if table is None:
        return None
    architecture, calls = table[0], {**table[1], **_SAME_EVERYWHERE}
    special = {"clone": calls.pop("clone"), "clone3": calls.pop("clone3"), "prlimit64": calls.pop("prlimit64")}
    code = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 0, 1, FOREIGN_ABI),
        (RETURN, 0, 0, REFUSE),
        # The flags of `clone3` are behind a pointer and cannot be checked. The C library falls back to `clone`.
        (EQUAL, 0, 1, special["clone3"]),
        (RETURN, 0, 0, MISSING),
        (EQUAL, 0, 4, special["clone"]),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (ANY_BIT, 0, 1, NEW_NAMESPACES),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
        # A process may set its own limits, but not the worker's.
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
