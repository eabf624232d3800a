"""Which loops there are, and what a loop is: one file with a configuration, an algorithm, and one line here.

A package offers one by its name in its `pyproject.toml`:

    [project.entry-points."kintsugi.loops"]
    my-loop = "mypackage.loop:LOOP"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from rich.console import RenderableType

from ..agents.core import Agent
from ..agents.trajectory import Trajectory
from ..envs.core import TaskSet
from ..envs.registry import EnvSpec
from ..errors import UsageError
from ..plugins import Plugin, find_plugin, plugins
from .learning.core import FitConfig
from .measuring.gate import Gate
from .measuring.measure import Measure, Measured
from .run import Attempts, Practice, Run

GROUP = "kintsugi.loops"
BUILTIN = (
    Plugin("self-training", "kintsugi.loops.self_training:LOOP", "sample, keep what passed, train (ReST-EM)"),
    Plugin("re-rest", "kintsugi.loops.re_rest:LOOP", "also mend the failed attempts with a reflector (Re-ReST)"),
    Plugin("agent-r", "kintsugi.loops.agent_r:LOOP", "search, splice bad and good paths, train (Agent-R)"),
    Plugin("rest-mcts", "kintsugi.loops.rest_mcts:LOOP", "search trees by value, learn from both (ReST-MCTS*)"),
    Plugin("trading-group", "kintsugi.loops.trading_group:LOOP", "a desk learns from days whose outcome is known"),
)


@dataclass(frozen=True)
class LoopConfig:
    """What every loop configures; a loop's own configuration is a subclass."""

    practice: Practice = field(default_factory=Practice)
    attempts: Attempts = field(default_factory=Attempts)
    fit: FitConfig = field(default_factory=FitConfig)
    gate: Gate = field(default_factory=Gate)
    seed: int = 0
    """Of the choice of tasks, of sampling and of training."""

    def validate(self, env: EnvSpec, agent: Agent) -> None:
        """Raise `UsageError` for what can only go wrong, before anything is played."""
        self.practice.task_set(env, self.seed)

    def refuse_shared(self, env: EnvSpec, scored: Mapping[str, TaskSet]) -> None:
        """Raise `UsageError` when the gate's tasks are practised on, or are of the sets `scored`; see `Gate.check`."""
        self.gate.check(env, self.practice, self.practice.task_set(env, self.seed), scored)

    def admits(self, run: Run, old: Path | None, new: Path) -> bool:
        """Whether the gate adopts the adapter `new` after `old` (None is the base); see `Gate.admits`."""
        return self.gate.admits(run, old, new, practice=self.practice, attempts=self.attempts, seed=self.seed)


C = TypeVar("C", bound=LoopConfig)
Test = Callable[[str, Path | None], list[Trajectory]]
"""Measures a model by name and adapter on one more set of tasks."""


@dataclass(frozen=True)
class Loop(Generic[C]):
    """A loop as `kintsugi improve` runs it."""

    name: str
    about: str
    """One line of help."""
    config: type[C]
    run: Callable[[Run, C], Path | None]
    """The algorithm; returns the last adopted adapter, None when no round helped."""
    tests: Callable[[Run, C, Measure], Mapping[str, Test]] = lambda run, config, on: {}
    """What else models are measured on before and after, by the name of the set of tasks."""
    findings: Callable[[Run, C, Measure, Mapping[str, Measured]], Iterable[RenderableType]] = (
        lambda run, config, on, measured: ()
    )
    """What is printed beyond the scores; `measured` are the attempts by model and set of tasks: those of `base`, and of
    the loop's name where a round was adopted."""
    env: str = "household"
    """The environment that it practises in unless another is named."""
    agent: str = "react"
    """The agent that it trains unless another is named."""
    held_out: Measure = field(default_factory=Measure)
    """What models are measured on unless something else is asked for."""


def loops() -> list[Plugin]:
    """Ours first, then those of installed packages."""
    return plugins(GROUP, BUILTIN)


def find_loop(name: str) -> Loop[Any]:
    """The loop of this name; raises `UsageError` with the nearest names, and for what is no loop."""
    part = find_plugin("loop", GROUP, name, BUILTIN)
    found = part.load()
    if not isinstance(found, Loop):
        raise UsageError(f"loop {name!r} ({part.about}): {part.target!r} is {found!r:.80}, expected a Loop")
    return found
