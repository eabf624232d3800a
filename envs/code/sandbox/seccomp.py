"""The system call filters that a worker installs before it runs programs, the same ones for all backends.

A filter is a classic BPF program over `struct seccomp_data`. The worker, process 1 of the sandbox, installs it on
itself, and its forks inherit it. So no backend depends on the default filter of its engine or on that of bubblewrap.

Refused calls return EPERM, so programs see an error instead of being killed. Calls that are newer than this file return
ENOSYS, as on an older kernel, and so does `clone3`, whose flags are behind a pointer. A call of another architecture
kills the process.
"""

from __future__ import annotations

import errno
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
FIRST_UNKNOWN = 457
"""Lowest number of the system calls that are too new to be judged here. Both architectures share it."""
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
"""Socket families that a network namespace separates and that programs need."""
NETLINK_ROUTE = 0
INTERNET_PROTOCOLS = (0, 1, 6, 17, 58)
"""Default, ICMP, TCP, UDP and ICMPv6. Others would load kernel modules."""
SET_INODE_FLAGS = (0x40086602, 0x40046602, 0x401C5820)
"""The ioctl requests FS_IOC_SETFLAGS, FS_IOC32_SETFLAGS and FS_IOC_FSSETXATTR, which change a folder for good."""
MAP_SHARED, MAP_ANONYMOUS = 0x01, 0x20
F_SETPIPE_SZ = 1031

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# Privileged calls; calls that reach other processes; those with a long record of kernel bugs; and those whose resource
# the whole machine shares (asynchronous I/O contexts) or all processes of one user share (inotify).
_REFUSED: dict[str, dict[str, int]] = {
    "x86_64": {
        "ptrace": 101, "syslog": 103, "uselib": 134, "personality": 135, "ustat": 136, "sysfs": 139, "vhangup": 153,
        "modify_ldt": 154, "pivot_root": 155, "_sysctl": 156, "adjtimex": 159, "chroot": 161, "acct": 163,
        "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169,
        "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173, "create_module": 174, "init_module": 175,
        "delete_module": 176, "get_kernel_syms": 177, "query_module": 178, "quotactl": 179, "nfsservctl": 180,
        "getpmsg": 181, "putpmsg": 182, "afs_syscall": 183, "tuxcall": 184, "security": 185, "io_setup": 206,
        "io_destroy": 207, "io_getevents": 208, "io_submit": 209, "io_cancel": 210, "lookup_dcookie": 212,
        "remap_file_pages": 216, "clock_settime": 227, "vserver": 236, "mbind": 237, "set_mempolicy": 238,
        "get_mempolicy": 239, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "ioprio_set": 251,
        "inotify_init": 253, "inotify_add_watch": 254, "inotify_rm_watch": 255, "migrate_pages": 256, "unshare": 272,
        "vmsplice": 278, "move_pages": 279, "inotify_init1": 294, "perf_event_open": 298, "fanotify_init": 300,
        "fanotify_mark": 301, "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310,
        "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320, "bpf": 321,
        "userfaultfd": 323, "io_pgetevents": 333,
    },
    "aarch64": {
        "io_setup": 0, "io_destroy": 1, "io_submit": 2, "io_cancel": 3, "io_getevents": 4, "lookup_dcookie": 18,
        "inotify_init1": 26, "inotify_add_watch": 27, "inotify_rm_watch": 28, "ioprio_set": 30, "umount2": 39,
        "mount": 40, "pivot_root": 41, "nfsservctl": 42, "chroot": 51, "vhangup": 58, "quotactl": 60, "vmsplice": 75,
        "acct": 89, "personality": 92, "unshare": 97, "kexec_load": 104, "init_module": 105, "delete_module": 106,
        "clock_settime": 112, "syslog": 116, "ptrace": 117, "reboot": 142, "sethostname": 161, "setdomainname": 162,
        "settimeofday": 170, "adjtimex": 171, "add_key": 217, "request_key": 218, "keyctl": 219, "swapon": 224,
        "swapoff": 225, "remap_file_pages": 234, "mbind": 235, "get_mempolicy": 236, "set_mempolicy": 237,
        "migrate_pages": 238, "move_pages": 239, "perf_event_open": 241, "fanotify_init": 262, "fanotify_mark": 263,
        "open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270,
        "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "bpf": 280, "userfaultfd": 282,
        "io_pgetevents": 292, "kexec_file_load": 294,
    },
}  # fmt: skip
_REFUSED_ON_BOTH = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_getfd": 438, "process_madvise": 440,
    "mount_setattr": 442, "quotactl_fd": 443, "memfd_secret": 447, "process_mrelease": 448,
    "set_mempolicy_home_node": 450,
}  # fmt: skip
"""Further refused system calls, whose numbers are the same on both architectures."""
_JUDGED: dict[str, dict[str, int]] = {
    "x86_64": {
        "clone": 56, "clone3": 435, "prlimit64": 302, "setpriority": 141, "sched_setscheduler": 144,
        "sched_setparam": 142, "sched_setattr": 314, "sched_setaffinity": 203, "socket": 41, "socketpair": 53,
        "ioctl": 16, "shmget": 29, "semget": 64, "msgget": 68, "memfd_create": 319, "mmap": 9, "fcntl": 72,
    },
    "aarch64": {
        "clone": 220, "clone3": 435, "prlimit64": 261, "setpriority": 140, "sched_setscheduler": 119,
        "sched_setparam": 118, "sched_setattr": 274, "sched_setaffinity": 122, "socket": 198, "socketpair": 199,
        "ioctl": 29, "shmget": 194, "semget": 190, "msgget": 186, "memfd_create": 279, "mmap": 222, "fcntl": 25,
    },
}  # fmt: skip
"""System calls that are refused with some arguments, or only where a cgroup does not count their memory."""

Step = tuple[int, int, int, int]
"""One instruction: code, steps to skip if true, steps to skip if false, operand."""


def filters() -> dict[str, list[str]]:
    """Return both filters of each architecture as hexadecimal text: the one for all, and `make_memory_filter`."""
    return {name: [make_filter(name).hex(), make_memory_filter(name).hex()] for name in ARCHITECTURES}


def make_filter(machine: str) -> bytes:
    """Return the filter of a worker and its programs.

    Args:
        machine: The architecture, named as by `platform.machine`: a key of `ARCHITECTURES`.
    """
    calls = _JUDGED[machine]
    code = _start(machine)
    code += [(AT_LEAST, 0, 1, FIRST_UNKNOWN), (RETURN, 0, 0, NOT_IMPLEMENTED)]
    code += _judge(calls["clone3"], [(RETURN, 0, 0, NOT_IMPLEMENTED)])
    code += _judge(calls["clone"], _refuse_any_bit(0, NEW_NAMESPACES))
    # A process may change itself (process 0), but neither the worker nor its own process group or user.
    for name in ("prlimit64", "sched_setscheduler", "sched_setparam", "sched_setattr", "sched_setaffinity"):
        code += _judge(calls[name], _refuse_unless_zero(0))
    code += _judge(calls["setpriority"], _refuse_unless_zero(0, 1))
    code += _judge(calls["socket"], _judge_socket())
    code += _judge(calls["socketpair"], _refuse_unless(0, (AF_UNIX,)))
    code += _judge(calls["ioctl"], _refuse_if(1, SET_INODE_FLAGS))
    for number in (*_REFUSED[machine].values(), *_REFUSED_ON_BOTH.values()):
        code += _judge(number, [(RETURN, 0, 0, REFUSE)])
    return _pack(code)


def make_memory_filter(machine: str) -> bytes:
    """Return the filter that refuses memory which only a cgroup can count. A program gets it in addition.

    It refuses memory files, System V IPC, shared mappings without a file, and larger pipes.

    Args:
        machine: The architecture, as for `make_filter`.
    """
    calls = _JUDGED[machine]
    code = _start(machine)
    for name in ("memfd_create", "shmget", "semget", "msgget"):
        code += _judge(calls[name], [(RETURN, 0, 0, REFUSE)])
    shared = [(ANY_BIT, 0, 2, MAP_ANONYMOUS), (ANY_BIT, 0, 1, MAP_SHARED)]
    code += _judge(calls["mmap"], [_load(3), *shared, (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)])
    # The sizes of pipes are counted for a user, and the host's processes have the same one.
    code += _judge(calls["fcntl"], _refuse_if(1, (F_SETPIPE_SZ,)))
    return _pack(code)


def _start(machine: str) -> list[Step]:
    """Return the steps that check the architecture and load the number of the call."""
    return [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, ARCHITECTURES[machine]),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 0, 1, FOREIGN_ABI),
        (RETURN, 0, 0, REFUSE),
    ]


def _judge(number: int, block: list[Step]) -> list[Step]:
    """Return the steps that run `block`, which must return, for one system call."""
    return [(EQUAL, 0, len(block), number), *block]


def _load(argument: int) -> Step:
    """Return the step that loads the low 32 bits of an argument. The kernel ignores the others of those judged here."""
    return (LOAD, 0, 0, FIRST_ARGUMENT + 8 * argument)


def _refuse_any_bit(argument: int, bits: int) -> list[Step]:
    return [_load(argument), (ANY_BIT, 0, 1, bits), (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]


def _refuse_unless_zero(*arguments: int) -> list[Step]:
    steps: list[Step] = []
    for argument in arguments:
        steps += [_load(argument), (EQUAL, 1, 0, 0), (RETURN, 0, 0, REFUSE)]
    return [*steps, (RETURN, 0, 0, ALLOW)]


def _refuse_unless(argument: int, values: tuple[int, ...]) -> list[Step]:
    steps = [_load(argument)]
    for value in values:
        steps += [(EQUAL, 0, 1, value), (RETURN, 0, 0, ALLOW)]
    return [*steps, (RETURN, 0, 0, REFUSE)]


def _refuse_if(argument: int, values: tuple[int, ...]) -> list[Step]:
    steps = [_load(argument)]
    for value in values:
        steps += [(EQUAL, 0, 1, value), (RETURN, 0, 0, REFUSE)]
    return [*steps, (RETURN, 0, 0, ALLOW)]


def _judge_socket() -> list[Step]:
    internet, netlink = _refuse_unless(2, INTERNET_PROTOCOLS), _refuse_unless(2, (NETLINK_ROUTE,))
    return [
        _load(0),
        (EQUAL, 0, 1, AF_UNIX),
        (RETURN, 0, 0, ALLOW),
        (EQUAL, 0, len(netlink), AF_NETLINK),
        *netlink,
        (EQUAL, 1, 0, AF_INET),
        (EQUAL, 0, len(internet), AF_INET6),
        *internet,
        (RETURN, 0, 0, REFUSE),
    ]


def _pack(code: list[Step]) -> bytes:
    return b"".join(struct.pack("<HBBI", *step) for step in [*code, (RETURN, 0, 0, ALLOW)])
