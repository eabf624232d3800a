"""Checks that nothing of one program is left for the next one."""

from __future__ import annotations

import time

from .context import QUICK, SMALL, CheckContext, require

MARK = "kintsugi-conformance-mark"
SCAN = """
    import ctypes
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
    mark, found, step = "".join(reversed("{reversed}")).encode(), 0, 1 << 20
    own = {{id(mark)}}
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
        for line in maps.readlines():
            span, rights = line.split()[:2]
            start, end = (int(x, 16) for x in span.split("-"))
            if "r" not in rights or "[v" in line:
                continue
            at = start
            while at < end:
                try:
                    memory.seek(at)
                    block = memory.read(min(step, end - at))
                except (OSError, OverflowError, ValueError):
                    break
                found += block.count(mark[:-3] + b"-{tail}")
                at += step
    print(found)
"""


def leaves_no_files(context: CheckContext) -> None:
    """Files, links, sockets and pipes must be removed from every writable directory, whatever their names."""
    program = """
        import os, socket
        for place in ("/tmp", "/dev/shm", "/dev/mqueue", os.getcwd()):
            try:
                for name in ("a", ".hidden", "ünïcode", "with space", b"\\xff\\xfe", "-rf"):
                    open(os.path.join(os.fsencode(place), os.fsencode(name)), "w").close()
                os.symlink("/etc/passwd", os.path.join(place, "link"))
                os.mkfifo(os.path.join(place, "pipe"))
                socket.socket(socket.AF_UNIX).bind(os.path.join(place, "socket"))
            except OSError:
                pass
    """
    context.run(program)
    look = """
        import os
        places = [place for place in ("/tmp", "/dev/shm", "/dev/mqueue", ".") if os.path.isdir(place)]
        print(sorted({name for place in places for name in os.listdir(place)}))
    """
    context.expect_output(look, "['main.py']")


def leaves_no_protected_files(context: CheckContext) -> None:
    """Folders without permissions and trees that are too deep for a path must be removed."""
    program = """
        import os
        os.makedirs("closed/inner"); open("closed/inner/f", "w").close()
        os.chmod("closed/inner", 0); os.chmod("closed", 0)
        for number in range(3000):
            os.mkdir("d" * 50); os.chdir("d" * 50)
    """
    context.run(program)
    context.expect_output("import os; print(os.listdir())", "['main.py']")


def leaves_directory_attributes_unchanged(context: CheckContext) -> None:
    """Mode, times and attributes of the working directory must be reset."""
    look = "import os; s = os.stat('.'); print(oct(s.st_mode), s.st_atime, os.listxattr('.'))"
    before = context.run(look).text
    program = """
        import os
        for act in (lambda: os.setxattr(".", "user.mark", b"1"), lambda: os.utime(".", (12345, 12345)),
                    lambda: os.chmod(".", 0o750)):
            try:
                act()
            except OSError:
                pass
    """
    context.run(program)
    after = context.run(look).text
    require(before == after, f"before: {before!r}, after: {after!r}")


def leaves_no_settings(context: CheckContext) -> None:
    """Settings of the namespaces, flags of folders and the worker's I/O priority must be the same afterwards."""
    look = """
        import ctypes, fcntl, glob, os, platform
        names = ["fs/mqueue/*", "kernel/shm*", "kernel/sem", "kernel/msg*", "kernel/*domainname", "user/max_*"]
        names += ["net/core/somaxconn", "net/ipv4/ip_default_ttl", "net/ipv4/ip_local_port_range"]
        state = {}
        for path in sorted(path for name in names for path in glob.glob("/proc/sys/" + name)):
            try:
                state[path] = open(path).read()
            except OSError:
                pass
        get = {"x86_64": 252, "aarch64": 31}.get(platform.machine(), -1)
        state["priority"] = ctypes.CDLL(None).syscall(get, 1, os.getppid())
        for place in ("/tmp", "/dev/shm", "/dev/mqueue"):
            flags = bytearray(8)
            try:
                fcntl.ioctl(os.open(place, os.O_RDONLY), 0x80086601, flags)
            except OSError:
                pass
            state[place] = bytes(flags), sorted(os.listxattr(place)) if os.path.isdir(place) else None
        print(state)
    """
    program = """
        import ctypes, fcntl, glob, os, platform, struct
        for path in glob.glob("/proc/sys/**", recursive=True):
            try:
                text = open(path).read().split()
                open(path, "w").write(" ".join("1" for _ in text))
                print("changed", path)
            except OSError:
                pass
        put = {"x86_64": 251, "aarch64": 30}.get(platform.machine(), -1)
        for kind, who in ((1, os.getppid()), (1, 0), (2, 0), (3, os.getuid())):
            ctypes.CDLL(None).syscall(put, kind, who, (2 << 13) | 6)
        for place in ("/tmp", "/dev/shm", "/dev/mqueue"):
            extended = struct.pack("<5I8x", 0x40, 0, 0, 0, 0)
            for request, data in ((0x40086602, struct.pack("<q", 0x40)), (0x401C5820, extended)):
                try:
                    fcntl.ioctl(os.open(place, os.O_RDONLY), request, data)
                except OSError:
                    pass
            try:
                os.setxattr(place, "user.x", b"1")
            except OSError:
                pass
    """
    before = context.run(look).text
    for _ in range(2):
        context.expect_output(program, "")
        after = context.run(look).text
        require(before == after, f"before: {before!r}, after: {after!r}")


def leaves_no_daemon(context: CheckContext) -> None:
    """A detached process must end together with the program that started it."""
    program = """
        import os, signal, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                    signal.signal(number, signal.SIG_IGN)
                os.closerange(0, 10)
                while True:
                    try:
                        open("/tmp/alive", "w").close()
                    except OSError:
                        pass
                    time.sleep(0.01)
            os._exit(0)
        time.sleep(0.1)
        print("left")
    """
    context.expect_output(program, "left")
    look = """
        import os, time
        time.sleep(0.2)
        print(os.path.exists("/tmp/alive"), len([n for n in os.listdir("/proc") if n.isdigit()]))
    """
    context.expect_output(look, "False 2")


def does_not_wait_for_daemons(context: CheckContext) -> None:
    """The result must be returned when the program ends, even if a child keeps its output open."""
    start = time.monotonic()
    context.expect_output("import os, time\nif os.fork() == 0:\n    time.sleep(15)\nelse:\n    print('over')", "over")
    require(time.monotonic() - start < 10, "the result was returned only after the child had ended")


def leaves_no_shared_memory(context: CheckContext) -> None:
    """Shared memory, semaphores and message queues must be removed, both System V and POSIX."""
    program = """
        import ctypes, multiprocessing.shared_memory as shm
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmget(4711, 4096, 0o1666), libc.semget(4711, 1, 0o1666), libc.msgget(4711, 0o1666)
        libc.mq_open(b"/mark", 0o102, 0o666, None)
        try:
            shm.SharedMemory("mark", create=True, size=64)
        except OSError:
            pass
    """
    context.run(program)
    look = """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        print(libc.shmget(4711, 4096, 0o666), libc.semget(4711, 1, 0o666), libc.msgget(4711, 0o666),
              libc.mq_open(b"/mark", 0), os.path.exists("/dev/shm/mark"))
    """
    context.expect_output(look, "-1 -1 -1 -1 False")


def leaves_no_environment(context: CheckContext) -> None:
    """Changes of environment variables, working directory, umask and modules must not affect the next program."""
    program = """
        import builtins, json, os
        os.environ["MARK"] = "1"; os.umask(0o777); os.chdir("/"); json.dumps = None; builtins.len = None
    """
    context.run(program)
    look = """
        import json, os
        here = os.path.dirname(os.path.abspath(__file__))
        print("MARK" in os.environ, oct(os.umask(0)), os.getcwd() == here, json.dumps(len("ab")))
    """
    context.expect_output(look, "False 0o22 True 2")


def leaves_no_data_in_memory(context: CheckContext) -> None:
    """The next program's memory must not contain a program's source, input, output, files or file names."""
    secret = f"{MARK[:-3]}-secret"
    return_files = [f"{secret}/{secret}", f"{secret}-given", *(f"{secret}-{number}" for number in range(50))]
    program = f"""
        import os, sys
        text = sys.stdin.read() + {secret!r}
        print(text); print(text, file=sys.stderr)
        os.mkdir({secret!r}); open({secret!r} + "/" + {secret!r}, "w").write(text)
        os.environ[{secret!r}] = text
    """
    context.run(
        program,
        stdin="x" * 30000 + secret,
        files={secret + "-given": secret},
        return_files=return_files,
    )
    # The scanning program assembles the mark at run time, so that it does not find its own source.
    scan = SCAN.format(reversed=MARK[::-1], tail='secr" + b"et')
    result = context.run(scan)
    require(result.exit == 0, f"the scan ended with exit code {result.exit}: {result.errors[-300:]}")
    require(int(result.text) <= 1, f"the memory contains the secret {result.text.strip()} times")


def leaves_no_ports(context: CheckContext) -> None:
    """A used port of the loopback device must be usable again immediately."""
    program = """
        import socket
        listener = socket.socket()
        listener.bind(("127.0.0.1", 5000))
        listener.listen()
        client = socket.create_connection(("127.0.0.1", 5000))
        server, _ = listener.accept()
        server.close(); client.close(); listener.close()
        print("talked")
    """
    for _ in range(2):
        context.expect_output(program, "talked")


def leaves_nothing_after_500_programs(context: CheckContext) -> None:
    """500 programs in a row must leave no processes, files or file descriptors, and must not add workers."""
    look = """
        import os
        processes = [name for name in os.listdir("/proc") if name.isdigit()]
        print(len(processes), sorted(os.listdir("/tmp")), len(os.listdir("/proc/self/fd")))
    """
    context.check_still_works()
    before, n_workers = context.run(look).text, len(context.sandbox.open_workers())
    for number in range(500):
        program = f"import os\nopen('f', 'w').write('x' * 1000)\nos.fork()\nprint({number})"
        result = context.run(program, QUICK)
        require(str(number) in result.text and result.exit == 0, f"program {number} of 500: {result}")
    after = context.run(look).text
    require(before == after, f"before: {before!r}, after: {after!r}")
    require(len(context.sandbox.open_workers()) <= n_workers + 1, f"open workers are {context.sandbox.open_workers()}")


def restores_used_resources(context: CheckContext) -> None:
    """After a program has used up memory, disk and processes, the next one must be able to use as much."""
    program = """
        import os
        open("fill", "wb").write(b"x" * (7 << 20))
        hoard = bytearray(50 << 20)
        for _ in range(10):
            if os.fork() == 0:
                import time
                time.sleep(60)
        print("used")
    """
    for _ in range(3):
        context.expect_output(program, "used", SMALL)
