"""What every world is: `Task`, `TaskSet`, `Snapshot` and `AgentEnv`, a plain Gymnasium environment of text."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self
from weakref import WeakValueDictionary

import gymnasium
import numpy as np

from ..errors import UsageError, unknown
from .spaces import UnicodeText

MAX_OBSERVATION = 100_000
"""Characters that an observation may have, unless an environment says otherwise."""
MAX_ACTION = 10_000
"""Characters that an action may have, unless an environment says otherwise."""


_SURROGATE = re.compile(r"[\ud800-\udfff]")


def canonical_json(value: Any) -> str:
    """`value` as JSON that is the same for equal values: sorted keys, no spaces, no NaN; always encodable as UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # What a terminal could not decode reaches us as lone surrogates, which no file and no database takes.
    return text if text.isascii() else _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def content_hash(value: Any) -> str:
    """12 hexadecimal digits (48 bits of SHA-256) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Task:
    """One thing to do in one environment. Equal tasks give equal episodes for equal actions."""

    id: str
    """Unique in its set, e.g. `small/valid_seen/17`."""
    env_id: str
    """The Gymnasium id, e.g. `kintsugi/Household-v0`."""
    split: str
    """`train`, `valid_seen`, `valid_unseen` or what the family calls its splits."""
    seed: int
    """Seeds the environment's generator when `reset` is not given a seed."""
    params: dict[str, Any] = field(default_factory=dict)
    """JSON-clean; what the environment builds the world from."""
    source: str = field(default="", compare=False)
    """The file with the world, on this machine, where there is one; `params` then hold its hash. Tasks that differ in
    it alone are equal and have the same hash."""

    def __post_init__(self) -> None:
        if not (isinstance(self.id, str) and isinstance(self.env_id, str) and isinstance(self.split, str)):
            raise UsageError(f"task {self.id!r}: id, env_id {self.env_id!r} and split {self.split!r} must be strings")
        if not isinstance(self.seed, int) or self.seed < 0:
            raise UsageError(f"task {self.id!r}: the seed is {self.seed!r}, expected an int of 0 or more")
        try:
            clean = json.loads(canonical_json(self.params)) == self.params
        except (TypeError, ValueError):
            clean = False
        if not clean:
            raise UsageError(
                f"task {self.id!r}: params {self.params!r} do not survive JSON; use only str, int, finite float, "
                "bool, None, lists and dicts with str keys"
            )

    @functools.cached_property
    def hash(self) -> str:
        """12 hexadecimal digits of everything the task says, its source aside."""
        return content_hash({name: value for name, value in asdict(self).items() if name != "source"})

    def to_json(self) -> dict[str, Any]:
        """What `Task(**...)` reads back; the source only where there is one."""
        return {name: value for name, value in asdict(self).items() if name != "source" or value}

    def __hash__(self) -> int:
        return hash(self.hash)


@dataclass(frozen=True)
class TaskSet:
    """Tasks sorted by id and hashed by content: two scores are comparable when their sets have the same hash."""

    tasks: tuple[Task, ...]

    def __init__(self, tasks: Iterable[Task]) -> None:
        ordered = tuple(sorted(tasks, key=lambda task: task.id))
        for a, b in itertools.pairwise(ordered):
            if a.id == b.id:
                raise UsageError(f"two tasks have the id {a.id!r}; ids must be unique in a TaskSet: rename one")
        object.__setattr__(self, "tasks", ordered)

    @functools.cached_property
    def hash(self) -> str:
        """12 hexadecimal digits of all tasks; printed with every score."""
        return content_hash([task.hash for task in self.tasks])

    @functools.cached_property
    def _by_id(self) -> dict[str, Task]:
        return {task.id: task for task in self.tasks}

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)

    def __getitem__(self, task_id: str) -> Task:
        """The task of this id; raises `UsageError` with the nearest ids when there is none."""
        try:
            return self._by_id[task_id]
        except KeyError:
            raise unknown(f"task id (in the set {self.hash} of {len(self)} tasks)", task_id, self._by_id) from None

    def shared(self, other: TaskSet) -> int:
        """How many tasks are in both, whatever the splits are called."""
        ours, theirs = ({content_hash([t.id, t.env_id, t.seed, t.params]) for t in tasks} for tasks in (self, other))
        return len(ours & theirs)

    def sample(self, n: int, seed: int) -> TaskSet:
        """`n` tasks drawn without replacement, the same for the same seed."""
        if not 0 <= n <= len(self):
            raise UsageError(f"cannot draw {n} tasks from a set of {len(self)}; ask for 0 to {len(self)}")
        chosen = np.random.default_rng(seed).choice(len(self), size=n, replace=False)
        return TaskSet(self.tasks[i] for i in chosen)

    def save(self, path: Path) -> None:
        """Write one task a line (JSONL)."""
        path.write_text("".join(canonical_json(task.to_json()) + "\n" for task in self.tasks), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; a missing file or a bad line raises `UsageError`, the latter with its number."""
        try:
            lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read tasks from {path} ({error}); name a file that TaskSet.save wrote") from None
        tasks = []
        for number, line in enumerate(lines if lines != [""] else [], start=1):
            try:
                tasks.append(Task(**json.loads(line)))
            except (TypeError, ValueError, UsageError) as error:
                raise UsageError(
                    f"{path}:{number}: not a task ({error}); expected the JSON that TaskSet.save writes"
                ) from None
        return cls(tasks)


@dataclass(frozen=True)
class Snapshot:
    """An instant of an episode. Opaque to all but the environment that took it; picklable."""

    env_id: str
    task: Task
    steps: int
    finished: bool
    rng: Mapping[str, Any]
    """State of the environment's `np_random` bit generator."""
    state: Any
    """The last observation, and of exact worlds an immutable state, of replayed ones the generator at the beginning and
    the actions since."""


class AgentEnv(gymnasium.Env[str, str], ABC):
    """Text in, text out: a Gymnasium environment whose episodes are tasks and whose instants can be kept.

    Subclasses give `tasks`, `begin` and `act`, and for exact snapshots `get_state` and `set_state` with
    `metadata = {**AgentEnv.metadata, "snapshot": "exact"}`; without these a snapshot is the list of actions and
    `restore` replays them. `metadata["turn_tokens"]` is how many tokens a language model may spend on one answer,
    `metadata["at_once"]` how many episodes are played together unless somebody says otherwise, and
    `metadata["gate_split"]` the split on which loops decide whether a new model is kept, None where there is none. It
    must not be one that scores are taken on.

    `info` holds `admissible` (tuple of the actions that would not be refused; absent where they cannot be listed),
    `success` (once known), `score` in [0, 1], `invalid` (why the last action was refused; absent when it was not),
    and after `reset` `task_id` and, where the task can be said in words, `goal`. It never holds times or random ids:
    an episode is a function of task, seed and actions.
    `terminated` is the task's own end; `truncated` means that `max_steps` cut it off, or that the world is
    `exhausted`.
    """

    metadata: dict[str, Any] = {
        "render_modes": ["ansi"],
        "render_fps": 1,
        "snapshot": "replay",
        "turn_tokens": 32,
        "at_once": 128,
        "gate_split": None,
    }
    env_id: ClassVar[str]
    """The id under which the class is registered."""
    imported: ClassVar[WeakValueDictionary[str, type[AgentEnv]]] = WeakValueDictionary()
    """The classes that this process has imported, by id, registered or not."""
    metric: ClassVar[str] = "success"
    """What `metric_value` measures, in a word."""
    verifier_instructions: ClassVar[str] = (
        "You judge the steps of an attempt at a task. Good brings the task forward; Bad was refused, changes nothing "
        "or leads away from what is asked for; Uncertain is all else."
    )
    """What a model that judges single steps is told of this environment's."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "env_id" in vars(cls):
            AgentEnv.imported[cls.env_id] = cls

    def __init__(self, *, max_steps: int = 50, render_mode: str | None = None) -> None:
        if max_steps < 1:
            raise UsageError(f"max_steps is {max_steps}; an episode needs at least 1 step")
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise unknown("render mode", render_mode, self.metadata["render_modes"])
        self.max_steps = max_steps
        self.render_mode = render_mode
        self.observation_space = UnicodeText(MAX_OBSERVATION)
        self.action_space = UnicodeText(MAX_ACTION)
        self.task: Task | None = None
        self.steps = 0
        self._finished = True
        self._observation = ""
        self._origin: Mapping[str, Any] = {}
        self._actions: list[str] | None = None if self.metadata.get("snapshot") == "exact" else []

    # -- what an author writes ------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def tasks(cls, split: str, n: int | None = None, seed: int = 0, **params: Any) -> TaskSet:
        """`n` tasks of a split (all, or the family's usual number, when None). The same arguments give the same set."""

    @abstractmethod
    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        """Build the world of `task`; return the first observation and info."""

    @abstractmethod
    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        """Carry out one action; return observation, reward, terminated, info. Bad actions are feedback, not errors."""

    def get_state(self) -> Any:
        """The world's state as an immutable value (exact worlds only)."""
        raise TypeError(f"{type(self).__name__} declares exact snapshots but does not define get_state")

    def set_state(self, state: Any) -> None:
        """Make the world what it was when `get_state` returned `state` (exact worlds only).

        `self.task` is set already; `begin` may never have been called on this instance.
        """
        raise TypeError(f"{type(self).__name__} declares exact snapshots but does not define set_state")

    def exhausted(self) -> bool:
        """Whether what the world is made of has come to its end, such as recorded data: the episode is truncated."""
        return False

    @staticmethod
    def condense(observation: str, before: str | None) -> str:
        """What a model has to be told of `observation` when the last thing it was told of is `before`: all of it.

        For environments whose observations repeat themselves to say otherwise. Pure; agents may ask for all instead.
        """
        return observation

    @staticmethod
    def overwritten(actions: Sequence[str]) -> set[int]:
        """Numbers of those actions of an attempt whose place a later one took: nobody should imitate them. None here.

        For environments where what was done can be done over, as a text is written anew. Pure.
        """
        return set()

    @staticmethod
    def metric_value(success: bool, score: float, rewards: Sequence[float]) -> float:
        """What an attempt is worth by the environment's `metric`: 1 for success and 0 otherwise, here. Pure.

        `score` is in [0, 1], as `info` says; `rewards` are those of the steps. A larger number is better.
        """
        return float(success)

    def versions(self) -> Mapping[str, str]:
        """Versions of programs outside this package that the episode ran in, by name; kept with a run. None here."""
        return {}

    def picture(self) -> bytes | None:
        """What is seen now as an image (PNG, JPEG or WebP), for reports; None where there is nothing to see.

        Changes nothing of the episode. May raise `InfraError`.
        """
        return None

    def default_task(self) -> Task:
        """The task of a `reset` that names none, drawn from `self.np_random`."""
        train = self.tasks("train").tasks
        return train[int(self.np_random.integers(len(train)))]

    # -- Gymnasium ------------------------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode of `options["task"]`, or of a task drawn from the generator when none is given.

        Without `seed`, a given task is begun with `task.seed`. Raises `UsageError` for a task of another environment
        and for unknown options.
        """
        options = options or {}
        task = options.get("task")
        if options.keys() - {"task"}:
            raise unknown("reset option", min(options.keys() - {"task"}), ["task"])
        if task is not None and not isinstance(task, Task):
            raise UsageError(
                f"reset option 'task' is {task!r}, expected a Task: take one from {type(self).__name__}.tasks"
            )
        if task is not None and task.env_id != self.env_id:
            raise UsageError(f"task {task.id!r} is of {task.env_id!r}, this environment is {self.env_id!r}")
        super().reset(seed=task.seed if seed is None and task is not None else seed)
        return self._begin(self.default_task() if task is None else task)

    def _begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        self.task, self.steps, self._finished = task, 0, True
        if self._actions is not None:
            # Drawing a task moves the generator, so the seed alone would not bring this beginning back.
            self._origin, self._actions = self.np_random.bit_generator.state, []
        observation, info = self.begin(task)
        info["task_id"] = task.id
        self._observation, self._finished = observation, False
        return observation, info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Play one action. Raises `UsageError` before the first `reset` and after the end of an episode."""
        if self._finished:
            raise UsageError(f"{type(self).__name__}.step was called on no running episode; call reset first")
        observation, reward, terminated, info = self.act(action)
        self.steps += 1
        truncated = not terminated and (self.steps >= self.max_steps or self.exhausted())
        self._finished = terminated or truncated
        if truncated:
            info.setdefault("success", False)
        if self._actions is not None:
            self._actions.append(action)
        self._observation = observation
        return observation, reward, terminated, truncated, info

    def render(self) -> str | None:
        """The last observation, for `render_mode="ansi"`."""
        return self._observation if self.render_mode == "ansi" else None

    # -- Snapshots ------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """This instant: world, step counter, generator. Raises `UsageError` before the first `reset`."""
        if self.task is None:
            raise UsageError("there is nothing to snapshot yet; call reset first")
        state = self.get_state() if self._actions is None else (self._origin, tuple(self._actions))
        rng = self.np_random.bit_generator.state
        return Snapshot(self.env_id, self.task, self.steps, self._finished, rng, (self._observation, state))

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to an instant of the current task (or of any, when none was begun).

        Exact where `metadata["snapshot"]` is `"exact"`; otherwise the episode is replayed, and `UsageError` is raised
        when the replay ends in another observation. A snapshot of another environment or task is refused.
        """
        if snapshot.env_id != self.env_id:
            raise UsageError(f"the snapshot is of {snapshot.env_id!r}, this environment is {self.env_id!r}")
        if self.task is not None and snapshot.task != self.task:
            raise UsageError(
                f"the snapshot is of task {snapshot.task.id!r}, the environment plays {self.task.id!r}; "
                "reset it to that task first"
            )
        observation, state = snapshot.state
        if self._actions is None:
            self.task = snapshot.task
            self.set_state(state)
        else:
            self._replay(snapshot.task, *state)
            if self._observation != observation:
                raise UsageError(
                    f"replaying {snapshot.steps} actions of task {snapshot.task.id!r} ended in another observation: "
                    f"{self._observation[:80]!r} where {observation[:80]!r} was recorded; "
                    "the world is not deterministic"
                )
        self.np_random.bit_generator.state = snapshot.rng
        self.steps, self._finished, self._observation = snapshot.steps, snapshot.finished, observation

    def _replay(self, task: Task, origin: Mapping[str, Any], actions: tuple[str, ...]) -> None:
        self.np_random.bit_generator.state = origin
        self._begin(task)
        for action in actions:
            self.step(action)
