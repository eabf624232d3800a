"""`RunStore` in processes that are killed or run out of disk space: no stored record is lost."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore
from small_runs import make_task, make_trajectory

STAGE = Stage("collect", "policy", "train")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


def limited(code: str, *arguments: str, limit: int) -> subprocess.CompletedProcess[str]:
    """Run code with a limit on file sizes, which fails writes as a full disk does."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )


WRITER = """
import sys
from pathlib import Path
from kintsugi.agents.trajectory import Step, Trajectory
from kintsugi.envs import Task
from kintsugi.errors import UsageError
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore

stored = 0
try:
    with RunStore.open(Path(sys.argv[1]), {"a": 1}) as store:
        for number in range(int(sys.argv[2])):
            task = Task(f"t{number}", "tiny/Echo-v0", "train", number)
            wave = [Trajectory(task, (), "x" * 2000, "failure", 0.0, "policy", "m", 0, sample=s) for s in range(10)]
            store.add(Stage("collect", "policy", "train"), wave)
            stored += 10
            print(stored, flush=True)
except UsageError as error:
    print("refused:", error)
"""


def test_a_file_that_cannot_grow_loses_no_record(folder: Path):
    done = limited(WRITER, str(folder), "100", limit=400_000)
    assert done.returncode == 0, done.stderr
    *counts, last = done.stdout.splitlines()
    assert last.startswith(f"refused: {folder}")
    assert "earlier records are intact" in last
    with RunStore.open(folder, {"a": 1}) as store:
        assert len(store.trajectories(STAGE)) == int(counts[-1]) >= 10


def test_a_run_whose_creation_failed_can_be_created_later(folder: Path):
    done = limited(WRITER, str(folder), "1", limit=1000)
    assert done.stdout.startswith("refused:"), done.stderr
    RunStore.open(folder, {"a": 2}).close()


def test_a_kill_loses_no_record(folder: Path):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder), "100000"], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    counts = [int(writer.stdout.readline()) for _ in range(15)]
    writer.send_signal(signal.SIGKILL)
    counts += [int(line) for line in writer.stdout.read().split()]
    writer.wait()
    with RunStore.open(folder, {"a": 1}) as store:
        found = store.trajectories(STAGE)
    assert len(found) % 10 == 0
    assert counts[-1] <= len(found) <= counts[-1] + 10


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="needs root to mount a small disk")
def test_a_full_disk_loses_no_record(tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting is not permitted")
    try:
        done = subprocess.run(
            [sys.executable, "-c", WRITER, str(disk / "run"), "1000"], capture_output=True, text=True, check=False
        )
        *counts, last = done.stdout.splitlines()
        assert "full" in last or "No space" in last
        assert "Free some disk space and run the same command again" in last
        shutil.copytree(disk / "run", tmp_path / "saved")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    with RunStore.open(tmp_path / "saved", {"a": 1}) as store:
        assert len(store.trajectories(STAGE)) == int(counts[-1]) >= 10


def interrupted(folder: Path, *, attempts: int) -> KeyboardInterrupt:
    """Return the interruption of a process that had a run open and stored attempts."""
    try:
        with RunStore.open(folder, {}) as store:
            store.add(STAGE, [make_trajectory(make_task(n), success=True) for n in range(attempts)])
            raise KeyboardInterrupt
    except KeyboardInterrupt as interrupt:
        return interrupt


def test_an_interruption_says_what_the_run_keeps(tmp_path: Path):
    assert interrupted(tmp_path / "a", attempts=0).__notes__ == [f"{tmp_path / 'a'} keeps no attempts yet"]
    assert interrupted(tmp_path / "b", attempts=1).__notes__ == [f"{tmp_path / 'b'} keeps 1 attempt"]
    with RunStore.open(tmp_path / "b", {}) as store:
        store.adapter("re_rest@1", lambda out: (out / "adapter_config.json").touch())
    assert interrupted(tmp_path / "b", attempts=0).__notes__ == [f"{tmp_path / 'b'} keeps 1 attempt, 1 adapter"]


def test_an_interrupted_adapter_leaves_no_files(tmp_path: Path):
    def interrupt(out: Path) -> None:
        (out / "half").touch()
        raise KeyboardInterrupt

    with RunStore.open(tmp_path / "run", {}) as store:
        with pytest.raises(KeyboardInterrupt):
            store.adapter("re_rest@1", interrupt)
        assert list((tmp_path / "run/adapters").iterdir()) == []
