"""Checks: nothing of one program is there for the next one."""

from __future__ import annotations

import time

from .bench import QUICK, SMALL, Bench, require

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


def leaves_no_files(bench: Bench) -> None:
    """Files, hidden ones, links, sockets and pipes are gone, in every directory that can be written to."""
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
    bench.run(program)
    look = """
        import os
        places = [place for place in ("/tmp", "/dev/shm", "/dev/mqueue", ".") if os.path.isdir(place)]
        print(sorted({name for place in places for name in os.listdir(place)}))
    """
    bench.says(look, "['main.py']")


def leaves_no_protected_files(bench: Bench) -> None:
    """Folders without any permission and trees too deep for a path are gone too."""
    program = """
        import os
        os.makedirs("closed/inner"); open("closed/inner/f", "w").close()
        os.chmod("closed/inner", 0); os.chmod("closed", 0)
        for number in range(3000):
            os.mkdir("d" * 50); os.chdir("d" * 50)
    """
    bench.run(program)
    bench.says("import os; print(os.listdir())", "['main.py']")


def leaves_no_marks_on_the_directory(bench: Bench) -> None:
    """Mode, times and attributes of the directory itself are as before."""
    look = "import os; s = os.stat('.'); print(oct(s.st_mode), s.st_atime, os.listxattr('.'))"
    before = bench.run(look).text
    program = """
        import os
        for act in (lambda: os.setxattr(".", "user.mark", b"1"), lambda: os.utime(".", (12345, 12345)),
                    lambda: os.chmod(".", 0o750)):
            try:
                act()
            except OSError:
                pass
    """
    bench.run(program)
    after = bench.run(look).text
    require(before == after, f"before: {before!r}, after: {after!r}")


def leaves_no_daemon(bench: Bench) -> None:
    """A process that has detached itself is ended with the program that started it."""
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
    bench.says(program, "left")
    look = """
        import os, time
        time.sleep(0.2)
        print(os.path.exists("/tmp/alive"), len([n for n in os.listdir("/proc") if n.isdigit()]))
    """
    bench.says(look, "False 2")


def does_not_wait_for_daemons(bench: Bench) -> None:
    """A program is over when it is over, though a child of its holds the output open."""
    start = time.monotonic()
    bench.says("import os, time\nif os.fork() == 0:\n    time.sleep(15)\nelse:\n    print('over')", "over")
    require(time.monotonic() - start < 10, "the result came only with the child's end")


def leaves_no_shared_memory(bench: Bench) -> None:
    """Shared memory, semaphores and message queues, of both kinds, are gone."""
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
    bench.run(program)
    look = """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        print(libc.shmget(4711, 4096, 0o666), libc.semget(4711, 1, 0o666), libc.msgget(4711, 0o666),
              libc.mq_open(b"/mark", 0), os.path.exists("/dev/shm/mark"))
    """
    bench.says(look, "-1 -1 -1 -1 False")


def leaves_no_environment(bench: Bench) -> None:
    """Variables, the working directory, the umask, modules and their patches are a program's own."""
    program = """
        import builtins, json, os
        os.environ["MARK"] = "1"; os.umask(0o777); os.chdir("/"); json.dumps = None; builtins.len = None
    """
    bench.run(program)
    look = """
        import json, os
        here = os.path.dirname(os.path.abspath(__file__))
        print("MARK" in os.environ, oct(os.umask(0)), os.getcwd() == here, json.dumps(len("ab")))
    """
    bench.says(look, "False 0o22 True 2")


def leaves_nothing_in_memory(bench: Bench) -> None:
    """What a program was, read, printed, wrote and named is not in the memory that the next one starts with."""
    secret = f"{MARK[:-3]}-secret"
    wanted = [f"{secret}/{secret}", f"{secret}-given", *(f"{secret}-{number}" for number in range(50))]
    program = f"""
        import os, sys
        text = sys.stdin.read() + {secret!r}
        print(text); print(text, file=sys.stderr)
        os.mkdir({secret!r}); open({secret!r} + "/" + {secret!r}, "w").write(text)
        os.environ[{secret!r}] = text
    """
    bench.run(
        program,
        stdin="x" * 30000 + secret,
        files={secret + "-given": secret},
        want=wanted,
    )
    # The mark is put together inside, so that the scanning program does not find its own source.
    scan = SCAN.format(reversed=MARK[::-1], tail='secr" + b"et')
    result = bench.run(scan)
    require(result.exit == 0, f"the scan ended with {result.exit}: {result.errors[-300:]}")
    require(int(result.text) <= 1, f"it is there {result.text.strip()} times")


def leaves_no_ports(bench: Bench) -> None:
    """A port of the loopback device that was used can be used again at once."""
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
        bench.says(program, "talked")


def leaves_nothing_after_500_programs(bench: Bench) -> None:
    """500 programs in a row leave no processes, no files, no descriptors, and hold no more containers than before."""
    look = """
        import os
        processes = [name for name in os.listdir("/proc") if name.isdigit()]
        print(len(processes), sorted(os.listdir("/tmp")), len(os.listdir("/proc/self/fd")))
    """
    bench.still_works()
    before, held = bench.run(look).text, len(bench.sandbox.holdings())
    for number in range(500):
        program = f"import os\nopen('f', 'w').write('x' * 1000)\nos.fork()\nprint({number})"
        result = bench.run(program, QUICK)
        require(str(number) in result.text and result.exit == 0, f"program {number} of 500: {result}")
    after = bench.run(look).text
    require(before == after, f"before: {before!r}, after: {after!r}")
    require(len(bench.sandbox.holdings()) <= held + 1, f"it holds {bench.sandbox.holdings()}")


def gives_back_what_was_used_up(bench: Bench) -> None:
    """After a program that used up memory, disk and processes, the next one has all of them."""
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
        bench.says(program, "used", SMALL)
