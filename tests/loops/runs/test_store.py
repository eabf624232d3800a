"""The run folder: resumed where it was, refused when it is another's, and never half-written."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from kintsugi.agents.core import Episode
from kintsugi.agents.rollout import Job
from kintsugi.agents.trajectory import Step, Trajectory
from kintsugi.envs import Task
from kintsugi.errors import UsageError
from kintsugi.loops.runs.store import SCHEMA_VERSION, RunStore
from tiny_worlds import Echo

CONFIG: dict[str, Any] = {"loop": "re_rest", "lora": {"rank": 8, "alpha": 16}, "tasks": ["a", "b"], "limit": None}


def attempt(number: int, **fields: Any) -> Trajectory:
    task = Task(f"t{number}", "tiny/Echo-v0", "train", number, {"number": number})
    step = Step("o", "th", "a", text="th a", token_ids=(1, 2), logprobs=(-0.125, -3e-9))
    defaults = {"outcome": "failure", "score": 0.0, "source": "policy", "model": "m@1", "seed": 0}
    return Trajectory(**{"task": task, "steps": (step,), "final_observation": "end", **defaults, **fields})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


def stored(folder: Path, stage: str = "s") -> list[Trajectory]:
    with RunStore.read(folder) as store:
        return store.trajectories(stage)


# -- Opening ----------------------------------------------------------------------------------------------------------


def test_a_run_is_continued_with_the_same_configuration(folder: Path):
    with RunStore.open(folder, CONFIG) as store:
        store.add("s", [attempt(0), attempt(1)])
        assert store.config == CONFIG
    with RunStore.open(folder, dict(reversed(CONFIG.items()))) as store:
        store.add("s", [attempt(2)])
        assert store.trajectories("s") == [attempt(0), attempt(1), attempt(2)]
        assert store.trajectories("other") == []
    assert 'loop = "re_rest"' in (folder / "config.toml").read_text()


def test_a_changed_configuration_is_refused_with_what_changed(folder: Path):
    RunStore.open(folder, CONFIG).close()
    changed = {**CONFIG, "lora": {"rank": 16, "alpha": 16}, "seed": 3}
    del changed["tasks"]
    with pytest.raises(UsageError) as refused:
        RunStore.open(folder, changed)
    said = str(refused.value)
    for change in ("lora.rank: 8 -> 16", "seed: absent -> 3", 'tasks: ["a","b"] -> absent', "name a new folder"):
        assert change in said
    assert "alpha" not in said
    RunStore.open(folder, CONFIG).close()


def test_a_run_of_another_version_is_refused(folder: Path):
    RunStore.open(folder, CONFIG).close()
    tamper(folder, f"UPDATE meta SET value = '{SCHEMA_VERSION + 1}' WHERE key = 'schema'")
    for opening in (lambda: RunStore.open(folder, CONFIG), lambda: RunStore.read(folder)):
        with pytest.raises(UsageError, match=f"run format {SCHEMA_VERSION + 1}, this Kintsugi reads {SCHEMA_VERSION}"):
            opening()


def test_a_run_is_open_in_one_process(folder: Path):
    with RunStore.open(folder, CONFIG):
        with pytest.raises(UsageError, match="in use by another process"):
            RunStore.open(folder, CONFIG)
        code = f"""
        from pathlib import Path
        from kintsugi.errors import UsageError
        from kintsugi.loops.runs.store import RunStore
        try:
            RunStore.open(Path({str(folder)!r}), {CONFIG!r})
        except UsageError as error:
            assert "in use" in str(error)
        else:
            raise SystemExit("two processes have the run open")
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    RunStore.open(folder, CONFIG).close()


def test_a_refused_opening_leaves_no_lock(folder: Path):
    RunStore.open(folder, CONFIG).close()
    with pytest.raises(UsageError) as kept:
        RunStore.open(folder, {"other": 1})
    RunStore.open(folder, CONFIG).close()
    whole = (folder / "run.db").read_bytes()
    (folder / "run.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(UsageError, match="not a database.*Restore the file from a copy") as damaged:
        RunStore.open(folder, CONFIG)
    (folder / "run.db").write_bytes(whole)
    RunStore.open(folder, CONFIG).close()
    assert kept
    assert damaged


def test_folders_that_are_no_run_are_refused(folder: Path, tmp_path: Path):
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


def test_what_a_kill_in_the_first_instant_leaves_is_no_obstacle(folder: Path):
    folder.mkdir()
    (folder / ".lock").touch()
    (folder / "run.db.new").write_bytes(b"half a datab")
    with RunStore.open(folder, CONFIG) as store:
        store.add("s", [attempt(0)])
    (folder / "config.toml").unlink()
    RunStore.open(folder, CONFIG).close()
    assert "rank = 8" in (folder / "config.toml").read_text()
    assert stored(folder) == [attempt(0)]


def test_reading_changes_nothing_and_needs_no_lock(folder: Path):
    with RunStore.open(folder, CONFIG) as writer:
        writer.add("s", [attempt(0)])
        with RunStore.read(folder) as reader:
            assert reader.trajectories("s") == [attempt(0)]
            writer.add("s", [attempt(1)])
            assert len(reader.trajectories("s")) == 2
            with pytest.raises(UsageError, match="readonly"):
                reader.add("s", [attempt(2)])
    with pytest.raises(UsageError, match="holds no run.db"):
        RunStore.read(folder.with_name("nothing"))
    assert not folder.with_name("nothing").exists()


# -- Stages -----------------------------------------------------------------------------------------------------------


def test_a_stage_is_worked_once(folder: Path):
    calls = []

    def work(number: int) -> dict[str, Any]:
        calls.append(number)
        return {"b": [1, 2.5, None], "a": number}

    with RunStore.open(folder, CONFIG) as store:
        assert store.stage("train", work, 3) == store.stage("train", work, 4) == {"b": [1, 2.5, None], "a": 3}
    with RunStore.open(folder, CONFIG) as store:
        assert store.stage("train", work, 5)["a"] == 3
        store.stage("another", work, 6)
        assert [*store.results()] == ["train", "another"]
    assert calls == [3, 6]


def test_a_stage_that_fails_is_worked_again(folder: Path):
    with RunStore.open(folder, CONFIG) as store:
        with pytest.raises(ZeroDivisionError):
            store.stage("train", lambda: 1 / 0)
        assert store.results() == {}
        assert store.stage("train", lambda: 5) == 5


def test_an_adapter_is_made_whole_or_not_at_all(folder: Path):
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


@pytest.mark.parametrize("statement", ["UPDATE trajectories SET data = ''", "DELETE FROM trajectories"])
def test_trajectories_are_append_only(folder: Path, statement):
    with RunStore.open(folder, CONFIG) as store:
        store.add("s", [attempt(0)])
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        tamper(folder, statement)
    assert stored(folder) == [attempt(0)]


def test_a_wave_is_stored_whole_or_not_at_all(folder: Path):
    with RunStore.open(folder, CONFIG) as store:
        store.add("s", [attempt(0)])
        with pytest.raises(UsageError, match="UNIQUE"):
            store.add("s", [attempt(1), attempt(2), attempt(0)])
        assert store.trajectories("s") == [attempt(0)]
        with pytest.raises(ValueError, match="not JSON compliant"):
            store.add("s", [attempt(1), attempt(2, score=float("nan"))])
        assert store.trajectories("s") == [attempt(0)]
        store.add("other", [attempt(0)])
        store.add("s", [attempt(1, final_observation="\udcff \u2028 \x00 🙂")])
        assert store.trajectory_stages() == ["s", "other"]
    assert stored(folder)[1].final_observation == "\udcff \u2028 \x00 🙂"


@pytest.mark.parametrize("table", ["trajectories", "stages"])
def test_a_damaged_row_is_named(folder: Path, table):
    with RunStore.open(folder, CONFIG) as store:
        store.add("s", [attempt(0), attempt(1)])
        store.stage("score", lambda: 0.25)
    tamper(folder, "DROP TRIGGER append_only_update")
    tamper(folder, "UPDATE trajectories SET data = replace(data, 'end', 'eNd') WHERE key = 't1#0'")
    tamper(folder, "UPDATE stages SET result = '0.75'")
    with RunStore.open(folder, CONFIG) as store:
        if table == "trajectories":
            with pytest.raises(UsageError, match=r"the row of trajectory of 's' 't1#0' is damaged.*restore the file"):
                store.trajectories("s")
        else:
            for reading in (store.results, lambda: store.stage("score", lambda: 0)):
                with pytest.raises(UsageError, match="the row of stage 'score' is damaged"):
                    reading()


def test_other_damage_is_named_too(folder: Path):
    with RunStore.open(folder, CONFIG) as store:
        store.add("s", [attempt(0)])
    tamper(folder, "DROP TRIGGER append_only_update")
    tamper(folder, "UPDATE trajectories SET data = x'00ff'")
    with RunStore.read(folder) as store, pytest.raises(UsageError, match="the row of trajectory of 's'"):
        store.trajectories("s")
    for config in ("{bad", "[1]", "7"):
        tamper(folder, f"UPDATE meta SET value = '{config}' WHERE key = 'config'")
        with RunStore.read(folder) as store, pytest.raises(UsageError, match="its configuration is damaged"):
            _ = store.config
        with pytest.raises(UsageError, match="its configuration is damaged"):
            RunStore.open(folder, CONFIG)


def test_a_damaged_file_is_refused(folder: Path):
    with RunStore.open(folder, CONFIG) as store:
        store.add("s", [attempt(i, final_observation="x" * 5000) for i in range(20)])
    data = bytearray((folder / "run.db").read_bytes())
    data[4096:-4096] = b"\xa5" * (len(data) - 8192)
    (folder / "run.db").write_bytes(data)
    with pytest.raises(UsageError, match="malformed.*Restore the file from a copy"):
        stored(folder)


# -- Collecting -------------------------------------------------------------------------------------------------------


class Guesser:
    name = "guesser"

    def __init__(self) -> None:
        self.played: list[str] = []

    async def act(self, episode: Episode) -> Step:
        self.played.append(f"{episode.task.id}#{episode.seed}")
        return Step(episode.observation, "", str(episode.task.params["number"]))


def jobs(agent: Any, n: int = 8, seed: int = 5) -> list[Job]:
    return [Job(task, agent, seed=seed) for task in Echo.tasks("train").tasks[:n]]


def test_collect_plays_only_what_is_missing(folder: Path):
    agent = Guesser()
    with RunStore.open(folder, CONFIG) as store:
        undisturbed = store.collect("all", Echo, jobs(agent), at_once=3)
        first = store.collect("cut", Echo, jobs(agent, 3), at_once=3)
    agent.played.clear()
    with RunStore.open(folder, CONFIG) as store:
        assert store.collect("cut", Echo, jobs(agent), at_once=3) == undisturbed
        assert len(agent.played) == 5
        assert store.collect("cut", Echo, jobs(agent), at_once=3) == undisturbed
        assert len(agent.played) == 5
        assert store.trajectories("cut")[:3] == first


def test_collect_refuses_to_continue_other_attempts(folder: Path):
    agent = Guesser()
    with RunStore.open(folder, CONFIG) as store:
        store.collect("s", Echo, jobs(agent, 4), at_once=2)
        for other in (jobs(agent, 2), jobs(agent, 8)[1:], jobs(agent, 8, seed=6)):
            with pytest.raises(UsageError, match="holds 4 attempts, which are not the first of the"):
                store.collect("s", Echo, other)
        assert len(store.trajectories("s")) == 4


def test_collect_works_inside_a_running_loop(folder: Path):
    async def notebook() -> list[Trajectory]:
        with RunStore.open(folder, CONFIG) as store:
            return store.collect("s", Echo, jobs(Guesser()), at_once=3)

    assert asyncio.run(notebook()) == stored(folder)


def test_scopes_keep_apart_what_several_seeds_do(folder: Path):
    with RunStore.open(folder, CONFIG) as store:
        for seed in range(2):
            view = store.scoped(f"seed{seed}")
            view.add("collect/policy", [attempt(seed)])
            assert view.stage("score/base", lambda seed=seed: seed) == seed
        assert store.trajectory_stages() == ["collect/seed0/policy", "collect/seed1/policy"]
        assert store.trajectories("collect/seed1/policy") == [attempt(1)]
        assert store.results() == {"score/seed0/base": 0, "score/seed1/base": 1}


# -- Trouble ----------------------------------------------------------------------------------------------------------


def test_a_full_database_loses_nothing(folder: Path):
    big = [attempt(i, final_observation="x" * 5000) for i in range(200)]
    with RunStore.open(folder, CONFIG) as store:
        store.add("s", big[:5])
        store._db.execute("PRAGMA max_page_count=40")
        with pytest.raises(UsageError, match="full; what was stored before is kept. Free some disk space"):
            store.add("s", big[5:])
        assert store.trajectories("s") == big[:5]
        store._db.execute("PRAGMA max_page_count=100000")
        store.add("s", big[5:])
    assert stored(folder) == big
