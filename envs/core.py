"""`AgentEnv`, the base class of all environments, and its `Snapshot`. Also exports the names of `tasks`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import gymnasium

from ..errors import UsageError, unknown
from .spaces import UnicodeText
from .tasks import Task, TaskSet, canonical_json, content_hash

__all__ = ["AgentEnv", "Snapshot", "Task", "TaskSet", "canonical_json", "content_hash"]

MAX_OBSERVATION_CHARS = 100_000
"""Default maximum length of an observation, in characters."""
MAX_ACTION_CHARS = 10_000
"""Default maximum length of an action, in characters."""


@dataclass(frozen=True)
class Snapshot:
    """The state of an environment at one step. Picklable. Only environments of the same class can use it."""

    env_id: str
    task: Task
    steps: int
    """Actions played so far."""
    finished: bool
    """Whether the episode has ended."""
    rng: Mapping[str, Any]
    """State of the bit generator of the environment's `np_random`."""
    state: Any
    """The last observation, paired with what restores the environment. With exact snapshots, that is the result of
    `get_state`; with replay snapshots, the initial state of the random generator and the actions since then."""


class AgentEnv(gymnasium.Env[str, str], ABC):
    """Base class of all environments: a Gymnasium environment with text observations, text actions and snapshots.

    A subclass sets `env_id` and defines `tasks`, `begin` and `act`. `check_agent_env` tests it. An episode must be a
    function of task, seed and actions alone, so a subclass draws random numbers only from `self.np_random`.

    By default, a snapshot stores the actions so far, and `restore` plays them again. For exact snapshots, set
    `metadata = {**AgentEnv.metadata, "snapshot": "exact"}` and define `get_state` and `set_state`.

    `metadata` also holds defaults that agents and loops use:

    - `turn_tokens`: tokens that a language model may sample for one answer; see also `tokens_per_turn`.
    - `at_once`: episodes that are played in parallel.
    - `gate_split`: split on which loops decide whether to keep a new model, or None. Scores must use other splits.

    `info` has these keys:

    - `admissible`: tuple of the actions that are accepted in this state. Absent if they cannot be listed.
    - `success`: whether the task is solved. Absent until known; set on the last step.
    - `score`: how well the task is solved so far, in [0, 1].
    - `invalid`: why the last action was refused. Absent if it was accepted.
    - `task_id` and, if the task can be put into words, `goal`: after `reset` only.

    `terminated` means that the task itself has ended. `truncated` means that `max_steps` was reached, or that the
    environment is `exhausted`.

    Args:
        max_steps: Actions after which an episode is truncated; at least 1.
        render_mode: `"ansi"`, or None. With `"ansi"`, `render` returns the last observation.
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
    """Gymnasium id under which the class is registered."""
    imported_classes: ClassVar[WeakValueDictionary[str, type[AgentEnv]]] = WeakValueDictionary()
    """All subclasses imported in this process, by `env_id`, registered or not."""
    metric: ClassVar[str] = "success"
    """Name of the quantity that `metric_value` returns, in one word."""
    verifier_instructions: ClassVar[str] = (
        "You judge the steps of an attempt at a task. Good brings the task forward; Bad was refused, changes nothing "
        "or leads away from what is asked for; Uncertain is all else."
    )
    """System prompt of a model that judges single steps of this environment."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "env_id" in vars(cls):
            AgentEnv.imported_classes[cls.env_id] = cls

    def __init__(self, *, max_steps: int = 50, render_mode: str | None = None) -> None:
        if max_steps < 1:
            raise UsageError(f"max_steps is {max_steps}; expected at least 1")
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise unknown("render mode", render_mode, self.metadata["render_modes"])
        self.max_steps = max_steps
        self.render_mode = render_mode
        self.observation_space = UnicodeText(MAX_OBSERVATION_CHARS)
        self.action_space = UnicodeText(MAX_ACTION_CHARS)
        self.task: Task | None = None
        self.steps = 0
        self._finished = True
        self._observation = ""
        self._initial_rng: Mapping[str, Any] = {}
        self._actions: list[str] | None = None if self.metadata.get("snapshot") == "exact" else []

    # -- Methods of a subclass ------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def tasks(cls, split: str, n: int | None = None, seed: int = 0, **params: Any) -> TaskSet:
        """Return tasks of a split. Equal arguments give equal sets.

        Args:
            split: Name of the split. Every environment has `train`.
            n: Number of tasks. None means all tasks, or the default number of the environment.
            seed: Seed of the drawn tasks.
            **params: Further parameters of the environment. From the command line, they arrive as strings.

        Returns:
            `n` tasks whose `env_id` is that of the class.
        """

    @abstractmethod
    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        """Start an episode of `task`. Must reset all state of earlier episodes.

        Args:
            task: The task to play, also available as `self.task`. `self.np_random` is already seeded.

        Returns:
            The first observation, and `info` without `task_id`, which `reset` adds.
        """

    @abstractmethod
    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        """Carry out one action. `step` counts steps and truncates, so this method does not.

        Args:
            action: Any text, also with lone surrogates and control characters. A bad action must not raise: return an
                observation that says that nothing happened, and give the reason in `info["invalid"]`. What is raised
                nevertheless ends the attempt as an infrastructure failure.

        Returns:
            Observation, reward, whether the task has ended (`terminated`), and `info`.
        """

    def get_state(self) -> Any:
        """Return everything that later steps depend on, as an immutable value (exact snapshots only).

        Raises:
            TypeError: If a subclass with exact snapshots does not define this method.
        """
        raise TypeError(
            f"{type(self).__name__} has exact snapshots but no get_state; define it or use replay snapshots"
        )

    def set_state(self, state: Any) -> None:
        """Restore a state that `get_state` returned (exact snapshots only).

        `self.task` is already set. `begin` may never have been called on this instance.

        Args:
            state: Result of `get_state`, possibly of another instance or process.

        Raises:
            TypeError: If a subclass with exact snapshots does not define this method.
        """
        raise TypeError(
            f"{type(self).__name__} has exact snapshots but no set_state; define it or use replay snapshots"
        )

    def exhausted(self) -> bool:
        """Return whether the environment has run out of data, such as prices. If so, the episode is truncated."""
        return False

    @staticmethod
    def condense(observation: str, previous: str | None) -> str:
        """Return the text shown to the model for an observation, given the previous one.

        Override it if observations repeat themselves, to show only the changes. Must be a pure function. Agents can be
        configured to show full observations instead.

        Args:
            observation: The observation to show.
            previous: The observation before it; None for the first one.
        """
        return observation

    @classmethod
    def tokens_per_turn(cls, params: Mapping[str, Any]) -> int:
        """Return how many tokens a language model may sample for one answer, if the user does not say.

        Args:
            params: The parameters that the tasks are drawn with; see `tasks`. By default, they do not matter.
        """
        return int(cls.metadata.get("turn_tokens", AgentEnv.metadata["turn_tokens"]))

    @staticmethod
    def overwritten(actions: Sequence[str]) -> set[int]:
        """Return the indices of actions whose effect later actions replaced or undid. They are excluded from the loss.

        Override it if actions can redo or undo earlier ones, such as writing a program again or walking back. Must be
        a pure function.

        Args:
            actions: All actions of an attempt that were not refused, in order.
        """
        return set()

    @staticmethod
    def metric_value(success: bool, score: float, rewards: Sequence[float]) -> float:
        """Return the value of an attempt under the environment's `metric`; larger is better.

        The default is 1 for success and 0 otherwise. Must be a pure function.

        Args:
            success: Whether the task was solved.
            score: The final score, in [0, 1].
            rewards: The rewards of all steps.
        """
        return float(success)

    def versions(self) -> Mapping[str, str]:
        """Return the versions of external programs that the episode runs in, by name. They are stored with a run."""
        return {}

    def picture(self) -> bytes | None:
        """Return an image of the current state for reports (PNG, JPEG or WebP), or None if there is none.

        Must not change the episode. May raise `InfraError`.
        """
        return None

    def default_task(self) -> Task:
        """Return the task that `reset` plays if it is given none: one of `train`, drawn from `self.np_random`."""
        train = self.tasks("train").tasks
        return train[int(self.np_random.integers(len(train)))]

    # -- Gymnasium ------------------------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: Seed of `self.np_random`. By default, the seed of the given task; without a task, the generator
                continues from its current state.
            options: `{"task": task}` selects the task. Otherwise `default_task` draws one.

        Returns:
            The first observation and `info`.

        Raises:
            UsageError: If the task belongs to another environment, or if an option is unknown.
        """
        options = options or {}
        task = options.get("task")
        if options.keys() - {"task"}:
            raise unknown("reset option", min(options.keys() - {"task"}), ["task"])
        if task is not None and not isinstance(task, Task):
            raise UsageError(
                f"reset option 'task' is {task!r}; expected a Task: take one from {type(self).__name__}.tasks"
            )
        if task is not None and task.env_id != self.env_id:
            raise UsageError(f"task {task.id!r} has env_id {task.env_id!r}; expected {self.env_id!r}")
        super().reset(seed=task.seed if seed is None and task is not None else seed)
        return self._begin(self.default_task() if task is None else task)

    def _begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        self.task, self.steps, self._finished = task, 0, True
        if self._actions is not None:
            # Drawing a task has advanced the generator, so the seed does not give this state.
            self._initial_rng, self._actions = self.np_random.bit_generator.state, []
        observation, info = self.begin(task)
        info["task_id"] = task.id
        self._observation, self._finished = observation, False
        return observation, info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Play one action.

        Args:
            action: Any text. `info["invalid"]` says why a bad action was refused.

        Returns:
            Observation, reward, `terminated`, `truncated` and `info`, as in Gymnasium.

        Raises:
            UsageError: If no episode is running: before the first `reset`, or after the end of an episode.
        """
        if self._finished:
            raise UsageError(f"{type(self).__name__}.step was called without a running episode; call reset first")
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
        """Return the last observation if the render mode is `"ansi"`, else None."""
        return self._observation if self.render_mode == "ansi" else None

    # -- Snapshots ------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return the current state of the episode: task state, step counter and random generator.

        Raises:
            UsageError: Before the first `reset`.
        """
        if self.task is None:
            raise UsageError("snapshot was called before the first reset; call reset first")
        state = self.get_state() if self._actions is None else (self._initial_rng, tuple(self._actions))
        rng = self.np_random.bit_generator.state
        return Snapshot(self.env_id, self.task, self.steps, self._finished, rng, (self._observation, state))

    def restore(self, snapshot: Snapshot) -> None:
        """Return to the state of a snapshot. Another instance or process may have taken it.

        With exact snapshots, the state is set directly. Otherwise, all actions up to the snapshot are played again.

        Args:
            snapshot: A snapshot of the current task. An instance that was never reset accepts any task.

        Raises:
            UsageError: If the snapshot is of another environment or task, or if a replay ends in another observation.
        """
        if snapshot.env_id != self.env_id:
            raise UsageError(f"the snapshot is of {snapshot.env_id!r}; expected one of {self.env_id!r}")
        if self.task is not None and snapshot.task != self.task:
            raise UsageError(
                f"the snapshot is of task {snapshot.task.id!r}; expected the current task {self.task.id!r}: "
                "reset the environment to the snapshot's task first"
            )
        observation, state = snapshot.state
        if self._actions is None:
            self.task = snapshot.task
            self.set_state(state)
        else:
            self._replay(snapshot.task, *state)
            if self._observation != observation:
                raise UsageError(
                    f"replaying {snapshot.steps} actions of task {snapshot.task.id!r} ended in the observation "
                    f"{self._observation[:80]!r}; expected {observation[:80]!r}: "
                    "make the environment deterministic, or replay in the version that took the snapshot"
                )
        self.np_random.bit_generator.state = snapshot.rng
        self.steps, self._finished, self._observation = snapshot.steps, snapshot.finished, observation

    def _replay(self, task: Task, initial_rng: Mapping[str, Any], actions: tuple[str, ...]) -> None:
        self.np_random.bit_generator.state = initial_rng
        self._begin(task)
        for action in actions:
            self.step(action)
