"""Checks that a program can access only its own processes and its own directory."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from pathlib import Path

from .context import QUICK, CheckContext, require


def has_no_network(context: CheckContext) -> None:
    """Addresses of the host and of networks must not be reachable."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        program = f"""
            import socket
            for host in ("127.0.0.1", "172.17.0.1", "10.255.255.1", "::1"):
                for family in (socket.AF_INET, socket.AF_INET6):
                    try:
                        with socket.socket(family) as s:
                            s.settimeout(0.3)
                            s.connect((host, {port}))
                            print("reached", host)
                    except OSError:
                        pass
            names = [name for _, name in socket.if_nameindex() if name not in ("lo", "tunl0", "sit0", "ip6tnl0")]
            print(names)
        """
        context.expect_output(program, "[]")


def has_no_dns(context: CheckContext) -> None:
    """Host names must not resolve."""
    program = """
        import socket
        for name in ("example.com", "one.one.one.one", "host.docker.internal"):
            try:
                print(name, socket.getaddrinfo(name, 80))
            except OSError:
                pass
    """
    context.expect_output(program, "")


def has_no_raw_sockets(context: CheckContext) -> None:
    """Raw and packet sockets must be refused."""
    program = """
        import socket
        for kind in ((socket.AF_INET, socket.SOCK_RAW, 1), (socket.AF_PACKET, socket.SOCK_RAW, 3)):
            try:
                socket.socket(*kind)
                print("had", kind)
            except OSError:
                pass
    """
    context.expect_output(program, "")


def cannot_read_host_files(context: CheckContext) -> None:
    """Files of the host and system secrets must not be readable, neither by path nor through /proc."""
    with tempfile.TemporaryDirectory() as folder:
        secret = Path(folder) / "secret"
        secret.write_text("host secret")
        home = Path.home()
        program = f"""
            import glob, os
            secret = {str(secret)!r}
            for path in (secret, "/proc/1/root" + secret, "/etc/shadow", "/root/.ssh", {str(home)!r} + "/.ssh"):
                try:
                    print("read", path, os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(20))
                except OSError:
                    pass
            print(glob.glob("/home/*"), [n for n in glob.glob("/root/*")], os.path.exists({str(folder)!r}))
        """
        context.expect_output(program, "[] [] False")


def cannot_see_the_host_environment(context: CheckContext) -> None:
    """Environment variables of the host must not be visible."""
    os.environ["KINTSUGI_CONFORMANCE_SECRET"] = "host secret"
    try:
        with CheckContext(context.subject) as new_context:
            program = """
                import os, glob
                seen = str(dict(os.environ))
                for path in glob.glob("/proc/[0-9]*/environ"):
                    try:
                        seen += open(path).read()
                    except OSError:
                        pass
                print("secret" in seen.lower(), len(os.environ) < 12)
            """
            new_context.expect_output(program, "False True")
    finally:
        del os.environ["KINTSUGI_CONFORMANCE_SECRET"]


def cannot_write_outside(context: CheckContext) -> None:
    """Only the directories for temporary files may be writable."""
    program = """
        import os
        written = []
        for top, folders, files in os.walk("/"):
            if top.startswith(("/proc", "/sys/devices", "/sys/bus", "/sys/kernel")):
                folders.clear()
                continue
            try:
                path = os.path.join(top, "kintsugi-was-here")
                open(path, "w").close()
                os.unlink(path)
                written.append(top)
            except OSError:
                pass
        print(sorted({"/" + "/".join(path.split("/")[1:3]) for path in written} - {"/tmp", "/dev/shm", "/dev/mqueue"}))
    """
    context.expect_output(program, "[]")


def cannot_change_the_system(context: CheckContext) -> None:
    """Kernel settings and devices of the host must not be accessible."""
    program = """
        import glob, os
        places = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches",
                  "/proc/sysrq-trigger", "/sys/kernel/mm/transparent_hugepage/enabled", "/proc/sys/kernel/panic"]
        places += [path for name in ("sd*", "vd*", "nvme*", "mem", "kmsg", "kvm") for path in glob.glob("/dev/" + name)]
        places += glob.glob("/sys/fs/cgroup/**/cgroup.procs", recursive=True)[:50]
        for path in places:
            try:
                os.close(os.open(path, os.O_WRONLY))
                print("opened", path)
            except OSError:
                pass
        try:
            os.mknod("device", 0o600 | 0o020000, os.makedev(1, 1))
            print("made a device")
        except OSError:
            pass
    """
    context.expect_output(program, "")


def is_not_root(context: CheckContext) -> None:
    """A program must run without root, without capabilities and without a way to gain them."""
    program = """
        import os
        about = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
        print(0 in os.getresuid() + os.getresgid(), int(about["CapEff"], 16) | int(about["CapPrm"], 16),
              about["NoNewPrivs"].strip(), about["Seccomp"].strip())
        try:
            os.setuid(0)
            print("became root")
        except OSError:
            pass
    """
    context.expect_output(program, "False 0 1 2")


def cannot_make_namespaces(context: CheckContext) -> None:
    """New namespaces, in which a program would be root, and mounts must be refused."""
    program = """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        for flag in (0x10000000, 0x00020000, 0x40000000, 0x20000000, 0x08000000, 0x04000000):
            print("unshared" if libc.unshare(flag) == 0 else "", end="")
        print("mounted" if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0 else "", end="")
        print("changed root" if libc.chroot(b"/tmp") == 0 else "", end="")
    """
    context.expect_output(program, "")


def cannot_reach_the_worker(context: CheckContext) -> None:
    """Programs must not be able to read, trace or write to the worker."""
    program = """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        worker = os.getppid()
        for name in ("mem", "environ", "maps", "fd/0", "fd/1", "fd/3", "root/etc", "cwd/etc"):
            try:
                open(f"/proc/{worker}/{name}", "rb").read(1)
                print("opened", name)
            except OSError:
                pass
        print("traced" if libc.ptrace(16, worker, 0, 0) == 0 else "", end="")
        buffer = ctypes.create_string_buffer(8)
        class Part(ctypes.Structure):
            _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
        here, there = Part(ctypes.addressof(buffer), 8), Part(id(type), 8)
        for call in ("process_vm_readv", "process_vm_writev"):
            if getattr(libc, call)(worker, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) > 0:
                print(call, "worked")
    """
    context.expect_output(program, "")


def cannot_end_the_worker(context: CheckContext) -> None:
    """After a program has sent signals to all processes, its result must be returned and the next one must run."""
    program = """
        import os, signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGSTOP, signal.SIGKILL):
            for target in (os.getppid(), 1, -1):
                try:
                    os.kill(target, number)
                except OSError:
                    pass
        print("alive")
    """
    context.expect_output(program, "alive")
    context.check_still_works()


def cannot_change_the_worker_permanently(context: CheckContext) -> None:
    """Changes of the worker's limits, priority or CPU affinity must not affect the next program."""
    state = """
        import os, resource
        print(resource.getrlimit(resource.RLIMIT_NOFILE), os.getpriority(0, 0), os.sched_getaffinity(0))
    """
    before = context.run(state).text
    program = """
        import os, resource
        worker = os.getppid()
        for act in (lambda: os.setpriority(os.PRIO_PROCESS, worker, 19),
                    lambda: os.sched_setaffinity(worker, {min(os.sched_getaffinity(0))}),
                    lambda: resource.prlimit(worker, resource.RLIMIT_NOFILE, (20, 20)),
                    lambda: resource.prlimit(worker, resource.RLIMIT_AS, (1 << 28, 1 << 28)),
                    lambda: resource.prlimit(worker, resource.RLIMIT_CPU, (0, 0))):
            try:
                act()
            except OSError:
                pass
    """
    for _ in range(2):
        context.run(program)
        after = context.run(state).text
        require(after == before, f"the state was {before!r} before and {after!r} after the program")


def cannot_forge_results(context: CheckContext) -> None:
    """Only the three standard file descriptors may be open, so that a program cannot forge messages of the worker."""
    program = """
        import os
        print([fd for fd in range(3, 300) if os.path.exists(f"/proc/self/fd/{fd}")])
        for fd in range(3, 300):
            try:
                os.write(fd, b"R" + b"\\0" * 40)
                print("wrote to", fd)
            except OSError:
                pass
    """
    result = context.run(program)
    require(result.text in ("[]\n", "[3]\n"), f"the program printed {result.text!r}")
    context.check_still_works()


def sees_no_other_processes(context: CheckContext) -> None:
    """A program must see only itself and its worker, even while other programs run."""
    other = threading.Thread(target=context.run, args=("import time; time.sleep(1)",))
    other.start()
    context.expect_output("import os; print(len([n for n in os.listdir('/proc') if n.isdigit()]))", "2")
    other.join()


def cannot_talk_to_docker(context: CheckContext) -> None:
    """The Docker engine's socket must not be accessible under any path."""
    program = """
        import os, socket
        paths = []
        for top, folders, files in os.walk("/"):
            folders[:] = [] if top in ("/proc", "/sys") else folders
            paths += [os.path.join(top, name) for name in files if name.endswith((".sock", "docker"))]
        for path in [*paths, "/var/run/docker.sock", "/run/docker.sock", "\\0/var/run/docker.sock"]:
            try:
                socket.socket(socket.AF_UNIX).connect(path)
                print("connected to", path)
            except OSError:
                pass
    """
    context.expect_output(program, "")


def cannot_use_keyrings(context: CheckContext) -> None:
    """The kernel's keyrings, which outlive processes, must not be usable."""
    program = """
        import ctypes, platform
        libc = ctypes.CDLL(None, use_errno=True)
        add_key = {"x86_64": 248, "aarch64": 217}.get(platform.machine())
        if add_key:
            print("stored" if libc.syscall(add_key, b"user", b"k", b"secret", 6, -4) > 0 else "refused")
        else:
            print("refused")
    """
    context.expect_output(program, "refused")


def cannot_use_setuid_programs(context: CheckContext) -> None:
    """Programs with the setuid bit must not run as root."""
    program = """
        import os, subprocess
        for top in ("/bin", "/usr/bin", "/sbin", "/usr/sbin"):
            for name in os.listdir(top) if os.path.isdir(top) else ():
                path = os.path.join(top, name)
                try:
                    about = os.stat(path)
                except OSError:
                    continue
                if about.st_mode & 0o4000 and about.st_uid == 0 and name == "su":
                    done = subprocess.run([path, "-c", "id -u"], capture_output=True, stdin=subprocess.DEVNULL)
                    print(done.stdout) if done.stdout.strip() == b"0" else None
    """
    context.expect_output(program, "", QUICK)
