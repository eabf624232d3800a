"""`RunStore`: opening, resuming and refusing runs, results, adapters, trajectories, and damaged or full files."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from attempts import CONFIG, COUNTS, OTHER, SCORE, STAGE, attempt, stored_attempts
from kintsugi.errors import UsageError
from kintsugi.loops.runs.database import SCHEMA_VERSION
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


# -- Opening ----------------------------------------------------------------------------------------------------------


def test_a_run_is_resumed_with_the_same_configuration(folder: Path):
    with RunStore.open(folder, CONFIG) as store:
        store.add(STAGE, [attempt(0), attempt(1)])
        assert store.config == CONFIG
    with RunStore.open(folder, dict(reversed(CONFIG.items()))) as store:
        store.add(STAGE, [attempt(2)])
        assert store.trajectories(STAGE) == [attempt(0), attempt(1), attempt(2)]
        assert store.trajectories(OTHER) == []
    assert 'loop = "re_rest"' in (folder / "config.toml").read_text()


def test_a_changed_configuration_is_refused_and_each_change_named(folder: Path):
    RunStore.open(folder, CONFIG).close()
    changed = {**CONFIG, "lora": {"rank": 16, "alpha": 16}, "seed": 3}
    del changed["tasks"]
    with pytest.raises(UsageError) as refused:
        RunStore.open(folder, changed)
    message = str(refused.value)
    for change in ("lora.rank: 8 -> 16", "seed: absent -> 3", 'tasks: ["a","b"] -> absent', "name a new folder"):
        assert change in message
    assert "alpha" not in message
    RunStore.open(folder, CONFIG).close()


def test_a_run_of_another_format_is_refused(folder: Path):
    RunStore.open(folder, CONFIG).close()
    tamper(folder, f"UPDATE meta SET value = '{SCHEMA_VERSION + 1}' WHERE key = 'schema'")
    for opening in (lambda: RunStore.open(folder, CONFIG), lambda: RunStore.read(folder)):
        with pytest.raises(UsageError, match=f"run format {SCHEMA_VERSION + 1}; this version of Kintsugi reads"):
            opening()


def test_a_run_of_an_older_format_is_refused_in_one_line_and_not_changed(folder: Path):
    """The format number alone decides; no other table is read."""
    folder.mkdir()
    db = sqlite3.connect(folder / "run.db")
    db.executescript(
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);"
        "CREATE TABLE stages (name TEXT PRIMARY KEY, result TEXT NOT NULL, sha TEXT NOT NULL);"
        "INSERT INTO meta VALUES ('schema', '3'), ('config', '{}');"
    )
    db.close()
    content = (folder / "run.db").read_bytes()
    for opening in (lambda: RunStore.open(folder, {}), lambda: RunStore.read(folder)):
        with pytest.raises(UsageError) as refused:
            opening()
        start = f"{folder} was written with run format 3; this version of Kintsugi reads format {SCHEMA_VERSION}; "
        assert str(refused.value) == start + "use the version that wrote it, or a new run folder"
    assert (folder / "run.db").read_bytes() == content


def test_a_run_is_open_in_only_one_process(folder: Path):
    code = f"""
    from pathlib import Path
    from kintsugi.errors import UsageError
    from kintsugi.loops.runs.store import RunStore
    try:
        RunStore.open(Path({str(folder)!r}), {CONFIG!r})
    except UsageError as error:
        print(error)
    else:
        print("opened")
    """

    def elsewhere() -> str:
        command = [sys.executable, "-c", textwrap.dedent(code)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    store = RunStore.open(folder, CONFIG)
    with pytest.raises(UsageError, match="in use by another process"):
        RunStore.open(folder, CONFIG)
    assert elsewhere() == f"{folder} is in use by another process; wait for it to end, or name another folder"
    store.close()
    store.close()
    assert elsewhere() == "opened"
    RunStore.open(folder, CONFIG).close()


def test_a_refused_opening_leaves_no_lock(folder: Path):
    """The errors stay referenced, so that garbage collection cannot release the locks."""
    RunStore.open(folder, CONFIG).close()
    with pytest.raises(UsageError) as other:
        RunStore.open(folder, {"other": 1})
    RunStore.open(folder, CONFIG).close()
    content = (folder / "run.db").read_bytes()
    (folder / "run.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(UsageError) as damaged:
        RunStore.open(folder, CONFIG)
    (folder / "run.db").write_bytes(content)
    with RunStore.open(folder, CONFIG) as store:
        assert store.config == CONFIG
    assert "started with different settings" in str(other.value)
    assert "not a database" in str(damaged.value)
    assert "Restore the file from a copy" in str(damaged.value)


def test_folders_that_hold_no_run_are_refused(folder: Path, tmp_path: Path):
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty and holds no run.db"):
        RunStore.open(folder, CONFIG)
    with pytest.raises(UsageError, match="holds no run.db; name the folder of a run"):
        RunStore.read(folder)
    with pytest.raises(UsageError, match="notes.txt"):
        RunStore.open(folder / "notes.txt", CONFIG)
    sqlite3.connect(tmp_path / "run.db").execute("CREATE TABLE mine (x)")
    for opening in (lambda: RunStore.open(tmp_path, CONFIG), lambda: RunStore.read(tmp_path)):
        with pytest.raises(UsageError, match="no such table: meta"):
            opening()
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("error", [UsageError("misspelt"), OSError("no space left")])
def test_a_new_run_that_fails_before_anything_is_stored_leaves_nothing(folder: Path, error: Exception):
    deep = folder / "a" / "b"
    with pytest.raises(type(error)), RunStore.open(deep, CONFIG):
        raise error
    assert not folder.exists()
    folder.mkdir()
    with pytest.raises(type(error)), RunStore.open(folder, CONFIG):
        raise error
    assert list(folder.iterdir()) == []
    with RunStore.open(folder, {"other": 1}) as store:
        assert store.config == {"other": 1}


@pytest.mark.parametrize("kind", ["attempt", "result", "file"])
def test_what_is_stored_before_a_failure_is_kept(folder: Path, kind: str):
    def write_and_fail(store: RunStore) -> None:
        if kind == "attempt":
            store.add(STAGE, [attempt(0)])
        elif kind == "result":
            store.result(SCORE, dict)
        else:
            (folder / "notes.txt").write_text("mine")
        raise UsageError("later")

    with pytest.raises(UsageError, match="later"), RunStore.open(folder, CONFIG) as store:
        write_and_fail(store)
    with RunStore.open(folder, CONFIG) as store:
        assert bool(store.trajectories(STAGE)) == (kind == "attempt")
        assert bool(store.results()) == (kind == "result")
        assert (folder / "notes.txt").exists() == (kind == "file")


def test_a_failure_leaves_an_older_run_as_it_was(folder: Path):
    RunStore.open(folder, CONFIG).close()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UsageError, match="later"), RunStore.open(folder, CONFIG):
        raise UsageError("later")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("content", [b"", b"no database" * 100, "foreign"])
def test_a_refused_opening_adds_no_file(folder: Path, content: bytes | str):
    folder.mkdir()
    if isinstance(content, bytes):
        (folder / "run.db").write_bytes(content)
    else:
        db = sqlite3.connect(folder / "run.db")
        db.execute("CREATE TABLE mine (x)")
        db.close()
    before = (folder / "run.db").read_bytes()
    with pytest.raises(UsageError):
        RunStore.open(folder, CONFIG)
    assert [path.name for path in folder.iterdir()] == ["run.db"]
    assert (folder / "run.db").read_bytes() == before


@pytest.mark.parametrize("path", ["notes.txt", "notes.txt/run"])
def test_a_path_through_a_file_is_refused(tmp_path: Path, path: str):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError) as refused:
        RunStore.open(tmp_path / path, CONFIG)
    assert str(refused.value) == f"{tmp_path / 'notes.txt'} is not a folder; name another folder for the run"


def test_a_run_starts_in_a_folder_left_by_a_kill_during_creation(folder: Path):
    folder.mkdir()
    (folder / ".lock").touch()
    (folder / "run.db.new").write_bytes(b"half a datab")
    with RunStore.open(folder, CONFIG) as store:
        store.add(STAGE, [attempt(0)])
    (folder / "config.toml").unlink()
    RunStore.open(folder, CONFIG).close()
    assert "rank = 8" in (folder / "config.toml").read_text()
    assert stored_attempts(folder) == [attempt(0)]


def test_reading_changes_nothing_and_needs_no_lock(folder: Path):
    with RunStore.open(folder, CONFIG) as writer:
        writer.add(STAGE, [attempt(0)])
        with RunStore.read(folder) as reader:
            assert reader.trajectories(STAGE) == [attempt(0)]
            writer.add(STAGE, [attempt(1)])
            assert len(reader.trajectories(STAGE)) == 2
            with pytest.raises(UsageError, match="readonly"):
                reader.add(STAGE, [attempt(2)])
    with pytest.raises(UsageError, match="holds no run.db"):
        RunStore.read(folder.with_name("nothing"))
    assert not folder.with_name("nothing").exists()


# -- Results ----------------------------------------------------------------------------------------------------------


def test_a_result_is_computed_once(folder: Path):
    calls = []

    def work(number: int) -> dict[str, Any]:
        calls.append(number)
        return {"b": [1, 2.5, None], "a": number}

    with RunStore.open(folder, CONFIG) as store:
        assert store.result(COUNTS, work, 3) == store.result(COUNTS, work, 4) == {"b": [1, 2.5, None], "a": 3}
    with RunStore.open(folder, CONFIG) as store:
        assert store.result(COUNTS, work, 5)["a"] == 3
        store.result(SCORE, work, 6)
        assert list(store.results()) == [COUNTS, SCORE]
        assert store.results()[Stage("score", "base", "valid_unseen")]["a"] == 6
    assert calls == [3, 6]


def test_a_new_result_equals_the_stored_one(folder: Path):
    with RunStore.open(folder, CONFIG) as store:
        new = store.result(COUNTS, lambda: {"pair": (1, 2), "by": {3: None}})
        assert new == store.result(COUNTS, lambda: None) == {"pair": [1, 2], "by": {"3": None}}


def test_a_failed_result_is_computed_again(folder: Path):
    with RunStore.open(folder, CONFIG) as store:
        with pytest.raises(ZeroDivisionError):
            store.result(COUNTS, lambda: 1 / 0)
        assert store.results() == {}
        assert store.result(COUNTS, lambda: 5) == 5


def test_an_adapter_is_created_atomically(folder: Path):
    def half(path: Path) -> None:
        (path / "adapter_config.json").write_text("{}")
        raise ZeroDivisionError

    def whole(path: Path) -> None:
        assert not any(path.iterdir())
        (path / "adapter_config.json").write_text('{"r": 8}')

    with RunStore.open(folder, CONFIG) as store:
        with pytest.raises(ZeroDivisionError):
            store.adapter("agent@1", half)
        assert not (folder / "adapters" / "agent@1").exists()
        path = store.adapter("agent@1", whole)
        assert path == store.adapter("agent@1", half) == folder / "adapters" / "agent@1"
        assert (path / "adapter_config.json").read_text() == '{"r": 8}'
        assert [p.name for p in path.parent.iterdir()] == ["agent@1"]


# -- Trajectories -----------------------------------------------------------------------------------------------------


def tamper(folder: Path, statement: str) -> None:
    db = sqlite3.connect(folder / "run.db")
    db.execute(statement)
    db.commit()
    db.close()


@pytest.mark.parametrize("table", ["trajectories", "growth"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET data = ''", "DELETE FROM {}"])
def test_attempts_and_trees_are_append_only(folder: Path, table, statement):
    with RunStore.open(folder, CONFIG) as store:
        store.add(STAGE, [attempt(0)])
        store.tree_log(STAGE).add([("t0#0", 0, {"begin": 1})])
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        tamper(folder, statement.format(table))
    assert stored_attempts(folder) == [attempt(0)]
    with RunStore.read(folder) as store:
        assert store.tree_log(STAGE).parts("t0#0") == [{"begin": 1}]


def test_a_wave_is_stored_in_one_transaction(folder: Path):
    with RunStore.open(folder, CONFIG) as store:
        store.add(STAGE, [attempt(0)])
        with pytest.raises(UsageError, match="UNIQUE"):
            store.add(STAGE, [attempt(1), attempt(2), attempt(0)])
        assert store.trajectories(STAGE) == [attempt(0)]
        with pytest.raises(ValueError, match="not JSON compliant"):
            store.add(STAGE, [attempt(1), attempt(2, score=float("nan"))])
        assert store.trajectories(STAGE) == [attempt(0)]
        store.add(OTHER, [attempt(0)])
        store.add(STAGE, [attempt(1, final_observation="\udcff \u2028 \x00 🙂")])
        assert store.trajectory_stages() == [STAGE, OTHER]
    assert stored_attempts(folder)[1].final_observation == "\udcff \u2028 \x00 🙂"


DAMAGED = "'t1#0' is damaged.*restore the file"
READERS = {
    "trajectories": (f"stage '{STAGE}': trajectory {DAMAGED}", [lambda store: store.trajectories(STAGE)]),
    "growth": (f"stage '{STAGE}': search tree {DAMAGED}", [lambda store: store.tree_log(STAGE).parts("t1#0")]),
    "results": (
        f"result '{SCORE}' is damaged",
        [RunStore.results, lambda store: store.result(SCORE, lambda: 0)],
    ),
}


@pytest.mark.parametrize("table", READERS)
def test_a_damaged_row_is_named(folder: Path, table):
    with RunStore.open(folder, CONFIG) as store:
        store.add(STAGE, [attempt(0), attempt(1)])
        store.tree_log(STAGE).add([("t1#0", 0, "end")])
        store.result(SCORE, lambda: "end")
    tamper(folder, "DROP TRIGGER append_only_update")
    tamper(folder, "DROP TRIGGER growth_only_update")
    where = "" if table == "results" else "WHERE key = 't1#0'"
    tamper(folder, f"UPDATE {table} SET data = replace(data, 'end', 'eNd') {where}")
    message, readers = READERS[table]
    with RunStore.open(folder, CONFIG) as store:
        for read in readers:
            with pytest.raises(UsageError, match=message):
                read(store)
        for other in READERS.keys() - {table}:
            for read in READERS[other][1]:
                assert read(store)


def test_rows_of_another_type_and_a_damaged_configuration_are_named(folder: Path):
    with RunStore.open(folder, CONFIG) as store:
        store.add(STAGE, [attempt(0)])
    tamper(folder, "DROP TRIGGER append_only_update")
    tamper(folder, "UPDATE trajectories SET data = x'00ff'")
    with (
        RunStore.read(folder) as store,
        pytest.raises(UsageError, match=f"stage '{STAGE}': trajectory 't0#0' is damaged"),
    ):
        store.trajectories(STAGE)
    for config in ("{bad", "[1]", "7"):
        tamper(folder, f"UPDATE meta SET value = '{config}' WHERE key = 'config'")
        with RunStore.read(folder) as store, pytest.raises(UsageError, match="its configuration is damaged"):
            _ = store.config
        with pytest.raises(UsageError, match="its configuration is damaged"):
            RunStore.open(folder, CONFIG)


def test_a_damaged_file_is_refused(folder: Path):
    with RunStore.open(folder, CONFIG) as store:
        store.add(STAGE, [attempt(i, final_observation="x" * 5000) for i in range(20)])
    data = bytearray((folder / "run.db").read_bytes())
    data[4096:-4096] = b"\xa5" * (len(data) - 8192)
    (folder / "run.db").write_bytes(data)
    with pytest.raises(UsageError, match="malformed.*Restore the file from a copy"):
        stored_attempts(folder)


# -- Full disk --------------------------------------------------------------------------------------------------------


def test_a_full_database_loses_no_record(folder: Path):
    big = [attempt(i, final_observation="x" * 5000) for i in range(200)]
    with RunStore.open(folder, CONFIG) as store:
        store.add(STAGE, big[:5])
        store._db.rows("PRAGMA max_page_count=40")
        with pytest.raises(UsageError, match="full; earlier records are intact. Free some disk space"):
            store.add(STAGE, big[5:])
        assert store.trajectories(STAGE) == big[:5]
        store._db.rows("PRAGMA max_page_count=100000")
        store.add(STAGE, big[5:])
    assert stored_attempts(folder) == big
