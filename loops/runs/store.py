"""`RunStore`: a run is one folder that survives `kill -9` at any instant and refuses to be continued as another run.

run.db          SQLite (WAL): the configuration, results, append-only trajectories and search trees
pictures/       what attempts showed, where that was asked for
rows/           what loops write beside them for other programs
adapters/       PEFT folders, each written beside its place and then renamed into it
config.toml     the configuration, for people to read
"""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from ...agents.models.registry import Watch, ignored
from ...agents.rollout import Job, Wave
from ...agents.trajectory import Trajectory
from ...envs.core import canonical_json
from ...errors import UsageError
from .database import Database
from .folder import lock_of, readable_errors, write_whole
from .pictures import Pictures
from .stages import Stage

Play = Callable[[Sequence[Job]], Iterator[Wave]]
"""Plays jobs in their order, wave by wave."""


class RunStore:
    """One run's folder, open in this process alone. Use as a context manager."""

    def __init__(self, folder: Path, database: Database, unlock: Callable[[], None] = lambda: None) -> None:
        self.folder = folder
        self._db = database
        self._unlock = unlock
        self._scope = ""
        self.watch: Watch = ignored
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
            begun = (folder / "run.db").exists()
            if not begun and any(p.name not in (".lock", "run.db.new") for p in folder.iterdir()):
                raise UsageError(f"{folder} is not empty and holds no run.db; name an empty or a new folder")
            unlock = lock_of(folder)
        with contextlib.ExitStack() as undo:
            undo.callback(unlock)
            database = Database(folder) if begun else Database.create(folder, config)
            undo.callback(database.close)
            store = cls(folder, database, unlock)
            store._refuse_other_config(config)
            with readable_errors(folder):
                if not (folder / "config.toml").exists():
                    import tomli_w

                    write_whole(folder / "config.toml", tomli_w.dumps(_for_toml(config)))
            undo.pop_all()
        return store

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Open a run to look at; nothing in it is changed. Raises `UsageError` when it is not a run of this version."""
        if not (folder / "run.db").exists():
            raise UsageError(f"{folder} holds no run.db; name the folder of a run (kintsugi improve ... --run FOLDER)")
        return cls(folder, Database(folder, read_only=True))

    def close(self) -> None:
        """Close the run; safe to call again."""
        self._db.close()
        self._unlock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def config(self) -> dict[str, Any]:
        """What the run was begun with."""
        try:
            return dict(json.loads(self._db.meta("config") or ""))
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"{self.folder}/run.db: its configuration is damaged ({error}); restore the file from a "
                "copy, or start again in a new run folder"
            ) from error

    def scoped(self, scope: str) -> Self:
        """The same run seen through a scope such as `seed0`: stages without a scope are of that one there."""
        view = copy.copy(self)
        view._scope = scope
        return view

    def scope(self, stage: Stage) -> Stage:
        """The stage as it is stored: of this view's scope, where it has none of its own."""
        return stage if stage.scope else replace(stage, scope=self._scope)

    def key(self, stage: Stage, attempt: str) -> str:
        """The full key of an attempt (`Trajectory.key`) or a node (`node_key`): what `Trajectory.parents` hold."""
        return self.scope(stage).key(attempt)

    def note_versions(self, found: Iterable[tuple[str, str]]) -> None:
        """Remember versions of programs that attempts were played in; all that were ever met are kept."""
        known = self.versions
        together = {name: list(known.get(name, ())) for name in known}
        for name, version in found:
            if version not in together.setdefault(name, []):
                together[name].append(version)
        if together != known:
            self._db.set_meta("versions", canonical_json(together))

    @property
    def versions(self) -> dict[str, list[str]]:
        """Versions of the programs outside this package that attempts were played in, in the order of their use."""
        return dict(json.loads(self._db.meta("versions") or "{}"))

    # -- results --------------------------------------------------------------------------------------------------

    def result(self, stage: Stage, work: Callable[..., Any], *arguments: Any) -> Any:
        """The JSON result of a stage: `work(*arguments)` the first time, what was stored ever after."""
        name = str(self.scope(stage))
        stored = self._db.values("result", "SELECT stage, data, sha FROM results WHERE stage = ?", name)
        if not stored:
            value = work(*arguments)
            self._db.append("results", [((name,), value)])
            return json.loads(canonical_json(value))
        return stored[0][1]

    def results(self) -> dict[Stage, Any]:
        """Every result, in the order in which they were stored; all scopes together."""
        stored = self._db.values("result", "SELECT stage, data, sha FROM results ORDER BY rowid")
        return {Stage.parse(name): value for name, value in stored}

    # -- attempts -------------------------------------------------------------------------------------------------

    def collect(self, stage: Stage, jobs: Sequence[Job], play: Play) -> list[Trajectory]:
        """The trajectories of `jobs`, in their order: those stored before, and the rest played now, wave by wave.

        A wave is stored whole or not at all, so a run that was cut off goes on at the wave's start and meets the same
        batches. Raises `UsageError` when the stored attempts are not the first of `jobs`: of another task, sample, seed
        or agent, which is another prompt, sampling or model too.
        """
        stored = self.trajectories(stage)
        self._refuse_other_attempts(stage, stored, jobs)
        if len(stored) < len(jobs):
            for wave in play(jobs[len(stored) :]):
                self.note_versions(wave.versions)
                self.add(stage, wave.attempts)
                stored += wave.attempts
        return stored

    def keep(self, picture: bytes) -> str:
        """Keep a picture of what an attempt showed, and name it."""
        with readable_errors(self.folder):
            return self.pictures.keep(picture)

    def add(self, stage: Stage, trajectories: Sequence[Trajectory]) -> None:
        """Store trajectories, all or none."""
        name = str(self.scope(stage))
        self._db.append("trajectories", [((name, trajectory.key), trajectory.to_json()) for trajectory in trajectories])

    def trajectories(self, stage: Stage) -> list[Trajectory]:
        """A stage's trajectories in the order in which they were stored. Raises `UsageError` for a damaged row."""
        name = str(self.scope(stage))
        query = "SELECT key, data, sha FROM trajectories WHERE stage = ? ORDER BY number"
        return [Trajectory.from_json(data) for _, data in self._db.values(f"trajectory of {name!r}", query, name)]

    def trajectory_stages(self) -> list[Stage]:
        """The stages that hold trajectories, oldest first; all scopes together."""
        rows = self._db.rows("SELECT stage FROM trajectories GROUP BY stage ORDER BY min(number)")
        return [Stage.parse(name) for (name,) in rows]

    # -- search trees ---------------------------------------------------------------------------------------------

    def tree_log(self, stage: Stage) -> StoredTrees:
        """Where the search trees of a stage are kept."""
        return StoredTrees(self, self._db, self.scope(stage))

    def tree_stages(self) -> list[Stage]:
        """The stages that hold search trees, oldest first; all scopes together."""
        rows = self._db.rows("SELECT stage FROM growth GROUP BY stage ORDER BY min(number)")
        return [Stage.parse(name) for (name,) in rows]

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

    def _refuse_other_config(self, config: Mapping[str, Any]) -> None:
        then, now = _flat(self.config), _flat(json.loads(canonical_json(config)))
        changes = [
            f"{key}: {then.get(key, 'absent')} -> {now.get(key, 'absent')}"
            for key in sorted(then.keys() | now.keys())
            if then.get(key, "absent") != now.get(key, "absent")
        ]
        if then.get("command") != now.get("command"):
            raise UsageError(
                f"{self.folder} is a run of {then.get('command')}, and asked for is {now.get('command')}; name another "
                "folder"
            )
        if changes:
            raise UsageError(
                f"{self.folder} was begun with another configuration ({'; '.join(changes)}); "
                "run with the old values to continue it, or name a new folder"
            )

    def _refuse_other_attempts(self, stage: Stage, stored: Sequence[Trajectory], jobs: Sequence[Job]) -> None:
        place = str(self.scope(stage))
        if len(stored) > len(jobs):
            raise UsageError(
                f"{self.folder}: stage {place!r} holds {len(stored)} attempts, and {len(jobs)} are asked for; "
                "use a new run folder"
            )
        for attempt, job in zip(stored, jobs, strict=False):
            then = {"agent": attempt.agent, "task": attempt.task.hash}
            now = {"agent": job.agent.name, "task": job.task.hash}
            for name in ("seed", "sample", "source", "parents"):
                then[name], now[name] = getattr(attempt, name), getattr(job, name)
            if changes := [f"{key}: {then[key]} -> {now[key]}" for key in now if then[key] != now[key]]:
                raise UsageError(
                    f"{self.folder}: stage {place!r} holds attempts that are not the first of those asked for "
                    f"(attempt {attempt.key!r}; {'; '.join(changes)}); use a new run folder, or another name"
                )


class StoredTrees:
    """The search trees of one stage: a `TreeLog`. Raises `UsageError` for a damaged row."""

    def __init__(self, store: RunStore, database: Database, stage: Stage) -> None:
        self._store = store
        self._db = database
        self._stage = stage

    def parts(self, key: str) -> list[Any]:
        """See `TreeLog.parts`."""
        name = str(self._stage)
        query = "SELECT key, data, sha FROM growth WHERE stage = ? AND key = ? ORDER BY part"
        return [part for _, part in self._db.values(f"tree of {name!r}", query, name, key)]

    def add(self, parts: Sequence[tuple[str, int, Any]]) -> None:
        """See `TreeLog.add`."""
        self._db.append("growth", [((str(self._stage), key, number), part) for key, number, part in parts])

    def tree_keys(self) -> list[str]:
        """See `TreeLog.tree_keys`."""
        query = "SELECT key FROM growth WHERE stage = ? AND part = 0 ORDER BY number"
        return [key for (key,) in self._db.rows(query, str(self._stage))]

    def close(self, cost: dict[str, Any]) -> None:
        """See `TreeLog.close`; the cost becomes a result."""
        self._store.result(self._stage.of("cost"), dict, cost)


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(value, dict) and value:
        return {k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}{key}.").items()}
    return {prefix[:-1]: canonical_json(value)}


def _for_toml(value: Any) -> Any:
    """TOML has no null; flags and `--config` read `none` as it."""
    if isinstance(value, Mapping):
        return {key: _for_toml(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_for_toml(item) for item in value]
    return "none" if value is None else value
