"""The parts of the sandboxes that can be looked at without one: pool, owners, cgroups, filter, image."""

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
from kintsugi.envs.code.sandbox.cell import Cell, Request, Shape
from kintsugi.envs.code.sandbox.pool import Pool
from kintsugi.errors import InfraError, UsageError

SMALL, LARGE = Shape.of(Limits()), Shape.of(Limits(memory=1 << 30))


class Quiet:
    """A connection to nobody."""

    def __init__(self) -> None:
        self.alive = True
        self.closed = False

    def quiet(self) -> bool:
        return self.alive

    def close(self) -> None:
        self.closed = True


class Cells:
    """Launches cells that do nothing, and remembers them."""

    def __init__(self) -> None:
        self.made: list[tuple[Cell, Quiet]] = []

    def __call__(self, shape: Shape) -> Cell:
        stream = Quiet()
        cell = Cell(f"cell{len(self.made)}", shape, stream)
        self.made.append((cell, stream))
        return cell


def test_a_healthy_cell_is_used_again_and_a_sick_one_thrown_away():
    launch = Cells()
    pool = Pool(launch, 2)
    with pool.cell(SMALL) as first:
        pass
    with pool.cell(SMALL) as second:
        second.healthy = False
    assert first is second
    assert launch.made[0][1].closed
    with pool.cell(SMALL) as third:
        assert third is not first
    assert [cell.name for cell in pool.cells()] == ["cell1"]


def test_a_cell_that_died_or_expired_while_idle_is_replaced():
    launch = Cells()
    pool = Pool(launch, 2)
    with pool.cell(SMALL):
        pass
    launch.made[0][1].alive = False
    with pool.cell(SMALL) as cell:
        assert cell.name == "cell1"
        cell.expires = time.monotonic() - 1
    with pool.cell(SMALL) as cell:
        assert cell.name == "cell2"
    assert [stream.closed for _, stream in launch.made] == [True, True, False]


def test_an_idle_cell_of_another_shape_makes_room():
    launch = Cells()
    pool = Pool(launch, 1)
    with pool.cell(SMALL):
        pass
    with pool.cell(LARGE) as cell:
        assert cell.shape == LARGE
    assert launch.made[0][1].closed
    assert len(pool.cells()) == 1


def test_who_comes_when_all_are_at_work_waits():
    pool = Pool(Cells(), 1)
    order = []

    def work() -> None:
        with pool.cell(SMALL):
            order.append("second")

    with pool.cell(SMALL):
        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.05)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


def test_a_failed_launch_gives_its_place_back():
    fail = [True]
    sound = Cells()

    def launch(shape: Shape) -> Cell:
        if fail.pop():
            fail.append(False)
            raise InfraError("no")
        fail.append(False)
        return sound(shape)

    pool = Pool(launch, 1)
    with pytest.raises(InfraError), pool.cell(SMALL):
        pass
    with pool.cell(SMALL):
        pass


def test_a_closed_pool_is_closed():
    launch = Cells()
    pool = Pool(launch, 4)
    pool.warm(SMALL, 3)
    assert len(pool.cells()) == 3
    pool.close()
    pool.close()
    assert all(stream.closed for _, stream in launch.made)
    with pytest.raises(UsageError, match="closed"), pool.cell(SMALL):
        pass
    with pytest.raises(UsageError, match="size 0"):
        Pool(launch, 0)


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", "", "main.py", "x\0"])
def test_bad_names_are_refused(name):
    with pytest.raises(UsageError, match="file name"):
        Request.of("", "", {name: ""}, None, [])


def test_owners_are_told_apart():
    assert not owner.is_gone(owner.this_process())
    assert not owner.is_gone("unknown")
    assert not owner.is_gone("another-machine:1:1")
    code = "from kintsugi.envs.code.sandbox import owner; print(owner.this_process())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert owner.is_gone(ended)
    machine, pid, started = owner.this_process().split(":")
    assert owner.is_gone(f"{machine}:{pid}:{int(started) + 1}")


def test_a_group_of_version_2_is_made_beside_our_own(tmp_path):
    """In a tree of plain files: this machine may have version 1."""
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


def test_a_group_of_version_1_is_made_below_our_own(tmp_path):
    for controller in ("memory", "pids", "cpu"):
        (tmp_path / controller / "us").mkdir(parents=True)
    (tmp_path / "self").write_text("3:memory:/us\n2:pids:/us\n1:cpu:/us\n0::/\n")
    group = cgroup.make(SMALL, "7", tmp_path, tmp_path / "self")
    assert group is not None
    assert [folder.parent.parent.name for folder in group.folders] == ["memory", "pids", "cpu"]
    assert (group.folders[0] / "memory.limit_in_bytes").read_text() == str(SMALL.memory)


def test_where_no_group_may_be_made_there_is_none(tmp_path):
    (tmp_path / "self").write_text("0::/here\n")
    assert cgroup.make(SMALL, "7", tmp_path, tmp_path / "self") is None
    assert cgroup.make(SMALL, "7", tmp_path, tmp_path / "missing") is None
    (tmp_path / "self").write_text("1:memory:/nowhere\n")
    assert cgroup.make(SMALL, "7", tmp_path, tmp_path / "self") is None


def verdict(program: bytes, architecture: int, number: int, first: int = 0) -> int:
    """What the filter says of a system call: the kernel's interpreter in a few lines."""
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
def test_the_filter_refuses_what_it_should(call, first, expected):
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
def test_the_mirror_is_the_machines_own(tmp_path, name, text):
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "os-release").write_text('NAME="Debian"\nVERSION_CODENAME=trixie\n')
    assert image.debian_source(tmp_path) == ("trixie", "")
    (tmp_path / "apt" / name).write_text(text)
    assert image.debian_source(tmp_path) == ("trixie", "http://mirror.test/debian")


@pytest.mark.requires("docker")
def test_the_image_is_made_once():
    said: list[str] = []
    assert image.build(say=said.append) == "it is there already"
    assert said == []


def test_what_killed_builds_left_is_removed(tmp_path):
    mine = owner.this_process().replace(":", "_")
    for name in (f"{mine}0-lost", f"{mine}-running", "unknown-whose"):
        (tmp_path / f"{image.PREFIX}{name}" / "root/etc").mkdir(parents=True)
    assert image.clean(tmp_path) == [f"{image.PREFIX}{mine}0-lost"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.requires("bwrap")
def test_a_killed_build_that_still_lends_a_folder_of_the_machine_loses_that_first(tmp_path):
    """In namespaces of its own, as bubblewrap makes them, so that anybody can mount."""
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


def test_a_link_in_the_folder_of_temporary_files_is_not_followed(tmp_path):
    (tmp_path / "lent").mkdir()
    (tmp_path / "lent/file").write_text("precious")
    link = tmp_path / f"{image.PREFIX}{owner.this_process().replace(':', '_')}0-lost"
    link.symlink_to(tmp_path / "lent")
    assert image.clean(tmp_path) == []
    assert link.is_symlink()
    assert (tmp_path / "lent/file").read_text() == "precious"


def test_what_an_image_needs_and_is_missing_is_named(monkeypatch, tmp_path):
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
def test_an_image_is_not_made_without_what_it_needs(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="debootstrap is not installed"):
        image.build("debootstrap", force=True)


def test_the_worker_refuses_to_be_anything_but_process_1():
    code = "import sys; sys.path.insert(0, '/'); from kintsugi.envs.code.sandbox.guest.worker import main; main({})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path("/"))
    assert done.returncode == 1
    assert "must be process 1" in done.stderr
