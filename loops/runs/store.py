"""`RunStore`: a run is one folder that survives `kill -9` at any instant and refuses to be continued as another run.

run.db          SQLite (WAL): the configuration, finished stages, append-only trajectories and search trees
pictures/       what attempts showed, where that was asked for
adapters/       PEFT folders, each written beside its place and then renamed into it
config.toml     the configuration, for people to read
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

import tomli_w

from ..agents.rollout import Clock, Job, collect
from ..agents.trajectory import Trajectory
from ..envs.core import AgentEnv, canonical_json
from ..errors import UsageError
from .folder import lock_of, readable_errors, transaction, write_whole
from .pictures import Pictures

Watch = Callable[[str, float], None]
"""Gets the name of a stage and the share of it that is done, in [0, 1]."""
SCHEMA_VERSION = 2
"""Of `run.db`; a run of another version is refused, not migrated."""

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE stages (name TEXT PRIMARY KEY, result TEXT NOT NULL, sha TEXT NOT NULL);
CREATE TABLE trajectories (
    number INTEGER PRIMARY KEY, stage TEXT NOT NULL, key TEXT NOT NULL, data TEXT NOT NULL, sha TEXT NOT NULL,
    UNIQUE (stage, key));
CREATE TABLE growth (
    number INTEGER PRIMARY KEY, stage TEXT NOT NULL, key TEXT NOT NULL, part INTEGER NOT NULL, data TEXT NOT NULL,
    sha TEXT NOT NULL, UNIQUE (stage, key, part));
CREATE TRIGGER append_only_update BEFORE UPDATE ON trajectories BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER append_only_delete BEFORE DELETE ON trajectories BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER growth_only_update BEFORE UPDATE ON growth BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER growth_only_delete BEFORE DELETE ON growth BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""


class RunStore:
    """One run's folder, open in this process alone. Use as a context manager."""

    def __init__(self, folder: Path, db: sqlite3.Connection, lock: IO[str] | None = None) -> None:
        self.folder = folder
        self._db = db
        self._lock = lock
        self._scope = ""
        self.watch: Watch = lambda stage, share: None
        """Told how far the stage is that is under way."""
        self.pictures = Pictures(folder / "pictures")
        self.illustrated = False
        """Whether pictures of what attempts show are kept."""

    # -- opening --------------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, folder: Path, config: Mapping[str, Any]) -> Self:
        """Create the run, or continue it if `config` is the one that it was begun with.

        Raises `UsageError` for a run of another version, for a changed configuration (each change named), for a
        folder that holds something else, and for a run that another process has open.
        """
        with readable_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / "run.db"
            if not path.exists() and any(p.name not in (".lock", "run.db.new") for p in folder.iterdir()):
                raise UsageError(f"{folder} is not empty and holds no run.db; name an empty or a new folder")
            lock = lock_of(folder)
        with contextlib.ExitStack() as undo, readable_errors(folder):
            undo.callback(lock.close)
            if not path.exists():
                _create(path, config)
            store = cls(folder, _connect(path), lock)
            undo.callback(store.close)
            store._db.execute("PRAGMA journal_mode=WAL")
            store._db.execute("PRAGMA synchronous=FULL")
            store._refuse_other_version()
            store._refuse_other_config(config)
            if not (folder / "config.toml").exists():
                write_whole(folder / "config.toml", tomli_w.dumps(_without_none(config)))
            undo.pop_all()
        return store

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Open a run to look at; nothing in it is changed. Raises `UsageError` when it is not a run of this version."""
        path = folder / "run.db"
        if not path.exists():
            raise UsageError(f"{folder} holds no run.db; name the folder of a run (kintsugi improve ... --run FOLDER)")
        with contextlib.ExitStack() as undo, readable_errors(folder):
            store = cls(folder, _connect(path))
            undo.callback(store.close)
            store._db.execute("PRAGMA query_only=ON")
            store._refuse_other_version()
            undo.pop_all()
        return store

    def close(self) -> None:
        """Close the run; safe to call again."""
        self._db.close()
        if self._lock:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def config(self) -> dict[str, Any]:
        """What the run was begun with."""
        try:
            return dict(json.loads(self._meta("config")))
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"{self.folder}/run.db: its configuration is damaged ({error}); restore the file from a "
                "copy, or start again in a new run folder"
            ) from error

    def scoped(self, scope: str) -> Self:
        """The same run seen through a scope such as `seed0`: `collect/policy` means `collect/seed0/policy` there."""
        view = copy.copy(self)
        view._scope = scope
        return view

    def _named(self, stage: str) -> str:
        kind, _, rest = stage.partition("/")
        return "/".join(part for part in (kind, self._scope, rest) if part)

    def note_versions(self, found: Iterable[tuple[str, str]]) -> None:
        """Remember versions of programs that attempts were played in; all that were ever met are kept."""
        known = self.versions
        together = {name: list(known.get(name, ())) for name in known}
        for name, version in found:
            if version not in together.setdefault(name, []):
                together[name].append(version)
        if together != known:
            with readable_errors(self.folder):
                self._db.execute("INSERT OR REPLACE INTO meta VALUES ('versions', ?)", (canonical_json(together),))

    @property
    def versions(self) -> dict[str, list[str]]:
        """Versions of the programs outside this package that attempts were played in, in the order of their use."""
        with readable_errors(self.folder):
            row = self._db.execute("SELECT value FROM meta WHERE key = 'versions'").fetchone()
        return dict(json.loads(row[0])) if row else {}

    # -- stages ---------------------------------------------------------------------------------------------------

    def stage(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """The JSON result of a stage: `work(*arguments)` the first time, what was stored ever after."""
        name = self._named(name)
        with readable_errors(self.folder):
            row = self._db.execute("SELECT result, sha FROM stages WHERE name = ?", (name,)).fetchone()
        if row is not None:
            return json.loads(self._checked("stage", name, *row))
        result = canonical_json(work(*arguments))
        with readable_errors(self.folder):
            self._db.execute("INSERT INTO stages VALUES (?, ?, ?)", (name, result, _sha(result)))
        return json.loads(result)

    def results(self) -> dict[str, Any]:
        """Every finished stage's result, in the order in which they finished."""
        with readable_errors(self.folder):
            rows = self._db.execute("SELECT name, result, sha FROM stages ORDER BY rowid").fetchall()
        return {name: json.loads(self._checked("stage", name, result, sha)) for name, result, sha in rows}

    def collect(
        self,
        stage: str,
        make_env: Callable[[], AgentEnv],
        jobs: Sequence[Job],
        *,
        clock: Clock | None = None,
        **options: Any,
    ) -> list[Trajectory]:
        """The trajectories of `jobs`, in their order: those stored before, and the rest played now, wave by wave.

        A wave is stored whole or not at all, so a run that was cut off goes on at the wave's start and meets the same
        batches. Raises `UsageError` when the stored attempts are not the first of `jobs`.
        """
        stored = self.trajectories(stage)
        asked = [(job.task, job.sample, job.seed) for job in jobs]
        if [(t.task, t.sample, t.seed) for t in stored] != asked[: len(stored)]:
            raise UsageError(
                f"{self.folder}: stage {stage!r} holds {len(stored)} attempts, which are not the first of the "
                f"{len(jobs)} asked for (by task, sample and seed); use a new run folder"
            )
        if len(stored) == len(jobs):
            return stored
        left = len(jobs) - len(stored)

        played: list[AgentEnv] = []

        def noted() -> AgentEnv:
            played.append(make_env())
            return played[-1]

        def on_wave(wave: list[Trajectory]) -> None:
            self.note_versions(pair for env in played for pair in env.versions().items())
            self.add(stage, wave)

        def progress(share: float) -> None:
            self.watch(self._named(stage), 1 - left * (1 - share) / len(jobs))

        if self.illustrated:
            options["keep"] = self._keep
        return stored + collect(noted, jobs[len(stored) :], on_wave=on_wave, progress=progress, clock=clock, **options)

    def _keep(self, picture: bytes) -> str:
        with readable_errors(self.folder):
            return self.pictures.keep(picture)

    def add(self, stage: str, trajectories: Sequence[Trajectory]) -> None:
        """Store trajectories, all or none."""
        stage, rows = self._named(stage), []
        for trajectory in trajectories:
            data = canonical_json(trajectory.to_json())
            rows.append((stage, trajectory.key, data, _sha(data)))
        with readable_errors(self.folder), transaction(self._db):
            self._db.executemany("INSERT INTO trajectories (stage, key, data, sha) VALUES (?, ?, ?, ?)", rows)

    def trajectories(self, stage: str) -> list[Trajectory]:
        """A stage's trajectories in the order in which they were stored. Raises `UsageError` for a damaged row."""
        stage = self._named(stage)
        with readable_errors(self.folder):
            rows = self._db.execute(
                "SELECT key, data, sha FROM trajectories WHERE stage = ? ORDER BY number", (stage,)
            ).fetchall()
        return [
            Trajectory.from_json(json.loads(self._checked(f"trajectory of {stage!r}", key, data, sha)))
            for key, data, sha in rows
        ]

    def trajectory_stages(self) -> list[str]:
        """Names of the stages that hold trajectories, oldest first."""
        with readable_errors(self.folder):
            rows = self._db.execute("SELECT stage FROM trajectories GROUP BY stage ORDER BY min(number)").fetchall()
        return [row[0] for row in rows]

    # -- search trees ---------------------------------------------------------------------------------------------

    def add_growth(self, stage: str, parts: Iterable[tuple[str, int, Any]]) -> None:
        """Store (tree's key, number of the part, JSON) of trees that are being searched, all or none."""
        stage, rows = self._named(stage), []
        for key, part, value in parts:
            data = canonical_json(value)
            rows.append((stage, key, part, data, _sha(data)))
        with readable_errors(self.folder), transaction(self._db):
            self._db.executemany("INSERT INTO growth (stage, key, part, data, sha) VALUES (?, ?, ?, ?, ?)", rows)

    def growth(self, stage: str, key: str) -> list[Any]:
        """The stored parts of one tree, in order; empty for a tree that was not begun."""
        stage = self._named(stage)
        with readable_errors(self.folder):
            rows = self._db.execute(
                "SELECT data, sha FROM growth WHERE stage = ? AND key = ? ORDER BY part", (stage, key)
            ).fetchall()
        return [json.loads(self._checked(f"tree of {stage!r}", key, data, sha)) for data, sha in rows]

    def trees(self, stage: str) -> list[str]:
        """Keys of a stage's trees, finished or not, in the order in which they were begun."""
        with readable_errors(self.folder):
            rows = self._db.execute(
                "SELECT key FROM growth WHERE stage = ? AND part = 0 ORDER BY number", (self._named(stage),)
            ).fetchall()
        return [row[0] for row in rows]

    def tree_stages(self) -> list[str]:
        """Names of the stages that hold search trees, oldest first."""
        with readable_errors(self.folder):
            rows = self._db.execute("SELECT stage FROM growth GROUP BY stage ORDER BY min(number)").fetchall()
        return [row[0] for row in rows]

    # -- adapters -------------------------------------------------------------------------------------------------

    def adapter(self, name: str, make: Callable[[Path], None]) -> Path:
        """The folder `adapters/<scope>/<name>`, made by `make(folder)` if it is not there; never seen half-written."""
        final = self.place("adapters", name)
        if final.exists():
            return final
        with readable_errors(self.folder):
            unfinished = final.with_name(f".{final.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            make(unfinished)
            unfinished.rename(final)
        return final

    def place(self, kind: str, name: str) -> Path:
        """Where a file of this run, or of its scope, belongs: `<kind>/<scope>/<name>` in the run's folder."""
        return self.folder / kind / self._scope / name

    # -- inside ---------------------------------------------------------------------------------------------------

    def _meta(self, key: str) -> str:
        with readable_errors(self.folder):
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise UsageError(f"{self.folder}/run.db has no {key!r}: it is not a run of Kintsugi, or damaged")
        return str(row[0])

    def _refuse_other_version(self) -> None:
        found = self._meta("schema")
        if found != str(SCHEMA_VERSION):
            raise UsageError(
                f"{self.folder} was written with run format {found}, this Kintsugi reads {SCHEMA_VERSION}; "
                "use the version that wrote it, or a new run folder"
            )

    def _refuse_other_config(self, config: Mapping[str, Any]) -> None:
        then, now = _flat(self.config), _flat(json.loads(canonical_json(config)))
        changes = [
            f"{key}: {then.get(key, 'absent')} -> {now.get(key, 'absent')}"
            for key in sorted(then.keys() | now.keys())
            if then.get(key, "absent") != now.get(key, "absent")
        ]
        if changes:
            raise UsageError(
                f"{self.folder} was begun with another configuration ({'; '.join(changes)}); "
                "run with the old values to continue it, or name a new folder"
            )

    def _checked(self, kind: str, key: str, data: str, sha: str) -> str:
        if not isinstance(data, str) or _sha(data) != sha:
            raise UsageError(
                f"{self.folder}/run.db: the row of {kind} {key!r} is damaged (its checksum does not match); "
                "restore the file from a copy, or start again in a new run folder"
            )
        return data


def _create(path: Path, config: Mapping[str, Any]) -> None:
    """Write the empty database beside its place and rename it, so that a run.db is always whole."""
    new = path.with_name("run.db.new")
    new.unlink(missing_ok=True)
    db = sqlite3.connect(new)
    # A journal file beside it would outlive a kill and be taken for that of the next attempt.
    db.execute("PRAGMA journal_mode=MEMORY")
    db.executescript(_SCHEMA)
    db.execute("INSERT INTO meta VALUES ('schema', ?)", (str(SCHEMA_VERSION),))
    db.execute("INSERT INTO meta VALUES ('config', ?)", (canonical_json(config),))
    db.commit()
    db.close()
    new.rename(path)


def _connect(path: Path) -> sqlite3.Connection:
    """One connection, used by one thread at a time: inside a running event loop `collect` works in another one."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(value, dict) and value:
        return {k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}{key}.").items()}
    return {prefix[:-1]: canonical_json(value)}


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value if item is not None] if isinstance(value, list | tuple) else value
