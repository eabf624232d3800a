"""Parts of the sandboxes that can be tested without opening one: pool, owners, cgroups, seccomp filter, image."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from kintsugi.envs.code.sandbox import Limits, cgroup, image, owner, seccomp
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


def test_a_failed_launch_does_not_reduce_the_pool():
    fail = [True]
    sound = FakeLauncher()

    def launch(resources: Resources) -> WorkerHandle:
        if fail.pop():
            fail.append(False)
            raise InfraError("no")
        fail.append(False)
        return sound(resources)

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
def test_bad_file_names_are_refused(name):
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


def test_a_version_2_group_is_created_next_to_the_own_group(tmp_path):
    """Uses plain files, since this machine may have version 1."""
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
    lost = folder.parent / f"{cgroup.PREFIX}{owner.this_process().replace(':', '_')}0.3"
    lost.mkdir()
    assert cgroup.clean(tmp_path) == [lost.name]
    assert not lost.exists()


def test_a_version_1_group_is_created_below_the_own_group(tmp_path):
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


def verdict(program: bytes, architecture: int, number: int, first: int = 0) -> int:
    """Return the filter's verdict on a system call, with a minimal BPF interpreter."""
    data = struct.pack("<iIQQ", number, architecture, 0, first)
    steps = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    at, value = 0, 0
    while True:
        code, true, false, k = steps[at]
        at += 1
        if code == seccomp.LOAD:
            [value] = struct.unpack_from("<I", data, k)
        elif code == seccomp.RETURN:
            return int(k)
        else:
            holds = {
                seccomp.EQUAL: value == k, seccomp.AT_LEAST: value >= k, seccomp.ANY_BIT: bool(value & k)
            }[code]  # fmt: skip
            at += true if holds else false


@pytest.mark.parametrize(
    ("call", "first", "expected"),
    [
        (1, 1, seccomp.ALLOW),
        (56, 0x01200011, seccomp.ALLOW),
        (56, 0x10000000 | 17, seccomp.REFUSE),
        (302, 0, seccomp.ALLOW),
        (302, 1, seccomp.REFUSE),
        (435, 0, seccomp.MISSING),
        (272, 0, seccomp.REFUSE),
        (250, 0, seccomp.REFUSE),
        (425, 0, seccomp.REFUSE),
        (1 | 0x40000000, 0, seccomp.REFUSE),
    ],
)
def test_the_filter_refuses_dangerous_system_calls(call, first, expected):
    program = seccomp.program("x86_64")
    assert program is not None
    assert verdict(program, 0xC000003E, call, first) == expected
    assert verdict(program, 0x40000003, call, first) == seccomp.KILL


def test_machines_without_a_table_have_no_filter():
    assert seccomp.program("riscv64") is None
    assert verdict(seccomp.program("aarch64") or b"", 0xC00000B7, 97) == seccomp.REFUSE


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
    assert image.build(log=messages.append) == "exists already"
    assert messages == []


def test_leftovers_of_killed_builds_are_removed(tmp_path):
    mine = owner.this_process().replace(":", "_")
    for name in (f"{mine}0-lost", f"{mine}-running", "unknown-whose"):
        (tmp_path / f"{image.PREFIX}{name}" / "root/etc").mkdir(parents=True)
    assert image.clean(tmp_path) == [f"{image.PREFIX}{mine}0-lost"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.requires("bwrap")
def test_folders_mounted_into_a_killed_build_are_unmounted_and_kept(tmp_path):
    """Runs in new namespaces, in which every user can mount."""
    lent, left = tmp_path / "lent", tmp_path / f"{image.PREFIX}{owner.this_process().replace(':', '_')}0-lost"
    lent.mkdir()
    (lent / "file").write_text("precious")
    (left / "root/proc").mkdir(parents=True)
    code = (
        "import sys; from pathlib import Path; from kintsugi.envs.code.sandbox import image; "
        "print(*image.clean(Path(sys.argv[1])))"
    )
    script = 'mount --bind "$1/lent" "$2/root/proc" && exec "$3" -c "$4" "$1"'
    command = ["unshare", "-rm", "sh", "-c", script, "sh", str(tmp_path), str(left), sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert (done.returncode, done.stdout) == (0, f"{left.name}\n"), done.stderr
    assert not left.exists()
    assert (lent / "file").read_text() == "precious"


def test_clean_does_not_follow_links(tmp_path):
    (tmp_path / "lent").mkdir()
    (tmp_path / "lent/file").write_text("precious")
    link = tmp_path / f"{image.PREFIX}{owner.this_process().replace(':', '_')}0-lost"
    link.symlink_to(tmp_path / "lent")
    assert image.clean(tmp_path) == []
    assert link.is_symlink()
    assert (tmp_path / "lent/file").read_text() == "precious"


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


def test_the_worker_refuses_to_run_as_another_process_than_1():
    code = "import sys; sys.path.insert(0, '/'); from kintsugi.envs.code.sandbox.guest.worker import main; main({})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path("/"))
    assert done.returncode == 1
    assert "must be process 1" in done.stderr
