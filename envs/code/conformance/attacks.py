"""Checks that a program can neither harm its worker, which would lose its result, nor use up what others need."""

from __future__ import annotations

import dataclasses
import textwrap
import threading
import time

from .context import QUICK, SMALL, CheckContext, CheckFailed, require

_ALLOWED_FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK. A network namespace separates them."""
_MANY_SMALL_PROCESSES = """
    import ctypes, os
    for _ in range(200):
        try:
            if os.fork() == 0:
                break
        except OSError:
            pass
    for act in (lambda: ctypes.CDLL(None).prctl(4, 1, 0, 0, 0),
                lambda: open("/proc/self/oom_score_adj", "w").write("0")):
        try:
            act()
        except OSError:
            pass
    hoard = []
    while True:
        hoard.append(bytearray(b"x") * (1 << 16))
"""


def cannot_touch_the_worker(context: CheckContext) -> None:
    """A program must be refused to change the limits, priorities, CPUs or scheduling of its worker or of its user."""
    program = """
        import ctypes, os, platform, resource, struct
        libc = ctypes.CDLL(None, use_errno=True)
        limits = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
        acts = {f"limit {n}": lambda worker, n=n: resource.prlimit(worker, n, (3, 3)) for n in limits}
        acts["priority"] = lambda worker: os.setpriority(os.PRIO_PROCESS, worker, 19)
        acts["priority of the group"] = lambda worker: os.setpriority(os.PRIO_PGRP, worker, 19)
        acts["priority of the user"] = lambda worker: os.setpriority(os.PRIO_USER, os.getuid(), 19)
        acts["priority of this user"] = lambda worker: os.setpriority(os.PRIO_USER, 0, 19)
        acts["cpus"] = lambda worker: os.sched_setaffinity(worker, {min(os.sched_getaffinity(0))})
        acts["scheduler"] = lambda worker: os.sched_setscheduler(worker, os.SCHED_IDLE, os.sched_param(0))
        acts["parameters"] = lambda worker: os.sched_setparam(worker, os.sched_param(0))
        numbers = {"x86_64": (251, 314), "aarch64": (30, 274)}.get(platform.machine(), ())
        def call(*arguments):
            if libc.syscall(*arguments) != 0:
                raise OSError(ctypes.get_errno(), "refused")
        if numbers:
            acts["input and output"] = lambda worker: call(numbers[0], 1, worker, (2 << 13) | 7)
            attributes = struct.pack("<IIQiIQQQ", 48, 5, 0, 0, 0, 0, 0, 0)
            acts["attributes"] = lambda worker: call(numbers[1], worker, attributes, 0)
        for worker in {1, os.getppid()}:
            for name, act in acts.items():
                try:
                    act(worker)
                    print("changed:", name)
                except OSError:
                    pass
        os.setpriority(os.PRIO_PROCESS, 0, 5); resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
        os.sched_setaffinity(0, os.sched_getaffinity(0))
        print("its own were changed")
    """
    context.expect_output(program, "its own were changed")
    context.check_still_works()


def gives_a_result_whatever_is_used_up(context: CheckContext) -> None:
    """A program that uses up files, disk, memory or processes must have a result. It is no infrastructure failure."""
    fill = """
        import ctypes, os, sys, threading
        for place in ("/tmp", "/dev/shm", "/dev/mqueue"):
            try:
                for number in range(100):
                    with open(f"{place}/fill{number}", "wb", buffering=0) as file:
                        while file.write(b"x" * 65536) == 65536:
                            pass
            except OSError:
                pass
    """
    endings = {
        "memory": "hoard = []\nwhile True:\n    hoard.append(bytearray(b'x') * (1 << 20))",
        "memory of many small processes": _MANY_SMALL_PROCESSES,
        "processes": "while True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
        "threads": """
            lock = threading.Lock(); lock.acquire()
            while True:
                try:
                    threading.Thread(target=lock.acquire).start()
                except RuntimeError:
                    os._exit(0)
        """,
        "files": "os.closerange(0, 3)\nwhile True:\n    os.dup(os.open('/tmp', os.O_RDONLY))",
        "output": "while True:\n    os.write(1, b'x' * 65536); os.write(2, b'x' * 65536)",
        "folders": "while True:\n    os.mkdir('d'); os.chdir('d')",
    }
    limits = dataclasses.replace(SMALL, seconds=4, cpu_seconds=1)
    for kind, ending in endings.items():
        source = textwrap.dedent(fill) + textwrap.dedent(ending)
        try:
            result = context.run(source, limits, return_files=["fill0", "fill1"])
        except Exception as error:
            raise CheckFailed(f"using up {kind} raised {type(error).__name__}: {error}") from None
        require(result.exit != 0 or kind == "threads", f"using up {kind} was no failure: {str(result)[:300]}")
        context.check_still_works()


def has_no_sockets_outside_namespaces(context: CheckContext) -> None:
    """Only socket families that a network namespace separates must exist, with the usual protocols."""
    program = f"""
        import socket
        for family in range(64):
            for kind in (1, 2, 3, 5):
                for protocol in (0, 1, 4, 15, 132, 136, 262):
                    try:
                        socket.socket(family, kind, protocol).close()
                    except OSError:
                        continue
                    if family not in {_ALLOWED_FAMILIES} or protocol > 1:
                        print(family, kind, protocol)
    """
    context.expect_output(program, "")


def has_no_dangerous_system_calls(context: CheckContext) -> None:
    """Calls that widen the attack surface, or use up what the machine shares, must be refused."""
    program = """
        import ctypes, errno, platform
        libc = ctypes.CDLL(None, use_errno=True)
        shared = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
                  "fsopen": 430, "clone3": 435, "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442,
                  "memfd_secret": 447, "newer": 468, "unknown": 600}
        calls = {
            "x86_64": {"ptrace": 101, "personality": 135, "mount": 165, "io_setup": 206, "kexec_load": 246,
                       "keyctl": 250, "inotify_init": 253, "unshare": 272, "vmsplice": 278, "inotify_init1": 294,
                       "perf_event_open": 298, "fanotify_init": 300, "setns": 308, "process_vm_readv": 310,
                       "bpf": 321, "userfaultfd": 323},
            "aarch64": {"io_setup": 0, "inotify_init1": 26, "mount": 40, "vmsplice": 75, "personality": 92,
                        "unshare": 97, "kexec_load": 104, "ptrace": 117, "keyctl": 219, "perf_event_open": 241,
                        "fanotify_init": 262, "setns": 268, "process_vm_readv": 270, "bpf": 280, "userfaultfd": 282},
        }.get(platform.machine(), {})
        for name, number in {**calls, **shared}.items():
            ctypes.set_errno(0)
            if libc.syscall(number, 0, 0, 0, 0, 0, 0) != -1 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
                print(name, errno.errorcode.get(ctypes.get_errno()))
    """
    context.expect_output(program, "")


def cannot_use_up_what_other_programs_need(context: CheckContext) -> None:
    """Signals, message queues and pipes of one program must not be missing in another one at the same time."""
    take = """
        import ctypes, os, signal, time
        libc = ctypes.CDLL(None, use_errno=True)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
        def count(most, act):
            for number in range(most):
                try:
                    if act(number) < 0:
                        return number
                except OSError:
                    return number
            return most
        keep = []
        def pipe(number):
            keep.append(os.pipe())
            return 0 if os.write(keep[-1][1], b"x" * 4096) == 4096 else -1
        def take(signals, queues, pipes):
            return (count(signals, lambda number: libc.sigqueue(os.getpid(), signal.SIGRTMIN, 0)),
                    count(queues, lambda number: libc.mq_open(b"/q%d" % number, 0o102, 0o600, None)),
                    count(pipes, pipe))
    """
    few = "print(*take(8, 1, 8))"
    greedy = """
        for _ in range(12):
            if os.fork() == 0:
                break
        take(200_000, 1000, 120)
        time.sleep(3)
    """
    take = textwrap.dedent(take)
    before = context.run(take + few).text
    threads = [threading.Thread(target=context.run, args=(take + textwrap.dedent(greedy), QUICK)) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(2)
        during = context.run(take + few).text
    finally:
        for thread in threads:
            thread.join()
    require(before.startswith("8 "), f"a program alone got {before!r}")
    require(during == before, f"the counts alone were {before!r}, and beside greedy programs {during!r}")
