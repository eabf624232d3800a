"""Damage to run.db is reported, whatever byte it is in; a run that may not be written can be read."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attempts import COUNTS, OTHER, SCORE, STAGE, attempt
from kintsugi.cli.main import main
from kintsugi.errors import UsageError
from kintsugi.loops.runs.store import RunStore


def content(folder: Path) -> dict[str, Any]:
    """All that can be read of a run."""
    with RunStore.read(folder) as store:
        return {
            "config": store.config,
            "versions": store.versions,
            "results": {str(stage): value for stage, value in store.results().items()},
            "attempts": {str(stage): store.trajectories(stage) for stage in store.trajectory_stages()},
            "trees": {
                str(stage): {key: store.tree_log(stage).parts(key) for key in store.tree_log(stage).tree_keys()}
                for stage in store.tree_stages()
            },
        }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage") / "run"
    with RunStore.open(folder, {"loop": "re_rest"}) as store:
        store.add(STAGE, [attempt(i, final_observation="o" * 3000) for i in range(4)])
        store.add(OTHER, [attempt(i) for i in range(2)])
        store.tree_log(STAGE).add([("t0#0", 0, {"begin": 1}), ("t1#0", 0, {"begin": 2}), ("t0#0", 1, {"end": 1})])
        store.result(SCORE, lambda: {"value": 0.5})
        store.result(COUNTS, lambda: 3)
        store.record_versions([("browser", "1.2")])
    return folder


def damaged(run: Path, place: Path, changes: dict[int, int]) -> str:
    """Read a copy of the run with changed bytes; return what was said, or "" if the content is the same."""
    place.mkdir(exist_ok=True)
    data = bytearray((run / "run.db").read_bytes())
    for position, flip in changes.items():
        data[position] ^= flip
    (place / "run.db").write_bytes(data)
    try:
        found = content(place)
    except UsageError as error:
        return str(error)
    assert found == content(run), f"bytes {changes} of run.db were changed, and nothing was said"
    return ""


def test_a_flipped_bit_in_the_name_of_a_row_is_reported(run: Path, tmp_path: Path):
    whole = (run / "run.db").read_bytes()
    names = [str(STAGE), str(OTHER), str(SCORE), "t0#0", "t1#0"]
    places = [m.start() for name in names for m in re.finditer(re.escape(name.encode()), whole)]
    assert len(places) > 20
    said = [damaged(run, tmp_path / "copy", {place + offset: 1}) for place in places for offset in (0, 3)]
    assert sum("is damaged (its checksum does not match); restore the file from a copy" in each for each in said) > 15


def test_broken_utf8_in_the_schema_is_reported(run: Path, tmp_path: Path):
    whole = (run / "run.db").read_bytes()
    for word in (b"CREATE TABLE trajectories", b"CREATE TABLE meta", b"CREATE TRIGGER growth_only_update"):
        assert damaged(run, tmp_path / "copy", {whole.index(word) + 9: 0x80})


def test_every_flipped_bit_is_reported_or_changes_nothing(run: Path, tmp_path: Path):
    """Nothing is silently lost, and no other exception is raised. Positions are drawn from each page of the file."""
    rng, size = random.Random(1), (run / "run.db").stat().st_size
    used = [i for i, byte in enumerate((run / "run.db").read_bytes()) if byte]
    positions = [*range(100), *rng.sample(used, 500), *(rng.randrange(size) for _ in range(150))]
    said = [damaged(run, tmp_path / "copy", {position: 1 << rng.randrange(8)}) for position in positions]
    assert sum(map(bool, said)) > 100


def test_damaged_blocks_are_reported_or_change_nothing(run: Path, tmp_path: Path):
    rng, size = random.Random(2), (run / "run.db").stat().st_size
    for _ in range(100):
        start, length = rng.randrange(size), rng.choice([2, 16, 512])
        block = range(start, min(size, start + length))
        damaged(run, tmp_path / "copy", {i: rng.randrange(1, 256) for i in block})


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM trajectories WHERE number = 6", "row 6 of 6 in its table 'trajectories' is missing"),
        ("DELETE FROM trajectories WHERE number = 2", "row 2 of 6 in its table 'trajectories' is missing"),
        ("UPDATE trajectories SET stage = 'eval/base/valid' WHERE number = 2", "trajectory 't1#0' is damaged"),
        ("UPDATE trajectories SET number = 9 WHERE number = 6", "trajectory 't1#0' is damaged"),
        ("DELETE FROM growth WHERE part = 1", "row 3 of 3 in its table 'growth' is missing"),
        ("UPDATE growth SET part = 7 WHERE part = 1", "search tree 't0#0' is damaged"),
        ("DELETE FROM results", "row 1 of 2 in its table 'results' is missing"),
        ("DELETE FROM meta WHERE key = 'versions'", "its record 'versions' is damaged"),
        ("DELETE FROM meta WHERE key = 'config'", "its configuration is damaged"),
        ("UPDATE meta SET value = '5' WHERE key = 'rows in trajectories'", "'rows in trajectories' is damaged"),
    ],
)
def test_lost_and_moved_rows_are_reported(run: Path, tmp_path: Path, statement, said):
    shutil.copytree(run, tmp_path / "copy")
    db = sqlite3.connect(tmp_path / "copy" / "run.db")
    for trigger in ("append_only_update", "append_only_delete", "growth_only_update", "growth_only_delete"):
        db.execute(f"DROP TRIGGER {trigger}")
    db.execute(statement)
    db.commit()
    db.close()
    with pytest.raises(UsageError, match=re.escape(said)):
        content(tmp_path / "copy")


def test_texts_with_lone_surrogates_name_rows(tmp_path: Path):
    """A task's id may come from a file, and hold any character."""
    with RunStore.open(tmp_path / "run", {}) as store:
        store.tree_log(STAGE).add([("t\ud800#0", 0, "\udfff")])
        [key] = store.tree_log(STAGE).tree_keys()
        assert store.tree_log(STAGE).parts("t\ud800#0") == store.tree_log(STAGE).parts(key) == ["\udfff"]


# -- Runs that may not be written -------------------------------------------------------------------------------------

KILLED = """
import os, sys
from pathlib import Path
from attempts import COUNTS, STAGE, attempt
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore
store = RunStore.open(Path(sys.argv[1]), {})
store.result(COUNTS, lambda: 1)
store.add(STAGE, [attempt(i, outcome="success", score=1.0) for i in range(3)])
store.add(Stage("eval", "base", "valid"), [attempt(i) for i in range(3)])
os._exit(0)
"""


def path_for_child() -> str:
    return os.pathsep.join([str(Path(__file__).parents[2] / "support"), *filter(None, sys.path)])


@contextlib.contextmanager
def ordinary_user() -> Iterator[None]:
    """Act as another user inside, if this one is root, who may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setgroups(groups)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can reach and write to."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.mark.parametrize("leftover", ["none", "log", "log and index"])
def test_a_run_that_may_not_be_written_is_read_and_reported(public: Path, leftover, capsys):
    run = public / "run"
    subprocess.run(
        [sys.executable, "-c", KILLED, str(run)], env={**os.environ, "PYTHONPATH": path_for_child()}, check=True
    )
    assert (run / "run.db-wal").stat().st_size
    # Everything that the commands import is imported before the user is changed, who may not see this Python.
    shutil.copytree(run, public / "mine")
    commands = [
        ["report", "RUN", "--out", "OUT/report"],
        ["export", "RUN", "OUT/rows.jsonl"],
        ["compare", "RUN/base/valid", "RUN/base/valid"],
    ]

    def results(run: Path, out: Path) -> list[int]:
        out.mkdir()
        return [main([a.replace("RUN", str(run)).replace("OUT", str(out)) for a in command]) for command in commands]

    expected = content(public / "mine")
    assert results(public / "mine", public / "first") == [0, 0, 0]
    assert main(["report", str(public / "mine")]) == 0
    if leftover == "none":
        RunStore.open(run, {}).close()
    elif leftover == "log":
        (run / "run.db-shm").unlink()
    for path in (*run.iterdir(), run):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    with ordinary_user():
        assert content(run) == expected
        assert results(run, public / "second") == [0, 0, 0]
        capsys.readouterr()
        assert main(["report", str(run)]) == 2
        with pytest.raises(UsageError, match="Permission denied"):
            RunStore.open(run, {})
    assert "fix the cause or pass another --out" in " ".join(capsys.readouterr().err.split())
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    first, second = public / "first", public / "second"
    assert (first / "rows.jsonl").read_bytes() == (second / "rows.jsonl").read_bytes()
    assert (second / "report" / "index.html").is_file()


ODD = ["mode", "mode of the file", "long", "long parent", "pipe", "folder", "socket", "null device", "file", "loop"]


@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_run_folder_is_refused_in_one_line(public: Path, odd, capsys):
    run = public / ("x" * 300 if odd == "long" else "run")
    script = public / "turns.json"
    script.write_text('["look"]')
    if odd == "long parent":
        run = public / ("x" * 300) / "run"
    elif odd == "file":
        run.write_text("not a folder")
    elif odd == "loop":
        run.symlink_to(run)
    elif odd != "long":
        run.mkdir()
        if odd == "mode of the file":
            RunStore.open(run, {}).close()
            (run / "run.db").chmod(0)
        elif odd == "mode":
            RunStore.open(run, {}).close()
            run.chmod(0)
        elif odd == "folder":
            (run / "run.db").mkdir()
        elif odd == "pipe":
            os.mkfifo(run / "run.db")
        elif odd == "socket":
            socket.socket(socket.AF_UNIX).bind(str(run / "run.db"))
        else:
            (run / "run.db").symlink_to("/dev/null")
    evaluate = ["eval", "--model", f"scripted:{script}", "--splits", "valid_seen", "--tasks", "1", "--run", "RUN"]
    commands = [
        ["report", "RUN"],
        ["report", "RUN", "--out", str(public / "report")],
        ["export", "RUN", str(public / "rows.jsonl")],
        ["export", "RUN", "RUN/rows.jsonl"],
        ["compare", "RUN/base/valid", "RUN"],
        evaluate,
    ]
    main([*evaluate[:-1], str(public / "elsewhere")])
    capsys.readouterr()
    for command in commands:
        with ordinary_user():
            assert main([word.replace("RUN", str(run)) for word in command]) == 2, command
        said = capsys.readouterr().err
        assert said.count("error") <= 1
        assert "Free some disk space" not in " ".join(said.split()), said
        if "rows" not in command[-1] or command[-1].startswith("RUN"):
            assert str(run)[:60] in "".join(said.split()), said
    run.chmod(0o777) if odd == "mode" else None
    assert not (public / "rows.jsonl").exists()
    with ordinary_user(), pytest.raises(UsageError, match="null byte"):
        RunStore.read(public / "a\0b")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
@pytest.mark.parametrize("name", ["run.db-wal", "run.db-shm", ".lock", "config.toml", "pictures"])
def test_a_pipe_or_folder_beside_the_records_hides_nothing(run: Path, tmp_path: Path, make, name):
    shutil.copyfile(run / "run.db", tmp_path / "run.db")
    make(tmp_path / name)
    found = content(run)
    with contextlib.suppress(UsageError):
        found = content(tmp_path)
        RunStore.open(tmp_path, {"loop": "re_rest"}).close()
    assert found == content(run)
