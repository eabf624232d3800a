"""`Task` and `TaskSet`: problems to solve in an environment, identified by a hash of their content."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from ..errors import UsageError, unknown
from .portable_rng import PortableGenerator
from .reading import parse_json, read_text

_SURROGATE = re.compile(r"[\ud800-\udfff]")


def canonical_json(value: Any) -> str:
    """Return JSON that is the same for equal values: sorted keys, no spaces, always encodable as UTF-8.

    Raises:
        TypeError: If `value` holds something that JSON does not have.
        ValueError: If it holds NaN or an infinite number.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # Bytes that a terminal cannot decode arrive as lone surrogates, which UTF-8 files and databases reject.
    return text if text.isascii() else _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def content_hash(value: Any) -> str:
    """Return 12 hexadecimal digits (48 bits) of the SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:12]


def replace_surrogates(text: str) -> str:
    """Return the text with U+FFFD for each lone surrogate, as tokenizers and UTF-8 files need it."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", join_surrogates(text))


def join_surrogates(text: str) -> str:
    """Return the text with each pair of surrogates as the one character that it stands for.

    JSON cannot tell a pair from that character, so that a stored text would not equal the original. Lone surrogates are
    kept: `canonical_json` stores them as escapes.
    """
    if text.isascii() or _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


@dataclass(frozen=True)
class Task:
    """One problem to solve in one environment. Equal tasks and equal actions give equal episodes."""

    id: str
    """Unique within a `TaskSet`, e.g. `small/valid_seen/17`."""
    env_id: str
    """Gymnasium id of the environment, e.g. `kintsugi/Household-v0`."""
    split: str
    """Name of the split, e.g. `train`, `valid_seen`, `valid_unseen`."""
    seed: int
    """Seed of the environment's random generator, unless `reset` is given another one."""
    params: dict[str, Any] = field(default_factory=dict)
    """JSON values from which the environment builds the task."""
    source: str = field(default="", compare=False)
    """Path of the task's file on this machine, if it has one; `params` then hold the hash of the file. Ignored when
    tasks are compared or hashed."""

    def __post_init__(self) -> None:
        if not (isinstance(self.id, str) and isinstance(self.env_id, str) and isinstance(self.split, str)):
            raise UsageError(
                f"task {self.id!r} has env_id {self.env_id!r} and split {self.split!r}; all three must be strings"
            )
        if not isinstance(self.seed, int) or self.seed < 0:
            raise UsageError(f"task {self.id!r}: the seed is {self.seed!r}; expected an int of at least 0")
        try:
            clean = json.loads(canonical_json(self.params)) == self.params
        except RecursionError:
            raise UsageError(f"task {self.id!r}: params are nested too deeply to be stored as JSON") from None
        except (TypeError, ValueError):
            clean = False
        if not clean:
            raise UsageError(
                f"task {self.id!r}: params {self.params!r} cannot be stored as JSON; use only str, int, finite float, "
                "bool, None, lists and dicts with str keys"
            )

    @functools.cached_property
    def hash(self) -> str:
        """Content hash of all fields except `source`, as 12 hexadecimal digits."""
        return content_hash({name: value for name, value in asdict(self).items() if name != "source"})

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, without an empty `source`. `Task(**fields)` reads them back."""
        return {name: value for name, value in asdict(self).items() if name != "source" or value}

    def __hash__(self) -> int:
        return hash(self.hash)


@dataclass(frozen=True)
class TaskSet:
    """Tasks sorted by id, with a content hash. Scores on task sets with equal hashes are comparable.

    Args:
        tasks: Tasks with unique ids, in any order.

    Raises:
        UsageError: If two tasks have the same id.
    """

    tasks: tuple[Task, ...]

    def __init__(self, tasks: Iterable[Task]) -> None:
        ordered = tuple(sorted(tasks, key=lambda task: task.id))
        for a, b in itertools.pairwise(ordered):
            if a.id == b.id:
                raise UsageError(f"two tasks have the id {a.id!r}; expected unique ids in a task set: rename one")
        object.__setattr__(self, "tasks", ordered)

    @functools.cached_property
    def hash(self) -> str:
        """Content hash of all tasks, as 12 hexadecimal digits. Printed with every score."""
        return content_hash([task.hash for task in self.tasks])

    @functools.cached_property
    def _by_id(self) -> dict[str, Task]:
        return {task.id: task for task in self.tasks}

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)

    def __getitem__(self, task_id: str) -> Task:
        """Return the task with this id. Raises `UsageError`, with similar ids, if there is none."""
        try:
            return self._by_id[task_id]
        except KeyError:
            of = f"the task set {self.hash} with {len(self)} tasks"
            raise unknown("task id", task_id, self._by_id, of) from None

    def count_shared(self, other: TaskSet) -> int:
        """Return the number of tasks in both sets. Tasks that differ only in the name of the split count as equal.

        Args:
            other: The set to compare with.
        """
        ours, theirs = ({content_hash([t.id, t.env_id, t.seed, t.params]) for t in tasks} for tasks in (self, other))
        return len(ours & theirs)

    def sample(self, n: int, seed: int) -> TaskSet:
        """Return `n` tasks drawn without replacement.

        Args:
            n: Number of tasks, from 0 to the size of the set.
            seed: Seed of the draw. Equal seeds give equal sets.

        Raises:
            UsageError: If `n` is negative or larger than the set.
        """
        if not 0 <= n <= len(self):
            raise UsageError(f"cannot draw {n} tasks from a set of {len(self)}; expected 0 to {len(self)}")
        return TaskSet(self.tasks[i] for i in PortableGenerator(seed).sample(len(self), n))

    def save(self, path: Path) -> None:
        """Write the tasks as JSON lines, one task per line.

        Args:
            path: The file to write. An existing file is replaced.
        """
        path.write_text("".join(canonical_json(task.to_json()) + "\n" for task in self.tasks), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the tasks of a file.

        Args:
            path: A file that `save` wrote.

        Raises:
            UsageError: If the file cannot be read, or if a line is not a task. The message names the line.
        """
        try:
            lines = read_text(path).rstrip("\n").split("\n")
        except (OSError, ValueError) as error:
            raise UsageError(
                f"cannot read tasks from {path} ({error}); expected a file that TaskSet.save wrote"
            ) from None
        tasks = []
        for number, line in enumerate(lines if lines != [""] else [], start=1):
            try:
                tasks.append(Task(**parse_json(line)))
            except (TypeError, ValueError, UsageError) as error:
                raise UsageError(
                    f"{path}:{number}: not a task ({error}); expected the JSON that TaskSet.save writes"
                ) from None
        return cls(tasks)
