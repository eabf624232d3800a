"""Parts of the sandboxes that can be tested without an open sandbox.

These are the pool, requests, owners, cgroups, the seccomp filter, the image and the start of the worker.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from kintsugi.envs.code.sandbox import Limits, cgroup, image, owner, seccomp, user_ids
from kintsugi.envs.code.sandbox.guest.filter import choose_filters
from kintsugi.envs.code.sandbox.guest.idle import IdleTime
from kintsugi.envs.code.sandbox.pool import Pool
from kintsugi.envs.code.sandbox.worker_handle import Request, Resources, WorkerHandle
from kintsugi.errors import InfraError, UsageError

SMALL, LARGE = Resources.of(Limits()), Resources.of(Limits(memory=1 << 30))


class FakeStream:
    """A stream without a worker at its other end."""

    def __init__(self) -> None:
        self.alive = True
        self.closed = False

    def is_idle(self) -> bool:
        return self.alive

    def close(self) -> None:
        self.closed = True


class FakeLauncher:
    """Launches workers that do nothing, and records them."""

    def __init__(self) -> None:
        self.made: list[tuple[WorkerHandle, FakeStream]] = []

    def __call__(self, resources: Resources) -> WorkerHandle:
        stream = FakeStream()
        worker = WorkerHandle(f"worker{len(self.made)}", resources, stream)
        self.made.append((worker, stream))
        return worker


def test_a_healthy_worker_is_reused_and_an_unhealthy_one_is_discarded():
    launch = FakeLauncher()
    pool = Pool(launch, 2)
    with pool.worker(SMALL) as first:
        pass
    with pool.worker(SMALL) as second:
        second.healthy = False
    assert first is second
    assert launch.made[0][1].closed
    with pool.worker(SMALL) as third:
        assert third is not first
    assert [worker.name for worker in pool.workers()] == ["worker1"]


def test_a_worker_that_died_or_expired_while_idle_is_replaced():
    launch = FakeLauncher()
    pool = Pool(launch, 2)
    with pool.worker(SMALL):
        pass
    launch.made[0][1].alive = False
    with pool.worker(SMALL) as worker:
        assert worker.name == "worker1"
        worker.expires = time.monotonic() - 1
    with pool.worker(SMALL) as worker:
        assert worker.name == "worker2"
    assert [stream.closed for _, stream in launch.made] == [True, True, False]


def test_a_full_pool_closes_an_idle_worker_with_other_resources():
    launch = FakeLauncher()
    pool = Pool(launch, 1)
    with pool.worker(SMALL):
        pass
    with pool.worker(LARGE) as worker:
        assert worker.resources == LARGE
    assert launch.made[0][1].closed
    assert len(pool.workers()) == 1


def test_a_program_waits_while_all_workers_are_busy():
    pool = Pool(FakeLauncher(), 1)
    order = []

    def work() -> None:
        with pool.worker(SMALL):
            order.append("second")

    with pool.worker(SMALL):
        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.05)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


def test_a_failed_launch_does_not_shrink_the_pool():
    launcher = FakeLauncher()
    fail = [True]  # The first launch fails; all later ones succeed.

    def launch(resources: Resources) -> WorkerHandle:
        if fail.pop():
            fail.append(False)
            raise InfraError("no")
        fail.append(False)
        return launcher(resources)

    pool = Pool(launch, 1)
    with pytest.raises(InfraError), pool.worker(SMALL):
        pass
    with pool.worker(SMALL):
        pass


def test_a_closed_pool_refuses_programs():
    launch = FakeLauncher()
    pool = Pool(launch, 4)
    pool.prewarm(SMALL, 3)
    assert len(pool.workers()) == 3
    pool.close()
    pool.close()
    assert all(stream.closed for _, stream in launch.made)
    with pytest.raises(UsageError, match="closed"), pool.worker(SMALL):
        pass
    with pytest.raises(UsageError, match="size 0"):
        Pool(launch, 0)


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", "", "main.py", "x\0"])
def test_invalid_or_reserved_file_names_are_refused(name):
    with pytest.raises(UsageError, match="file name"):
        Request.of("", "", {name: ""}, None, [])


def test_owners_that_have_ended_are_recognised():
    assert not owner.has_ended(owner.this_process())
    assert not owner.has_ended("unknown")
    assert not owner.has_ended("another-machine:1:1")
    code = "from kintsugi.envs.code.sandbox import owner; print(owner.this_process())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert owner.has_ended(ended)
    machine, pid, started = owner.this_process().split(":")
    assert owner.has_ended(f"{machine}:{pid}:{int(started) + 1}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("\ud800", r"'\\ud800' has a lone surrogate"),
        ("ok/a\udcffb", "lone surrogate"),
        ("a" * 256, "has 256 bytes; expected at most 255 in each part"),
        ("ü" * 128, "has 256 bytes"),
        ("/".join(["folder"] * 150), "1000 in all"),
        ("main.py/x", "reserved for the program"),
        (7, "is of type int; expected a str"),
    ],
)
def test_names_that_no_file_can_have_are_refused(name, message):
    with pytest.raises(UsageError, match=message):
        Request.of("", "", {name: ""}, None, ())
    with pytest.raises(UsageError, match=message):
        Request.of("", "", None, None, [name])


def test_names_at_the_limit_are_accepted():
    names = ["a" * 255, "ü" * 127, "/".join(["folder"] * 140), "sub/main.py", "main.py2"]
    assert list(Request.of("", "", dict.fromkeys(names, ""), None, names).return_files) == names


@pytest.mark.parametrize(
    ("program", "files", "limits", "message"),
    [
        ("", {"a": b"x" * 4097}, Limits(disk=4096), r"take up 8192 bytes, in blocks of 4096; .* disk, which is 4096"),
        ("x", {str(number): b"x" for number in range(8)}, Limits(disk=8 * 4096), "take up 36864 bytes"),
        ("x" * 5000, {}, Limits(disk=4096), "take up 8192 bytes"),
        ("", {str(number): "" for number in range(4001)}, Limits(), "4001 files in 0 folders; expected at most 4000"),
        ("", {"/".join("d" * 400) + f"/{n}": "" for n in range(3700)}, Limits(), "3700 files in 400 folders"),
        (
            "",
            {"a": b"x" * (33 << 20)},
            Limits(memory=64 << 20, disk=1 << 30),
            "at most half of the sandbox limit memory",
        ),
        ("", {"a": 7}, Limits(), "the file 'a' is of type int; expected str or bytes"),
        (None, {}, Limits(), "the program is of type NoneType"),
    ],
)
def test_requests_that_do_not_fit_are_refused(program, files, limits, message):
    with pytest.raises(UsageError, match=message):
        Request.of(program, "", files, limits, ())


def test_files_that_fill_the_disk_are_accepted():
    Request.of("", "", {"a": b"x" * 8192}, Limits(disk=8192), ())


@pytest.mark.parametrize("values", [{"cpus": 0.001}, {"cpus": 0.0099}, {"processes": 1_000_001}, {"memory": 1 << 41}])
def test_limits_that_cannot_be_set_are_refused(values):
    with pytest.raises(
        UsageError, match=rf"the sandbox limit {next(iter(values))} is .*; expected .* of at least|at most"
    ):
        Limits(**values)
    assert Limits(cpus=0.01).cpus == 0.01


def test_bytes_and_bounds_are_written_out():
    with pytest.raises(UsageError) as refused:
        Limits(memory=-5)
    said = "the sandbox limit memory is -5; expected an int of at least 33554432 and at most 1099511627776 bytes"
    assert str(refused.value) == said


# -- Idle time --------------------------------------------------------------------------------------------------------


def show_threads(folder: Path, *threads: tuple[str, str, int]) -> str:
    """Write what the kernel shows of threads, given as process, state and CPU time, and of the worker."""
    shutil.rmtree(folder, ignore_errors=True)
    for number, (pid, state, cpu) in enumerate([("1", "R", 0), *threads]):
        task = folder / pid / "task" / str(number)
        task.mkdir(parents=True)
        (task / "stat").write_text(f"{number} (a) R) {state} {' 0' * 10} {cpu} 0 0 0")
    (folder / "self").mkdir()
    return str(folder)


@pytest.mark.parametrize("sleeping", [[("7", "S", 5)], [("7", "S", 5), ("7", "S", 5), ("8", "T", 0)]])
def test_only_time_in_which_all_threads_sleep_is_idle(tmp_path, sleeping):
    time, asleep = IdleTime(3.0, 0.0), show_threads(tmp_path / "asleep", *sleeping)
    assert [time.check(float(now), True, asleep) for now in range(1, 6)] == [False] * 4 + [True]
    for awake in (("9", "R", 5), ("7", "R", 5), ("7", "D", 5)):
        time, folder = IdleTime(3.0, 0.0), show_threads(tmp_path / "awake", *sleeping, awake)
        assert not any(time.check(float(now), True, folder) for now in range(1, 20))


def test_time_with_progress_is_not_idle(tmp_path):
    time = IdleTime(3.0, 0.0)
    for now in range(1, 20):
        assert not time.check(float(now), True, show_threads(tmp_path / "proc", ("7", "S", now)))
    for now in range(20, 40):
        assert not time.check(float(now), now % 3 > 0, show_threads(tmp_path / "proc", ("7", "S", 5)))


def test_a_worker_that_gets_no_core_counts_little(tmp_path):
    time, asleep = IdleTime(5.0, 0.0), show_threads(tmp_path, ("7", "S", 5))
    assert [time.check(now, True, asleep) for now in (100.0, 100.5, 200.0, 300.0, 400.0)] == [False] * 4 + [True]
    assert not IdleTime(0.0, 0.0).check(100.0, True, asleep)


def test_the_cpus_of_a_group_are_at_most_those_of_the_machine(tmp_path):
    for controller in ("memory", "pids", "cpu"):
        (tmp_path / controller / "us").mkdir(parents=True)
    (tmp_path / "self").write_text("3:memory:/us\n2:pids:/us\n1:cpu:/us\n0::/\n")
    group = cgroup.make(Resources.of(Limits(cpus=1e12)), "7", tmp_path, tmp_path / "self")
    assert group is not None
    assert int((group.folders[2] / "cpu.cfs_quota_us").read_text()) == 100_000 * (os.cpu_count() or 1)


def test_killed_processes_of_a_group_are_counted(tmp_path):
    group = cgroup.Group((), tmp_path / "memory.events")
    assert group.oom_kills() == 0
    group.oom_file.write_text("low 0\noom 2\noom_kill 3\n")
    assert group.oom_kills() == 3


@pytest.mark.parametrize(
    ("text", "mapped"),
    [
        ("         0          0 4294967295\n", False),
        ("0 100000 65536\n", True),
        ("0 1000 1\n1 100000 65536\n", True),
    ],
)
def test_user_ids_are_chosen_among_those_of_the_namespace(tmp_path, text, mapped):
    maps = tmp_path / "uid_map", tmp_path / "gid_map"
    for path in maps:
        path.write_text(text)
    assert user_ids.is_mapped(maps) == mapped
    chosen = {user_ids.choose_id(mapped) for _ in range(50)}
    assert len(chosen) > 40
    assert all((each < 65_534) == mapped and each > 30_000 for each in chosen)


def test_a_version_2_group_is_created_next_to_the_group_of_this_process(tmp_path):
    """Uses plain files, because this machine may have cgroups of version 1 or none."""
    (tmp_path / "user/session").mkdir(parents=True)
    (tmp_path / "user/cgroup.subtree_control").write_text("cpu memory pids\n")
    (tmp_path / "user/session/cgroup.subtree_control").write_text("\n")
    (tmp_path / "self").write_text("0::/user/session\n")
    group = cgroup.make(SMALL, "7", tmp_path, tmp_path / "self")
    assert group is not None
    [folder] = group.folders
    assert folder.parent == tmp_path / "user"
    assert (folder / "memory.max").read_text() == str(SMALL.memory)
    assert (folder / "pids.max").read_text() == str(SMALL.processes + 2)
    assert (folder / "cpu.max").read_text() == "100000 100000"
    assert group.oom_file == folder / "memory.events"
    assert cgroup.leftovers(tmp_path) == []
    orphaned = folder.parent / f"{cgroup.PREFIX}{owner.this_process().replace(':', '_')}0.3"
    orphaned.mkdir()
    assert cgroup.clean(tmp_path) == [orphaned.name]
    assert not orphaned.exists()


def test_a_version_1_group_is_created_below_the_group_of_this_process(tmp_path):
    for controller in ("memory", "pids", "cpu"):
        (tmp_path / controller / "us").mkdir(parents=True)
    (tmp_path / "self").write_text("3:memory:/us\n2:pids:/us\n1:cpu:/us\n0::/\n")
    group = cgroup.make(SMALL, "7", tmp_path, tmp_path / "self")
    assert group is not None
    assert [folder.parent.parent.name for folder in group.folders] == ["memory", "pids", "cpu"]
    assert (group.folders[0] / "memory.limit_in_bytes").read_text() == str(SMALL.memory)


def test_make_returns_none_if_no_group_can_be_created(tmp_path):
    (tmp_path / "self").write_text("0::/here\n")
    assert cgroup.make(SMALL, "7", tmp_path, tmp_path / "self") is None
    assert cgroup.make(SMALL, "7", tmp_path, tmp_path / "missing") is None
    (tmp_path / "self").write_text("1:memory:/nowhere\n")
    assert cgroup.make(SMALL, "7", tmp_path, tmp_path / "self") is None


X86_64, I386, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7


def filter_action(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """Interpret the BPF program and return its action for a system call."""
    data = struct.pack("<iIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    instructions = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    at, value = 0, 0
    while True:
        code, if_true, if_false, operand = instructions[at]
        at += 1
        if code == seccomp.LOAD:
            [value] = struct.unpack_from("<I", data, operand)
        elif code == seccomp.RETURN:
            return int(operand)
        else:
            holds = {
                seccomp.EQUAL: value == operand,
                seccomp.AT_LEAST: value >= operand,
                seccomp.ANY_BIT: bool(value & operand),
            }[code]
            at += if_true if holds else if_false


ALLOW, REFUSE, NOT_IMPLEMENTED = seccomp.ALLOW, seccomp.REFUSE, seccomp.NOT_IMPLEMENTED


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        pytest.param((1, 1), ALLOW, id="write"),
        pytest.param((56, 0x01200011), ALLOW, id="clone without new namespaces"),
        pytest.param((56, 0x10000000 | 17), REFUSE, id="clone with a new user namespace"),
        pytest.param((302, 0, 7), ALLOW, id="prlimit64 of the same process"),
        pytest.param((302, 1, 7), REFUSE, id="prlimit64 of another process"),
        pytest.param((302, 1 << 32 | 1, 7), REFUSE, id="prlimit64 of another process, with high bits"),
        pytest.param((435, 0), NOT_IMPLEMENTED, id="clone3"),
        pytest.param((272, 0), REFUSE, id="unshare"),
        pytest.param((250, 0), REFUSE, id="keyctl"),
        pytest.param((101, 0), REFUSE, id="ptrace"),
        pytest.param((425, 0), REFUSE, id="io_uring_setup"),
        pytest.param((206, 1), REFUSE, id="io_setup"),
        pytest.param((251, 1, 0), REFUSE, id="ioprio_set"),
        pytest.param((294, 0), REFUSE, id="inotify_init1"),
        pytest.param((141, 0, 0, 5), ALLOW, id="setpriority of the same process"),
        pytest.param((141, 0, 1, 5), REFUSE, id="setpriority of another process"),
        pytest.param((141, 2, 0, 5), REFUSE, id="setpriority of the user"),
        pytest.param((203, 0), ALLOW, id="sched_setaffinity of the same process"),
        pytest.param((203, 1), REFUSE, id="sched_setaffinity of another process"),
        pytest.param((144, 1), REFUSE, id="sched_setscheduler of another process"),
        pytest.param((41, 1, 1, 0), ALLOW, id="socket of AF_UNIX"),
        pytest.param((41, 2, 1, 6), ALLOW, id="socket of TCP"),
        pytest.param((41, 10, 2, 17), ALLOW, id="socket of UDP, IPv6"),
        pytest.param((41, 2, 1, 132), REFUSE, id="socket of SCTP"),
        pytest.param((41, 10, 1, 262), REFUSE, id="socket of MPTCP, IPv6"),
        pytest.param((41, 16, 3, 0), ALLOW, id="socket of NETLINK_ROUTE"),
        pytest.param((41, 16, 3, 4), REFUSE, id="socket of NETLINK_SOCK_DIAG"),
        *(pytest.param((41, family, 1, 0), REFUSE, id=f"socket family {family}") for family in (0, 9, 17, 38, 40, 44)),
        pytest.param((53, 1, 1, 0), ALLOW, id="socketpair of AF_UNIX"),
        pytest.param((53, 30, 1, 0), REFUSE, id="socketpair of AF_TIPC"),
        pytest.param((16, 3, 0x5401), ALLOW, id="ioctl TCGETS"),
        pytest.param((16, 3, 0x40086602), REFUSE, id="ioctl FS_IOC_SETFLAGS"),
        pytest.param((16, 3, 0x401C5820), REFUSE, id="ioctl FS_IOC_FSSETXATTR"),
        pytest.param((319, 0), ALLOW, id="memfd_create"),
        pytest.param((456, 0), ALLOW, id="the newest call that is judged"),
        pytest.param((469, 0), NOT_IMPLEMENTED, id="file_setattr, which is newer"),
        pytest.param((1 | 0x40000000, 0), REFUSE, id="write of the x32 ABI"),
    ],
)
def test_the_filter_refuses_only_dangerous_system_calls(call, expected):
    program = seccomp.make_filter("x86_64")
    assert filter_action(program, X86_64, *call) == expected
    assert filter_action(program, I386, *call) == seccomp.KILL


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        pytest.param((319, 0), REFUSE, id="memfd_create"),
        pytest.param((29, 0), REFUSE, id="shmget"),
        pytest.param((68, 0), REFUSE, id="msgget"),
        pytest.param((9, 0, 4096, 3, 0x21), REFUSE, id="mmap of shared memory without a file"),
        pytest.param((9, 0, 4096, 3, 0x23), REFUSE, id="mmap of shared memory without a file, validated"),
        pytest.param((9, 0, 4096, 3, 0x22), ALLOW, id="mmap of private memory"),
        pytest.param((9, 0, 4096, 3, 0x01), ALLOW, id="mmap of a file"),
        pytest.param((72, 3, 1031, 1 << 20), REFUSE, id="fcntl F_SETPIPE_SZ"),
        pytest.param((72, 3, 4, 0), ALLOW, id="fcntl F_SETFL"),
    ],
)
def test_the_memory_filter_refuses_what_only_a_cgroup_counts(call, expected):
    assert filter_action(seccomp.make_memory_filter("x86_64"), X86_64, *call) == expected


def test_the_filter_for_aarch64_has_its_own_system_call_numbers():
    unshare, setpriority = 97, 140
    program = seccomp.make_filter("aarch64")
    assert filter_action(program, AARCH64, unshare) == REFUSE
    assert filter_action(program, AARCH64, setpriority, 0, 1) == REFUSE
    assert filter_action(program, X86_64, unshare) == seccomp.KILL


def test_a_worker_does_not_start_on_an_architecture_without_a_filter():
    with pytest.raises(SystemExit, match=r"no system call filter for the architecture .*expected one of vax"):
        choose_filters({"filters": {"vax": ["", ""]}})


def test_the_dockerfile_pins_its_base_by_digest():
    assert re.search(
        r"^FROM python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}$", image.DOCKERFILE.read_text(), re.MULTILINE
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sources.list", "# deb http://no x main\ndeb [arch=amd64] http://mirror.test/debian trixie main\n"),
        (
            "sources.list.d/debian.sources",
            "Types: deb-src\nURIs: http://no\nSuites: trixie\n\nTypes: deb\n# a remark\nURIs: http://mirror.test/debian\n"
            "Suites: trixie trixie-updates\nComponents: main\n",
        ),
    ],
)
def test_the_mirror_is_read_from_the_package_sources(tmp_path, name, text):
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "os-release").write_text('NAME="Debian"\nVERSION_CODENAME=trixie\n')
    assert image.debian_source(tmp_path) == ("trixie", "")
    (tmp_path / "apt" / name).write_text(text)
    assert image.debian_source(tmp_path) == ("trixie", "http://mirror.test/debian")


@pytest.mark.requires("docker")
def test_an_existing_image_is_not_built_again():
    messages: list[str] = []
    assert image.build(log=messages.append) == "already exists"
    assert messages == []


def test_leftovers_of_killed_builds_are_removed(tmp_path):
    mine = owner.this_process().replace(":", "_")
    for name in (f"{mine}0-lost", f"{mine}-running", "unknown-owner"):
        (tmp_path / f"{image.PREFIX}{name}" / "root/etc").mkdir(parents=True)
    assert image.clean(tmp_path) == [f"{image.PREFIX}{mine}0-lost"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.requires("bwrap")
def test_folders_mounted_into_a_killed_build_are_unmounted_and_kept(tmp_path):
    """Runs in new namespaces, in which any user can mount."""
    outside, leftover = tmp_path / "outside", tmp_path / f"{image.PREFIX}{owner.this_process().replace(':', '_')}0-lost"
    outside.mkdir()
    (outside / "file").write_text("precious")
    (leftover / "root/proc").mkdir(parents=True)
    code = (
        "import sys; from pathlib import Path; from kintsugi.envs.code.sandbox import image; "
        "print(*image.clean(Path(sys.argv[1])))"
    )
    script = 'mount --bind "$1/outside" "$2/root/proc" && exec "$3" -c "$4" "$1"'
    command = ["unshare", "-rm", "sh", "-c", script, "sh", str(tmp_path), str(leftover), sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert (done.returncode, done.stdout) == (0, f"{leftover.name}\n"), done.stderr
    assert not leftover.exists()
    assert (outside / "file").read_text() == "precious"


def test_clean_does_not_follow_symbolic_links(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("precious")
    link = tmp_path / f"{image.PREFIX}{owner.this_process().replace(':', '_')}0-lost"
    link.symlink_to(tmp_path / "outside")
    assert image.clean(tmp_path) == []
    assert link.is_symlink()
    assert (tmp_path / "outside/file").read_text() == "precious"


def test_find_debootstrap_reports_a_missing_program_or_permission(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="debootstrap is not installed"):
        image.find_debootstrap(root=True)
    program = tmp_path / "debootstrap"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert image.find_debootstrap(root=True) == str(program)
    with pytest.raises(UsageError, match="must be run by root"):
        image.find_debootstrap(root=False)


@pytest.mark.requires("docker")
def test_build_fails_without_debootstrap(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="debootstrap is not installed"):
        image.build("debootstrap", force=True)


def test_the_worker_refuses_to_run_unless_it_is_process_1():
    code = "import sys; sys.path.insert(0, '/'); from kintsugi.envs.code.sandbox.guest.worker import main; main({})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path("/"))
    assert done.returncode == 1
    assert "must be process 1" in done.stderr
