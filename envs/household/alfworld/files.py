"""Reader of ALFWorld's game files (`game.tw-pddl`) and their folder tree."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ....errors import UsageError
from ...core import Task, TaskSet
from ...reading import parse_json, read_bytes
from ..engine import Engine
from ..generator import ENV_ID
from ..language.domain import read_domain
from ..language.lisp import MAX_CHARACTERS
from ..wording import TASK_PREFIX, UNKNOWN_GOAL, compile_wording
from .problem import make_game, read_problem

GAME_FILE_NAME = "game.tw-pddl"
"""File name of ALFWorld's game files."""
MAX_BYTES = 4 * MAX_CHARACTERS
"""Maximum size of a game file. ALFWorld's have about 100,000 bytes."""
MAX_NAMED = 10
"""Maximum number of broken files that a summary names."""
FIELDS = ("pddl_domain", "grammar", "pddl_problem")
"""Fields of a game file that hold its texts."""
SKIPPED_WORDS = ("movable", "Sliced")
"""ALFWorld skips games with one of these words in their path."""


@dataclass(frozen=True)
class GameFile:
    """The content of a game file."""

    texts: Mapping[str, str]
    """Texts by field name; see `FIELDS`."""
    solvable: bool | None
    """Whether the file marks the game as solvable; None if the field is missing."""
    walkthrough: tuple[str, ...]
    """Commands that win the game; empty if the file has none."""
    hash: str
    """SHA-256 of the bytes of the file, in 64 hexadecimal digits."""


def read_file(path: Path) -> GameFile:
    """Read a game file.

    Args:
        path: Path of the file.

    Returns:
        Its content.

    Raises:
        UsageError: If the file cannot be read, or a field is missing or invalid. The message names the file.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UsageError(f"{path}: it has {size:,} bytes; expected at most {MAX_BYTES:,}")
        content = read_bytes(path)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(
            f"cannot read the game file {str(path)!r} ({why}); pass the path of a game file of ALFWorld"
        ) from None
    return parse_file(content, str(path))


def parse_file(content: bytes, where: str) -> GameFile:
    """Parse the content of a game file. `where` is its name in error messages."""
    try:
        data = parse_json(content)
    except ValueError as error:
        raise UsageError(
            f"{where}: it is not JSON ({error}); the file may be truncated, so download it again"
        ) from None
    if not isinstance(data, dict):
        raise UsageError(
            f"{where}: its content is a {type(data).__name__}; expected a JSON object with {', '.join(FIELDS)}"
        )
    for name in FIELDS:
        if not isinstance(data.get(name), str):
            found = type(data[name]).__name__ if name in data else "missing"
            raise UsageError(f"{where}: its field {name!r} is {found}; expected a text")
        _refuse_surrogates(data[name], f"{where}: its field {name!r}")
    solvable = data.get("solvable")
    plan = data.get("walkthrough") or ()
    if not isinstance(plan, list | tuple) or not all(isinstance(step, str) for step in plan):
        raise UsageError(f"{where}: its field 'walkthrough' is not a list of commands")
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
        raise UsageError(
            f"{what} is not valid text ({error.reason} at {error.start:,}); download the file again"
        ) from None


def load_engine(file: GameFile, where: str) -> Engine:
    """Return the engine of a game file.

    Args:
        file: Content of the file.
        where: Name of the file in error messages.

    Returns:
        The engine.

    Raises:
        UsageError: If the game is not supported. The message starts with `where`.
    """
    domain_text, grammar, problem_text = (file.texts[name] for name in FIELDS)
    try:
        domain = read_domain(domain_text)
        wording = compile_wording(domain_text, grammar)
        game = make_game(read_problem(problem_text, domain), domain, UNKNOWN_GOAL)
        engine = Engine(game, wording)
        state = engine.initial_state()
        task = wording.task.render(engine.tables, state).removeprefix(TASK_PREFIX).removesuffix(".")
        engine.game = replace(game, task=task)
        # Errors in the texts of the initial state show up here, while tasks are loaded, not during an evaluation.
        engine.intro(state)
        engine.admissible(state)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    except RecursionError:
        raise UsageError(f"{where}: it is nested too deeply") from None
    return engine


@dataclass(frozen=True)
class Folder:
    """The games of one split in ALFWorld's folder tree."""

    tasks: TaskSet
    """One task per playable game."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Number of games that ALFWorld skips too, by reason."""
    broken: tuple[str, ...] = ()
    """Error messages of the files that cannot be played."""

    @property
    def summary(self) -> str:
        """One line with the number of games, and the number of games left out, by reason."""
        parts = [f"{count} {reason}" for reason, count in sorted(self.skipped.items())]
        if self.broken:
            shown = self.broken[:MAX_NAMED]
            parts.append(f"{len(self.broken)} broken{', among them' * (self.broken != shown)}: {'; '.join(shown)}")
        return f"{len(self.tasks)} games" + (f"; left out: {'; '.join(parts)}" if parts else "")


def load_tasks(folder: Path | str, split: str) -> TaskSet:
    """Return the tasks of `read_folder`. Warn if games were left out."""
    found = read_folder(Path(folder), split)
    if found.skipped or found.broken:
        warnings.warn(f"{Path(folder) / split}: {found.summary}", stacklevel=3)
    return found.tasks


def read_folder(folder: Path, split: str) -> Folder:
    """Read all games under `folder/split`.

    The id of a task is the path of its game below `folder`. Its parameters are the task type and the hash of the file.
    So the same games give the same task set in any folder.

    Args:
        folder: Folder with one subfolder per split.
        split: Name of the subfolder.

    Returns:
        The tasks, and the games left out.

    Raises:
        UsageError: If the folder does not exist or holds no playable game.
    """
    try:
        return _read_folder(folder, split)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read games under {str(folder / split)!r} ({error}); name another folder") from None


def _read_folder(folder: Path, split: str) -> Folder:
    root = folder / split
    if not root.is_dir():
        there = sorted(path.name for path in folder.iterdir() if path.is_dir())[:12] if folder.is_dir() else []
        seen = f"{folder} is a file" if folder.is_file() else f"{folder} has {', '.join(there) or 'no folders'}"
        raise UsageError(
            f"there is no folder {root} of ALFWorld games; {seen}; expected FOLDER/train, FOLDER/valid_seen and "
            "FOLDER/valid_unseen"
        )
    tasks: list[Task] = []
    skipped: Counter[str] = Counter()
    broken: list[str] = []
    for path in sorted(root.rglob(GAME_FILE_NAME)):
        reason = next((f"{word} games" for word in SKIPPED_WORDS if word in str(path.relative_to(folder))), None)
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
        raise UsageError(
            f"there is no game to play under {root} ({result.summary}); expected .../{GAME_FILE_NAME} files"
        )
    return result


def _task(path: Path, root: Path, split: str) -> Task | None:
    """Return the task of a game, or None if the file does not mark the game as solvable."""
    file = read_file(path)
    if not file.solvable:
        return None
    engine = load_engine(file, str(path))
    params: dict[str, Any] = {"type": engine.game.goal.type, "game": file.hash}
    name = path.relative_to(root).parent.as_posix()
    return Task(split if name == "." else f"{split}/{name}", ENV_ID, split, 0, params, source=str(path.resolve()))


def load_task_engine(task: Task) -> Engine:
    """Return the engine of a task from `read_folder`. Raises `UsageError` if its file is missing or has changed."""
    path = Path(task.source)
    if not task.source:
        raise UsageError(
            f"task {task.id!r} has no path of its game file; create it with HouseholdEnv.tasks(source='alfworld')"
        )
    file = read_file(path)
    if file.hash != task.params["game"]:
        raise UsageError(
            f"{path}: its hash is {file.hash[:12]}; task {task.id!r} expected "
            f"{str(task.params['game'])[:12]}; the file has changed, so create the tasks again"
        )
    return load_engine(file, str(path))
