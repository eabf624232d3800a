"""`kintsugi/Household-v0`: ALFWorld's text world."""

from __future__ import annotations

import functools
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

ENGINES = 64
"""How many games a process keeps laid out, so that attempts at the same task share one."""


@functools.lru_cache(maxsize=ENGINES)
def _engine_of_world(world: World) -> Engine:
    return Engine(make_game(world))


@functools.lru_cache(maxsize=ENGINES)
def _engine_of_file(task: Task) -> Engine:
    from .alfworld.files import engine_of

    return engine_of(task)


def engine_of_task(task: Task) -> Engine:
    """The engine that plays a task, of the generator's or of a game file. Raises `UsageError` for bad params."""
    return _engine_of_file(task) if "game" in task.params else _engine_of_world(world_of(task))


def forget_engines() -> None:
    """Lay out every game anew when it is next played."""
    _engine_of_world.cache_clear()
    _engine_of_file.cache_clear()


class HouseholdEnv(AgentEnv):
    """Household chores in ALFWorld's world and wording.

    One acts by ALFWorld's commands (`go to fridge 1`, `take mug 1 from desk 1`, `move mug 1 to shelf 2`); whatever is
    not admissible is answered by `Nothing happens.` and `info["invalid"]` says why. The reward is 1 on success, which
    ends the episode, and 0 before. `info["admissible"]` lists the admissible commands in TextWorld's order. The first
    observation is TextWorld's without its banner; with `banner=True` it is whole.

    Tasks are generated in three sizes (`small`, `medium`, `kitchen`) and three splits (`train`, `valid_seen`,
    `valid_unseen`), or read from ALFWorld's own game files (`source="alfworld"`, `path=...`), which speak as their
    grammars say. `Task.params["type"]` is one of ALFWorld's six task types.
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
        self._laid_out: Task | None = None
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
        """Tasks of `train`, `valid_seen` or `valid_unseen`.

        Generated ones are the first `n` of a `size`, `small` by default (when `n` is None 2,000, of the last two splits
        200); the six types come in turn, there are as many as one asks for, and `seed` gives other ones. With
        `source="alfworld"` they are the games in the folder `path`/`split`, all or `n` of them drawn by `seed`; games
        that ALFWorld skips (`movable`, `Sliced`, not solvable) and files that cannot be played are left out, and a
        warning says how many.

        Raises `UsageError` for an unknown split, size, source or parameter, and when a folder holds no game.
        """
        if params:
            raise UsageError(f"unknown parameter {min(params)!r} of household tasks; there are size, source and path")
        if source == "generated":
            if path is not None:
                raise UsageError(f"path is {path!r}, and generated tasks are read from none; add source=alfworld")
            return make_tasks(split, n, seed, size or "small")
        if source != "alfworld":
            raise unknown("source of household tasks", source, ["alfworld", "generated"])
        if size is not None:
            raise UsageError(f"size is {size!r}, and games of ALFWorld have their own; leave it out, or name no source")
        if path is None:
            raise UsageError("source=alfworld needs path=FOLDER, the folder with train, valid_seen and valid_unseen")
        from .alfworld.files import tasks_of

        games = tasks_of(path, split)
        return games if n is None else games.sample(min(n, len(games)), seed)

    def default_task(self) -> Task:
        """One of the small tasks of `train`."""
        return make_task("train", int(self.np_random.integers(SPLITS["train"])), 0, "small")

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        """Lay out the world of `task`."""
        self._engine, self._laid_out = engine_of_task(task), task
        self._state = self._engine.initial()
        self._admissible = self._engine.admissible(self._state)
        text = self._engine.intro(self._state)
        if not self.banner:
            text = text.removeprefix(BANNER)
        return text, {"admissible": self._admissible, "score": 0.0, "goal": f"{self._engine.game.task}."}

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        """Play one command."""
        engine, state, admissible = self._engine, self._state, self._admissible
        if engine is None or state is None:
            raise UsageError("there is no running household episode; call reset first")
        command = action.strip() if isinstance(action, str) else None
        if command not in admissible:
            info = {"admissible": admissible, "score": 0.0, "invalid": explain(engine, state, action)}
            if not engine.won(state):
                return NOTHING_HAPPENS, 0.0, False, info
            # A game may be won before it begins; TextWorld says so at the first step, whatever that is.
            return NOTHING_HAPPENS, 1.0, True, {**info, "score": 1.0, "success": True}
        try:
            state, observation = engine.carry_out(state, engine.commands.meaning[command])
            admissible = engine.commands.admissible(state)
        except (UsageError, RecursionError) as error:
            # A game's grammar may hold what cannot be said only later.
            raise UsageError(f"{self.task.source if self.task else 'the game'}: {error}") from None
        self._state, self._admissible = state, admissible
        if engine.won(state):
            return observation, 1.0, True, {"admissible": admissible, "score": 1.0, "success": True}
        return observation, 0.0, False, {"admissible": admissible, "score": 0.0}

    def get_state(self) -> State:
        """The state, an immutable value: nothing is copied."""
        if self._state is None:
            raise UsageError("there is no running household episode; call reset first")
        return self._state

    def set_state(self, state: State) -> None:
        """Go on from `state`, of the task that is set."""
        if self.task is None:
            raise UsageError("there is no task to restore a state of; call reset first")
        if self._engine is None or self._laid_out is not self.task:
            self._engine, self._laid_out = engine_of_task(self.task), self.task
        self._state = state
        self._admissible = self._engine.admissible(state)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_engine": None}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        self.__dict__.update(attributes)
        if self._state is not None:
            self.set_state(self._state)
