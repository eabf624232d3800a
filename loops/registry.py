"""`Loop`, `LoopConfig`, and the registry of loops.

A loop is one module with a configuration, an algorithm and a `Loop`. Another package registers its loop by an entry
point in its `pyproject.toml`:

    [project.entry-points."kintsugi.loops"]
    my-loop = "mypackage.loop:LOOP"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from rich.console import RenderableType

from ..agents.core import Agent
from ..agents.trajectory import Trajectory
from ..envs.core import TaskSet
from ..envs.registry import EnvSpec
from ..errors import UsageError
from ..plugins import Plugin, find_plugin, plugins
from .learning.core import FitConfig
from .measuring.gate import Gate
from .measuring.measure import Measure, MeasuredAttempts
from .run import Attempts, Practice, Run

GROUP = "kintsugi.loops"
BUILTIN = (
    Plugin("self-training", "kintsugi.loops.self_training:LOOP", "train on attempts that passed (ReST-EM)"),
    Plugin("re-rest", "kintsugi.loops.re_rest:LOOP", "also mend failed attempts with a reflector (Re-ReST)"),
    Plugin("agent-r", "kintsugi.loops.agent_r:LOOP", "search, splice bad and good paths, train (Agent-R)"),
    Plugin("rest-mcts", "kintsugi.loops.rest_mcts:LOOP", "value-guided search, train policy and value (ReST-MCTS*)"),
    Plugin(
        "trading-group",
        "kintsugi.loops.trading_group:LOOP",
        "train a trading desk on its own calls, labelled by realised outcomes",
    ),
)


@dataclass(frozen=True)
class LoopConfig:
    """Settings that all loops share; each loop has a frozen subclass."""

    practice: Practice = field(default_factory=Practice)
    attempts: Attempts = field(default_factory=Attempts)
    fit: FitConfig = field(default_factory=FitConfig)
    gate: Gate = field(default_factory=Gate)
    seed: int = 0
    """Seed of the choice of tasks, of sampling and of training."""

    def resolved(self, env: EnvSpec) -> Self:
        """Return a copy in which the attempts have the environment's defaults for the practice tasks.

        Args:
            env: Environment whose defaults apply.
        """
        return replace(self, attempts=self.attempts.resolved(env, self.practice.params))

    def validate(self, env: EnvSpec, agent: Agent) -> None:
        """Check the configuration before anything is played.

        Args:
            env: Environment of the run.
            agent: Agent of the run.

        Raises:
            UsageError: The loop cannot run with this environment or agent.
        """
        self.practice.task_set(env, self.seed)

    def refuse_shared_tasks(self, env: EnvSpec, scored: Mapping[str, TaskSet]) -> None:
        """Check that the gate shares no tasks with the practice tasks or the scored ones; see `Gate.check`.

        Args:
            env: Environment of the run.
            scored: Task sets that models are measured on, by split.

        Raises:
            UsageError: The gate shares tasks or a scored split, or has no tasks.
        """
        self.gate.check(env, self.practice, self.practice.task_set(env, self.seed), scored)

    def passes_gate(self, run: Run, old: Path | None, new: Path) -> bool:
        """Compare two adapters on the gate's tasks; the verdict is stored.

        Args:
            run: The run.
            old: Adapter adopted last; None for the base model.
            new: Adapter to decide on.

        Returns:
            Whether to adopt `new`.
        """
        return self.gate.admits(run, old, new, practice=self.practice, attempts=self.attempts, seed=self.seed)


C = TypeVar("C", bound=LoopConfig)
Test = Callable[[str, Path | None], list[Trajectory]]
"""Measures a model, given by name and adapter, on one further task set."""


@dataclass(frozen=True)
class Loop(Generic[C]):
    """A loop as `kintsugi improve` runs it."""

    name: str
    """Name on the command line."""
    about: str
    """One line of help."""
    config: type[C]
    """Configuration, a subclass of `LoopConfig`."""
    run: Callable[[Run, C], Path | None]
    """The algorithm; returns the last adopted adapter, or None if none was adopted."""
    tests: Callable[[Run, C, Measure], Mapping[str, Test]] = lambda run, config, held_out: {}
    """Further evaluations of the base and the trained model, by name of the task set."""
    findings: Callable[[Run, C, Measure, Mapping[str, MeasuredAttempts]], Iterable[RenderableType]] = (
        lambda run, config, held_out, measured: ()
    )
    """Returns what to print after the scores. The last argument holds the attempts by model and task set; the
    models are `base` and, if a round was adopted, the loop's name."""
    env: str = "household"
    """Default environment."""
    agent: str = "react"
    """Default agent."""
    held_out: Measure = field(default_factory=Measure)
    """Default held-out tasks and how they are attempted."""


def loops() -> list[Plugin]:
    """Return the built-in loops, then those of installed packages."""
    return plugins(GROUP, BUILTIN)


def find_loop(name: str) -> Loop[Any]:
    """Return a loop by name.

    Raises:
        UsageError: There is no such loop (the message suggests similar names), or its entry point is not a `Loop`.
    """
    plugin = find_plugin("loop", GROUP, name, BUILTIN)
    loop = plugin.load()
    if not isinstance(loop, Loop):
        raise UsageError(f"loop {name!r} ({plugin.about}): {plugin.target!r} is {loop!r:.80}; expected a Loop")
    return loop
