"""ALFWorld's game files: `game.tw-pddl` and the folder tree that they come in."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ....errors import UsageError
from ...core import Task, TaskSet
from ..engine import Engine
from ..generator import ENV_ID
from ..language.domain import read_domain
from ..language.lisp import MOST_CHARACTERS
from ..wording import TASK, UNKNOWN_GOAL, compile_wording
from .problem import make_game, read_problem

NAME = "game.tw-pddl"
"""What ALFWorld calls a game file."""
MOST_BYTES = 4 * MOST_CHARACTERS
"""A game file may have so many; ALFWorld's have about 100,000."""
NAMED = 10
"""So many broken files are named where they are counted."""
FIELDS = ("pddl_domain", "grammar", "pddl_problem")
"""The texts that a game file is made of."""
UNSUPPORTED = ("movable", "Sliced")
"""ALFWorld leaves out games with these words in the name of their folder."""


@dataclass(frozen=True)
class GameFile:
    """What one file holds."""

    texts: Mapping[str, str]
    """`pddl_domain`, `grammar` and `pddl_problem`."""
    solvable: bool | None
    """Whether it says that it can be won; None when it says nothing."""
    walkthrough: tuple[str, ...]
    """Commands that win it; empty when there are none in the file."""
    hash: str
    """SHA-256 of its bytes, 64 hexadecimal digits."""


def read_file(path: Path) -> GameFile:
    """The texts of a game file. Raises `UsageError` that names the file and the field."""
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is no file; name one of ALFWorld's game files")
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise UsageError(f"{path}: it has {size:,} bytes; at most {MOST_BYTES:,} are read")
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the game file {path} ({error.strerror}); name one of ALFWorld's") from None
    return parse_file(content, str(path))


def parse_file(content: bytes, where: str) -> GameFile:
    """The texts of a game file with this content; `where` is its name in messages."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: it is not JSON ({error}); is it cut short? Fetch it again") from None
    if not isinstance(data, dict):
        raise UsageError(f"{where}: expected a JSON object with {', '.join(FIELDS)}, found {type(data).__name__}")
    for name in FIELDS:
        if not isinstance(data.get(name), str):
            found = type(data[name]).__name__ if name in data else "nothing"
            raise UsageError(f"{where}: its field {name!r} is {found}, expected a text")
        _refuse_surrogates(data[name], f"{where}: its field {name!r}")
    solvable = data.get("solvable")
    plan = data.get("walkthrough") or ()
    if not isinstance(plan, list | tuple) or not all(isinstance(step, str) for step in plan):
        raise UsageError(f"{where}: its field 'walkthrough' is no list of commands")
    _refuse_surrogates("".join(plan), f"{where}: its field 'walkthrough'")
    return GameFile(
        {name: data[name] for name in FIELDS},
        None if solvable is None else bool(solvable),
        tuple(plan),
        hashlib.sha256(content).hexdigest(),
    )


def _refuse_surrogates(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{what} is no text ({error.reason} at {error.start:,}); fetch it again") from None


def load_engine(file: GameFile, where: str) -> Engine:
    """The engine of a game file. Raises `UsageError`, which begins with `where`, for what it cannot play."""
    domain_text, grammar, problem_text = (file.texts[name] for name in FIELDS)
    try:
        domain = read_domain(domain_text)
        wording = compile_wording(domain_text, grammar)
        game = make_game(read_problem(problem_text, domain), domain, UNKNOWN_GOAL)
        engine = Engine(game, wording)
        state = engine.initial()
        task = wording.task.say(engine.tables, state).removeprefix(TASK).removesuffix(".")
        engine.game = replace(game, task=task)
        # What is wrong with how it begins is said here, where it costs one game and not an evaluation.
        engine.intro(state)
        engine.admissible(state)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    except RecursionError:
        raise UsageError(f"{where}: it is nested too deeply") from None
    return engine


@dataclass(frozen=True)
class Folder:
    """The games of one split of ALFWorld's folder tree."""

    tasks: TaskSet
    """One task a game that can be played."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Why games were left out as ALFWorld leaves them out, and how many for each reason."""
    broken: tuple[str, ...] = ()
    """What is wrong with the files that cannot be played, a message each."""

    @property
    def summary(self) -> str:
        """One line: how many games there are, and how many were left out and why."""
        parts = [f"{count} {reason}" for reason, count in sorted(self.skipped.items())]
        if self.broken:
            shown = self.broken[:NAMED]
            parts.append(f"{len(self.broken)} broken{', among them' * (self.broken != shown)}: {'; '.join(shown)}")
        return f"{len(self.tasks)} games" + (f"; left out: {'; '.join(parts)}" if parts else "")


def tasks_of(folder: Path | str, split: str) -> TaskSet:
    """The tasks of `read_folder`, with a warning that says how many games were left out, and why."""
    found = read_folder(Path(folder), split)
    if found.skipped or found.broken:
        warnings.warn(f"{Path(folder) / split}: {found.summary}", stacklevel=3)
    return found.tasks


def read_folder(folder: Path, split: str) -> Folder:
    """The games under `folder/split`, in the folders that ALFWorld would take them from.

    A task's id is the game's path under the split and its params are the game's type and the hash of its file, so that
    the same games give the same task set wherever they lie. Raises `UsageError` when there is no game that can be
    played.
    """
    root = folder / split
    if not root.is_dir():
        there = sorted(path.name for path in folder.iterdir() if path.is_dir())[:12] if folder.is_dir() else []
        seen = f"{folder} is a file" if folder.is_file() else f"found {', '.join(there) or 'nothing'} in {folder}"
        raise UsageError(
            f"there is no folder {root} of ALFWorld games; expected FOLDER/train, FOLDER/valid_seen and "
            f"FOLDER/valid_unseen, {seen}"
        )
    tasks: list[Task] = []
    skipped: Counter[str] = Counter()
    broken: list[str] = []
    for path in sorted(root.rglob(NAME)):
        reason = next((f"{word} games" for word in UNSUPPORTED if word in str(path.relative_to(folder))), None)
        try:
            found = None if reason else _task(path, root, split)
        except UsageError as error:
            broken.append(str(error))
            continue
        if found is None:
            skipped[reason or "not solvable"] += 1
        else:
            tasks.append(found)
    result = Folder(TaskSet(tasks), dict(skipped), tuple(broken))
    if not tasks:
        raise UsageError(f"there is no game to play under {root} ({result.summary}); expected .../{NAME} files")
    return result


def _task(path: Path, root: Path, split: str) -> Task | None:
    """The task of a game; None when the file does not say that it can be won."""
    file = read_file(path)
    if not file.solvable:
        return None
    engine = load_engine(file, str(path))
    params: dict[str, Any] = {"type": engine.game.goal.type, "game": file.hash}
    name = path.relative_to(root).parent.as_posix()
    return Task(split if name == "." else f"{split}/{name}", ENV_ID, split, 0, params, source=str(path.resolve()))


def engine_of(task: Task) -> Engine:
    """The engine of a task that `read_folder` made.

    Raises `UsageError` when the file is not there any more or has changed.
    """
    path = Path(task.source)
    if not task.source:
        raise UsageError(
            f"task {task.id!r} does not say where its game lies; make it with HouseholdEnv.tasks(source='alfworld')"
        )
    file = read_file(path)
    if file.hash != task.params["game"]:
        raise UsageError(
            f"{path}: its content has the hash {file.hash[:12]}, task {task.id!r} was made from "
            f"{str(task.params['game'])[:12]}; make the tasks anew"
        )
    return load_engine(file, str(path))
