"""`RunStore`: the folder of a run.

The folder stays consistent if the process is killed at any instant. A run can be resumed only with the configuration
that it was started with.

run.db          SQLite (WAL): the configuration, results, append-only trajectories and search trees
pictures/       pictures of attempts, if they are kept
rows/           files that loops write for other programs
adapters/       PEFT folders, created atomically
config.toml     the configuration in readable form
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

from ...agents.models.registry import OnStatus, no_status
from ...agents.rollout import Job, Wave
from ...agents.trajectory import Trajectory
from ...envs.core import canonical_json
from ...envs.reading import parse_json
from ...errors import UsageError
from .database import Database
from .folder import FolderMaker, holds_run, lock_folder, readable_errors, write_atomically
from .pictures import Pictures
from .stages import Stage

Play = Callable[[Sequence[Job]], Iterator[Wave]]
"""Plays jobs in order and yields their attempts wave by wave."""


class RunStore:
    """The folder of one run, which `open` locks for this process. Use the store as a context manager.

    A new run that an error ends before anything is stored is removed, so that the command can be repeated with other
    settings.

    Attributes:
        folder: Folder of the run.
        on_status: Called with the name and the completed share of the current stage.
        pictures: Stored pictures.
        keeps_pictures: Whether pictures of attempts are stored; False by default.
    """

    def __init__(self, folder: Path, database: Database, unlock: Callable[[], None] = lambda: None) -> None:
        self.folder = folder
        self._db = database
        self._unlock = unlock
        self._maker: FolderMaker | None = None
        self._scope = ""
        self.on_status: OnStatus = no_status
        self.pictures = Pictures(folder / "pictures")
        self.keeps_pictures = False

    # -- opening --------------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, folder: Path, config: Mapping[str, Any]) -> Self:
        """Create a run, or resume it.

        Args:
            folder: Folder of the run; created if it does not exist.
            config: Configuration as JSON-compatible values. A run is resumed only with the one it was started with.

        Returns:
            The open store.

        Raises:
            UsageError: The configuration differs (the message says how), the run has another format or is open in
                another process, or the folder is neither empty nor a run.
        """
        with contextlib.ExitStack() as undo:
            with readable_errors(folder):
                exists = holds_run(folder)
                maker = FolderMaker(folder)
                undo.callback(maker.remove_folders)
                maker.make()
                if not exists and any(p.name not in (".lock", "run.db.new") for p in folder.iterdir()):
                    raise UsageError(f"{folder} is not empty and holds no run.db; name an empty or a new folder")
                unlock = lock_folder(folder)
                undo.callback(unlock)
                exists = holds_run(folder)
            undo.callback(maker.remove_files, run=not exists)
            database = Database(folder) if exists else Database.create(folder, config)
            undo.callback(database.close)
            store = cls(folder, database, unlock)
            store._refuse_other_config(config)
            with readable_errors(folder):
                if not (folder / "config.toml").exists():
                    import tomli_w

                    write_atomically(folder / "config.toml", tomli_w.dumps(_for_toml(config)))
            store._maker = None if exists else maker
            undo.pop_all()
        return store

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Open a run read-only and without a lock; raise `UsageError` if it is not a run of this format."""
        if not holds_run(folder):
            raise UsageError(f"{folder} holds no run.db; name the folder of a run (kintsugi improve ... --run FOLDER)")
        return cls(folder, Database(folder, read_only=True))

    def close(self) -> None:
        """Close the run; safe to call again."""
        self._db.close()
        self._unlock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Close the run. If an error ended a new run that holds nothing yet, remove it: other settings may follow.

        An interruption (`KeyboardInterrupt`) gets a note that says what the run holds.
        """
        maker = self._maker if isinstance(error, Exception) and self._is_new_and_empty() else None
        if isinstance(error, KeyboardInterrupt):
            with contextlib.suppress(UsageError):
                error.add_note(f"{self.folder} keeps {self._contents()}")
        self._db.close()
        if maker:
            maker.remove_files(run=True)
        self._unlock()
        if maker:
            maker.remove_folders()

    def _is_new_and_empty(self) -> bool:
        if self._maker is None:
            return False
        try:
            stored = any(self._db.names(table) for table in ("results", "trajectories", "growth"))
            return not stored and not self._maker.holds_other_files()
        except (UsageError, OSError):
            return False

    @property
    def config(self) -> dict[str, Any]:
        """Configuration that the run was started with."""
        return self._meta("config", "configuration")

    def _meta(self, key: str, what: str) -> dict[str, Any]:
        try:
            return dict(parse_json(self._db.meta(key)))
        except (TypeError, ValueError) as error:
            raise self._damaged(f"its {what}", error) from error

    def _damaged(self, what: str, error: Exception) -> UsageError:
        return UsageError(
            f"{self.folder}/run.db: {what} is damaged ({error!r:.200}); restore the file from a copy, or start again "
            "in a new run folder"
        )

    def with_scope(self, scope: str) -> Self:
        """Return a view of this run that puts stages and adapters without a scope into `scope`, such as `seed0`."""
        view = copy.copy(self)
        view._scope = scope
        return view

    def scoped_stage(self, stage: Stage) -> Stage:
        """Return the stage as it is stored, with this view's scope if it has none."""
        return stage if stage.scope else replace(stage, scope=self._scope)

    def key(self, stage: Stage, attempt: str) -> str:
        """Return the full key, as in `Trajectory.parents`, from that in the stage (`Trajectory.key` or `node_key`)."""
        return self.scoped_stage(stage).key(attempt)

    def record_versions(self, versions: Iterable[tuple[str, str]]) -> None:
        """Add (name, version) pairs of external programs that attempts were played with."""
        known = self.versions
        merged = {name: list(known.get(name, ())) for name in known}
        for name, version in versions:
            if version not in merged.setdefault(name, []):
                merged[name].append(version)
        if merged != known:
            self._db.set_meta("versions", canonical_json(merged))

    @property
    def versions(self) -> dict[str, list[str]]:
        """Versions of external programs, such as a browser, that attempts were played with, in order of first use."""
        return self._meta("versions", "record of versions")

    def _contents(self) -> str:
        counts = {
            "attempt": len(self._db.names("trajectories")),
            "search tree": sum(part == 0 for *_, part in self._db.names("growth")),
            "adapter": sum(1 for _ in self.folder.glob("adapters/**/adapter_config.json")),
        }
        found = [f"{count:,} {noun}{'s' * (count != 1)}" for noun, count in counts.items() if count]
        return ", ".join(found) or "no attempts yet"

    # -- results --------------------------------------------------------------------------------------------------

    def result(self, stage: Stage, work: Callable[..., Any], *arguments: Any) -> Any:
        """Return the JSON result of a stage, computing and storing it on the first call.

        Args:
            stage: Stage of the result.
            work: Computes the result, a JSON-compatible value.
            *arguments: Arguments of `work`.

        Returns:
            The stored result, as JSON decodes it (tuples become lists).
        """
        name = str(self.scoped_stage(stage))
        stored = self._db.values("results", name)
        if not stored:
            value = work(*arguments)
            self._db.append("results", [((name,), value)])
            return json.loads(canonical_json(value))
        return stored[0][1]

    def results(self) -> dict[Stage, Any]:
        """Return the results of all scopes, in the order of storage."""
        return {Stage.parse(name): value for (name,), value in self._db.values("results")}

    # -- attempts -------------------------------------------------------------------------------------------------

    def collect(self, stage: Stage, jobs: Sequence[Job], play: Play) -> list[Trajectory]:
        """Return the attempts of jobs, after playing and storing those that are not stored yet.

        A wave is stored in one transaction, so an interrupted run resumes at the start of a wave with the same batches.

        Args:
            stage: Stage that holds the attempts.
            jobs: Attempts to make.
            play: Plays the remaining jobs.

        Returns:
            The attempts, in the order of `jobs`.

        Raises:
            UsageError: More attempts are stored than there are jobs, or a stored attempt has another task, sample,
                seed, source, parents or agent than its job. An agent with another prompt, sampling or model is another
                agent.
        """
        stored = self.trajectories(stage)
        self._refuse_other_attempts(stage, stored, jobs)
        if len(stored) < len(jobs):
            for wave in play(jobs[len(stored) :]):
                self.record_versions(wave.versions)
                self.add(stage, wave.attempts)
                stored += wave.attempts
        return stored

    def save_picture(self, picture: bytes) -> str:
        """Store a picture and return its name; see `Pictures.save`."""
        with readable_errors(self.folder):
            return self.pictures.save(picture)

    def add(self, stage: Stage, trajectories: Sequence[Trajectory]) -> None:
        """Store trajectories in one transaction."""
        name = str(self.scoped_stage(stage))
        self._db.append("trajectories", [((name, trajectory.key), trajectory.to_json()) for trajectory in trajectories])

    def trajectories(self, stage: Stage) -> list[Trajectory]:
        """Return the trajectories of a stage in the order of storage; raise `UsageError` if a row is damaged."""
        name = str(self.scoped_stage(stage))
        found = []
        for key, data in self._db.values("trajectories", name):
            try:
                found.append(Trajectory.from_json(data))
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise self._damaged(f"stage {name!r}: trajectory {key[1]!r}", error) from error
        return found

    def trajectory_stages(self) -> list[Stage]:
        """Return the stages of all scopes that hold trajectories, oldest first."""
        return [Stage.parse(name) for name in dict.fromkeys(name for name, _ in self._db.names("trajectories"))]

    # -- search trees ---------------------------------------------------------------------------------------------

    def tree_log(self, stage: Stage) -> StoredTrees:
        """Return the log of a stage's search trees."""
        return StoredTrees(self, self._db, self.scoped_stage(stage))

    def tree_stages(self) -> list[Stage]:
        """Return the stages of all scopes that hold search trees, oldest first."""
        return [Stage.parse(name) for name in dict.fromkeys(name for name, _, _ in self._db.names("growth"))]

    # -- adapters -------------------------------------------------------------------------------------------------

    def adapter(self, name: str, make: Callable[[Path], None]) -> Path:
        """Return the folder of an adapter, creating it atomically on the first call.

        Args:
            name: Name of the adapter.
            make: Writes the adapter into the empty folder that it is given.

        Returns:
            The folder `adapters/<scope>/<name>`.
        """
        final = self.path_of("adapters", name)
        if final.exists():
            return final
        with readable_errors(self.folder):
            unfinished = final.with_name(f".{final.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            try:
                make(unfinished)
                unfinished.rename(final)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
        return final

    def path_of(self, kind: str, name: str) -> Path:
        """Return the path `<kind>/<scope>/<name>` in the run's folder."""
        return self.folder / kind / self._scope / name

    # -- checks ---------------------------------------------------------------------------------------------------

    def _refuse_other_config(self, config: Mapping[str, Any]) -> None:
        old, new = _flat(self.config), _flat(json.loads(canonical_json(config)))
        changes = [
            f"{key}: {old.get(key, 'absent')} -> {new.get(key, 'absent')}"
            for key in sorted(old.keys() | new.keys())
            if old.get(key, "absent") != new.get(key, "absent")
        ]
        if old.get("command") != new.get("command"):
            raise UsageError(
                f"{self.folder} is a run of {old.get('command')}, not of {new.get('command')}; name another folder"
            )
        if changes:
            raise UsageError(
                f"{self.folder} was started with different settings ({'; '.join(changes)}); "
                "use the old values to resume it, or name a new folder"
            )

    def _refuse_other_attempts(self, stage: Stage, stored: Sequence[Trajectory], jobs: Sequence[Job]) -> None:
        name = str(self.scoped_stage(stage))
        if len(stored) > len(jobs):
            raise UsageError(
                f"{self.folder}: stage {name!r} holds {len(stored)} attempts; expected at most {len(jobs)}; "
                "use a new run folder"
            )
        for attempt, job in zip(stored, jobs, strict=False):
            old = {"agent": attempt.agent, "task": attempt.task.hash}
            new = {"agent": job.agent.name, "task": job.task.hash}
            for field in ("seed", "sample", "source", "parents"):
                old[field], new[field] = getattr(attempt, field), getattr(job, field)
            if changes := [f"{key}: {old[key]} -> {new[key]}" for key in new if old[key] != new[key]]:
                raise UsageError(
                    f"{self.folder}: stage {name!r} holds attempts that do not match the requested ones "
                    f"(attempt {attempt.key!r}; {'; '.join(changes)}); use a new run folder, or another name"
                )


class StoredTrees:
    """The search trees of one stage; implements `TreeLog`. Methods raise `UsageError` if a row is damaged."""

    def __init__(self, store: RunStore, database: Database, stage: Stage) -> None:
        self._store = store
        self._db = database
        self._stage = stage

    def parts(self, key: str) -> list[Any]:
        """See `TreeLog.parts`."""
        stored = self._db.values("growth", str(self._stage), key)
        return [part for _, part in sorted(stored, key=lambda row: row[0])]

    def add(self, parts: Sequence[tuple[str, int, Any]]) -> None:
        """See `TreeLog.add`."""
        self._db.append("growth", [((str(self._stage), key, number), part) for key, number, part in parts])

    def tree_keys(self) -> list[str]:
        """See `TreeLog.tree_keys`."""
        return [key for name, key, part in self._db.names("growth") if name == str(self._stage) and part == 0]

    def close(self, cost: dict[str, Any]) -> None:
        """Store the cost of the search as a result; see `TreeLog.close`."""
        self._store.result(self._stage.with_kind("cost"), dict, cost)


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(value, dict) and value:
        return {k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}{key}.").items()}
    return {prefix[:-1]: canonical_json(value)}


def _for_toml(value: Any) -> Any:
    """Replace None by `none`, which flags and `--config` parse as None; TOML has no null."""
    if isinstance(value, Mapping):
        return {key: _for_toml(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_for_toml(item) for item in value]
    return "none" if value is None else value
