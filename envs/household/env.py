"""The environment `kintsugi/Household-v0`: ALFWorld's text world."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from ...errors import UsageError, unknown
from ..core import AgentEnv, Task, TaskSet
from .engine import Engine
from .generator import ENV_ID, SPLITS, make_task, make_tasks
from .refusals import explain
from .state import State
from .wording import BANNER, NOTHING_HAPPENS
from .worlds import World, make_game, world_of

MAX_ENGINES = 64
"""Maximum number of engines cached per process. Attempts at the same task share one engine."""


@functools.lru_cache(maxsize=MAX_ENGINES)
def _cached_world_engine(world: World) -> Engine:
    return Engine(make_game(world))


@functools.lru_cache(maxsize=MAX_ENGINES)
def _cached_file_engine(task: Task) -> Engine:
    from .alfworld.files import load_task_engine

    return load_task_engine(task)


def engine_of_task(task: Task) -> Engine:
    """Return the engine for a generated task or a task from a game file.

    Args:
        task: A task from `HouseholdEnv.tasks`.

    Returns:
        The engine, which is cached and holds no episode state.

    Raises:
        UsageError: If the parameters of the task are invalid, or its game file is missing, changed or unplayable.
    """
    return _cached_file_engine(task) if "game" in task.params else _cached_world_engine(world_of(task))


def clear_engine_cache() -> None:
    """Empty the engine caches of this process."""
    _cached_world_engine.cache_clear()
    _cached_file_engine.cache_clear()


UNCHANGING = frozenset({"examine", "help", "inventory", "look"})
"""First words of commands that change nothing."""


class HouseholdEnv(AgentEnv):
    """Household chores with ALFWorld's rules and wording.

    Actions are ALFWorld's commands, such as `go to fridge 1`, `take mug 1 from desk 1` or `move mug 1 to shelf 2`. A
    command that is not admissible returns the observation `Nothing happens.`, and `info["invalid"]` gives the reason.
    The reward is 1 on success, which ends the episode, and 0 otherwise. `info["admissible"]` lists the admissible
    commands in TextWorld's order.

    Tasks are generated in three sizes (`small`, `medium`, `kitchen`) and three splits (`train`, `valid_seen`,
    `valid_unseen`), or read from ALFWorld's game files (`source="alfworld"`, `path=...`). All text of a game file comes
    from its own grammar. `Task.params["type"]` is one of ALFWorld's six task types.

    Args:
        max_steps: Number of steps after which an episode is truncated.
        render_mode: A Gymnasium render mode of `AgentEnv`, or None.
        banner: Whether the first observation includes TextWorld's banner.
    """

    metadata: dict[str, Any] = {**AgentEnv.metadata, "snapshot": "exact", "gate_split": "valid_seen"}
    env_id: ClassVar[str] = ENV_ID
    verifier_instructions: ClassVar[str] = (
        "You judge the steps of an attempt at a household task. Good brings the task forward; "
        "Bad was refused, shows nothing new or is not what the task needs; Uncertain may help."
    )

    def __init__(self, *, max_steps: int = 50, render_mode: str | None = None, banner: bool = False) -> None:
        super().__init__(max_steps=max_steps, render_mode=render_mode)
        self.banner = banner
        self._engine: Engine | None = None
        self._engine_task: Task | None = None
        self._state: State | None = None
        self._admissible: tuple[str, ...] = ()

    @classmethod
    def tasks(
        cls,
        split: str,
        n: int | None = None,
        seed: int = 0,
        size: str | None = None,
        source: str = "generated",
        path: Path | str | None = None,
        **params: Any,
    ) -> TaskSet:
        """Return generated tasks, or tasks for the game files in a folder.

        Generated tasks cycle through the six task types and depend only on the arguments. There is no upper limit on
        their number. With `source="alfworld"`, games that ALFWorld skips (`movable`, `Sliced`, not solvable) and files
        that cannot be played are left out. A warning reports how many.

        Args:
            split: `train`, `valid_seen` or `valid_unseen`.
            n: Number of tasks. None means 2,000 generated tasks of `train`, 200 of another split, or all game files.
            seed: Selects the generated tasks, or the random subset of game files.
            size: Size of generated worlds: `small` (the default), `medium` or `kitchen`.
            source: `generated` or `alfworld`.
            path: Folder with one subfolder per split. Required for `source="alfworld"` only.
            params: Not supported; any further keyword raises an error.

        Returns:
            The task set.

        Raises:
            UsageError: If the split, size, source or a parameter is unknown, or the folder holds no playable game.
        """
        if params:
            raise UsageError(f"unknown parameter {min(params)!r} of household tasks; known: size, source, path")
        if source == "generated":
            if path is not None:
                raise UsageError(
                    f"path is {path!r}, but generated tasks have no folder; add source=alfworld or drop path"
                )
            return make_tasks(split, n, seed, size or "small")
        if source != "alfworld":
            raise unknown("source of household tasks", source, ["alfworld", "generated"])
        if size is not None:
            raise UsageError(f"size is {size!r}, but game files have a fixed size; drop size or source=alfworld")
        if path is None:
            raise UsageError(
                "source=alfworld needs a path; pass path=FOLDER, the folder with train, valid_seen and valid_unseen"
            )
        from .alfworld.files import load_tasks

        games = load_tasks(path, split)
        return games if n is None else games.sample(min(n, len(games)), seed)

    @staticmethod
    def overwritten(actions: Sequence[str]) -> set[int]:
        """Return the indices of detours: walks from a place back to it, without a change on the way.

        The agent often overlooked what it came back for. It should not learn to walk away.
        """
        found: set[int] = set()
        here, arrivals = "", dict[str, int]()
        for i, action in enumerate(actions):
            verb, _, place = action.strip().partition(" to ")
            if verb == "go":
                here = place
                if place in arrivals:
                    found |= set(range(arrivals[place] + 1, i + 1))
                    arrivals = {other: n for other, n in arrivals.items() if n <= arrivals[place]}
                else:
                    arrivals[place] = i
            elif verb.split(" ")[0] not in UNCHANGING:
                # What was passed before may look different now.
                arrivals = {here: i}
        return found

    def default_task(self) -> Task:
        """Draw a small task of `train` with the environment's random generator."""
        return make_task("train", int(self.np_random.integers(SPLITS["train"])), 0, "small")

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        """Start an episode of `task` and return its first observation and info."""
        self._engine, self._engine_task = engine_of_task(task), task
        self._state = self._engine.initial_state()
        self._admissible = self._engine.admissible(self._state)
        text = self._engine.intro(self._state)
        if not self.banner:
            text = text.removeprefix(BANNER)
        return text, {"admissible": self._admissible, "score": 0.0, "goal": f"{self._engine.game.task}."}

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        """Execute one command. Return observation, reward, whether the episode terminated, and info."""
        engine, state, admissible = self._engine, self._state, self._admissible
        if engine is None or state is None:
            raise UsageError("no household episode is running; call reset first")
        command = action.strip() if isinstance(action, str) else None
        if command not in admissible:
            info = {"admissible": admissible, "score": 0.0, "invalid": explain(engine, state, action)}
            if not engine.won(state):
                return NOTHING_HAPPENS, 0.0, False, info
            # A game may be won in its initial state. TextWorld reports that at the first step, even if it is refused.
            return NOTHING_HAPPENS, 1.0, True, {**info, "score": 1.0, "success": True}
        try:
            state, observation = engine.execute(state, engine.commands.by_text[command])
            admissible = engine.commands.admissible(state)
        except (UsageError, RecursionError) as error:
            # Some errors of a grammar only show when the text is rendered.
            raise UsageError(f"{self.task.source if self.task else 'the game'}: {error}") from None
        self._state, self._admissible = state, admissible
        if engine.won(state):
            return observation, 1.0, True, {"admissible": admissible, "score": 1.0, "success": True}
        return observation, 0.0, False, {"admissible": admissible, "score": 0.0}

    def get_state(self) -> State:
        """Return the state. It is immutable, so nothing is copied."""
        if self._state is None:
            raise UsageError("no household episode is running; call reset first")
        return self._state

    def set_state(self, state: State) -> None:
        """Continue from `state`, which must be a state of the current task."""
        if self.task is None:
            raise UsageError("cannot restore a state without a task; call reset first")
        if self._engine is None or self._engine_task is not self.task:
            self._engine, self._engine_task = engine_of_task(self.task), self.task
        self._state = state
        self._admissible = self._engine.admissible(state)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_engine": None}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        self.__dict__.update(attributes)
        if self._state is not None:
            self.set_state(self._state)
