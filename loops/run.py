"""`Run`: everything that a loop is given. A loop knows nothing of weight files, devices, event loops or folders.

Beside it, what loops configure: which tasks are attempted (`Practice`) and how (`Attempts`). What is learnt is in
`learning.data` and `learning.core`, when a model is kept in `measuring.gate`.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

from tyro.constructors import PrimitiveConstructorSpec

from ..agents.core import Agent
from ..agents.models.core import Backend, LanguageModel, derived_seed
from ..agents.registry import make_agent
from ..agents.rollout import Job, Keep, Progress, Timing, Wave, waves
from ..agents.search import SearchTree, ValueModel, search
from ..agents.search.strategy import SearchConfig
from ..agents.trajectory import AgentSpec, Trajectory
from ..arguments import parse_pairs
from ..envs.core import Task, TaskSet
from ..envs.registry import EnvSpec
from ..errors import UsageError
from .learning.core import FitConfig, Learner, Objective
from .learning.training_data import renamed_copies
from .runs.stages import Stage
from .runs.store import RunStore
from .seeds.registry import defaults_of

C = TypeVar("C")
Params = Annotated[
    dict[str, Any],
    PrimitiveConstructorSpec(
        nargs="*",
        metavar="[NAME=VALUE ...]",
        instance_from_str=parse_pairs,
        is_instance=lambda instance: isinstance(instance, dict),
        str_from_instance=lambda params: [f"{name}={value}" for name, value in params.items()],
    ),
]
"""Parameters by name; on a command line `size=small seed=1`."""


@dataclass(frozen=True)
class Practice:
    """Which tasks are practised on."""

    split: str = "train"
    tasks: int | None = None
    """How many; None is the usual number for the environment."""
    params: Params = field(default_factory=dict)
    """What the environment's task sets take, e.g. `size=small`."""

    def task_set(self, env: EnvSpec, seed: int) -> TaskSet:
        """The tasks, drawn by `seed`; raises `UsageError` when there are none."""
        return env.tasks(self.split, self.resolved(env).tasks, seed, **self.params)

    def resolved(self, env: EnvSpec) -> Practice:
        """The same with numbers in place of None."""
        return self if self.tasks is not None else replace(self, tasks=defaults_of(env).practice)


@dataclass(frozen=True)
class Attempts:
    """How tasks are attempted."""

    k: int = 4
    """Attempts at each task."""
    temperature: float = 1.0
    """0 is greedy."""
    max_tokens: int | None = None
    """Of one answer; None is the environment's usual number."""
    at_once: int | None = None
    """Episodes that are played together; None is the environment's usual number. Part of the result: batches differ in
    rounding."""

    def __post_init__(self) -> None:
        checked(self)

    def resolved(self, env: EnvSpec) -> Attempts:
        """The same with numbers in place of None."""
        return replace(
            self,
            max_tokens=self.max_tokens or env.default("turn_tokens"),
            at_once=self.at_once or env.default("at_once"),
        )


def checked(numbers: Any) -> None:
    """Raise `UsageError` for numbers of attempts that nothing can be played with."""
    for name in ("tasks", "k", "samples", "max_tokens", "at_once"):
        number = getattr(numbers, name, None)
        if number is not None and number < 1:
            raise UsageError(f"{name} is {number}; at least 1 is needed")
    if not 0 <= numbers.temperature < math.inf:
        raise UsageError(f"temperature is {numbers.temperature}; it is 0 (greedy) or above")


class Player(Protocol):
    """Plays episodes: in this process, or on other machines."""

    def play(
        self, env: EnvSpec, jobs: Sequence[Job], at_once: int, *, progress: Progress, timing: Timing, keep: Keep | None
    ) -> Iterator[Wave]:
        """The attempts of `jobs`, in their order, in waves of `at_once`; see `agents.rollout.waves`."""
        ...


class LocalPlayer:
    """Plays in this process, all episodes of a wave in one event loop."""

    def play(
        self, env: EnvSpec, jobs: Sequence[Job], at_once: int, *, progress: Progress, timing: Timing, keep: Keep | None
    ) -> Iterator[Wave]:
        """See `Player.play`."""
        return waves(env.make, jobs, at_once=at_once, progress=progress, timing=timing, keep=keep)


@dataclass(frozen=True)
class Run:
    """What a loop works with: where results go, who thinks, who learns, in which environment."""

    store: RunStore
    backend: Backend
    learner: Learner
    env: EnvSpec
    agent: AgentSpec = field(default_factory=AgentSpec)
    """Who acts, over whichever model."""
    player: Player = field(default_factory=LocalPlayer)
    demonstrations: Sequence[Trajectory] = ()
    """An expert's attempts, for loops that mix them in."""

    def scoped(self, scope: str) -> Run:
        """The same run, whose stages and adapters are those of a scope, such as `seed0`."""
        return replace(self, store=self.store.scoped(scope))

    # -- acting ---------------------------------------------------------------------------------------------------

    def acting(
        self,
        adapter: Path | None,
        attempts: Attempts,
        *,
        temperature: float | None = None,
        decoding: str | None = None,
        parallel: int | None = None,
        batch_invariant: bool = False,
    ) -> Agent:
        """The agent over the base with an adapter; its model is loaded when it is first asked.

        `temperature` replaces that of `attempts`. `parallel` is how many conversations are held at once, `at_once` when
        None. `batch_invariant` is as in `Backend.model`.
        """
        attempts = attempts.resolved(self.env)
        model = self.backend.model(adapter, parallel=parallel or attempts.at_once or 1, batch_invariant=batch_invariant)
        return self.agent_over(
            model,
            temperature=attempts.temperature if temperature is None else temperature,
            max_tokens=attempts.max_tokens,
            decoding=decoding,
        )

    def agent_over(self, model: LanguageModel, **defaults_of: Any) -> Agent:
        """The agent over a model; see `agents.registry.make_agent`."""
        return make_agent(self.agent, model, **defaults_of)

    def play(
        self, stage: Stage, jobs: Sequence[Job], attempts: Attempts, timing: Timing | None = None
    ) -> list[Trajectory]:
        """The attempts of `jobs` in their order, played or taken from the store."""
        at_once = attempts.resolved(self.env).at_once or 1

        def play(left: Sequence[Job]) -> Iterator[Wave]:
            done = len(jobs) - len(left)

            def progress(share: float) -> None:
                self.store.watch(str(self.store.scope(stage)), (done + share * len(left)) / len(jobs))

            keep = self.store.keep if self.store.illustrated else None
            return self.player.play(self.env, left, at_once, progress=progress, timing=timing or Timing(), keep=keep)

        return self.store.collect(stage, jobs, play)

    def attempt(
        self, stage: Stage, agent: Agent, tasks: Iterable[Task], attempts: Attempts, *, seed: int, stream: str
    ) -> list[Trajectory]:
        """`k` attempts at each task, played or taken from the store; for `stream` see `job`."""
        jobs = [job(task, agent, i, seed, stream) for task in tasks for i in range(attempts.k)]
        return self.play(stage, jobs, attempts)

    def search(
        self,
        stage: Stage,
        jobs: Sequence[Job],
        config: SearchConfig,
        at_once: int,
        value: ValueModel | None = None,
    ) -> list[SearchTree]:
        """A tree for each of `jobs`, searched or taken from the store; its agents have to be `batch_invariant`."""
        log = self.store.tree_log(stage)
        return search(self.env.make, jobs, config, value=value, log=log, at_once=at_once)

    # -- learning -------------------------------------------------------------------------------------------------

    def train(
        self,
        name: str,
        examples: Sequence[Any],
        fit: FitConfig,
        *,
        seed: int,
        stream: str | None = None,
        objective: Objective[Any, Any] | None = None,
        start: Path | None = None,
        rename: bool = False,
    ) -> Path:
        """The adapter `name` of this run, trained now (on from the adapter `start`) or taken from the store.

        Models are freed before, since training may need their memory. `stream`, or else the name, tells its random
        numbers from those of others. With `rename`, each epoch has the texts with other names, where that is known.
        """
        random_seed = derived_seed(seed, name if stream is None else stream) % (1 << 31)
        fit = replace(resolved(fit, self.env), seed=random_seed)

        def progress(share: float) -> None:
            self.store.watch(f"train/{name}", share)

        def train(out: Path) -> None:
            told, config, renamed = examples, fit, defaults_of(self.env).rename if rename else None
            if renamed is not None:
                copies = max(1, round(fit.times))
                told = renamed_copies(examples, renamed, copies, random.Random(fit.seed))
                config = replace(fit, epochs=fit.times / copies)
            self.backend.free()
            self.learner.fit(told, out, name=name, config=config, objective=objective, start=start, progress=progress)

        return self.store.adapter(name, train)


def job(task: Task, agent: Agent, sample: int, seed: int, stream: str, **about: Any) -> Job:
    """One attempt; `stream` names the stage, so that no two share random numbers."""
    return Job(task, agent, derived_seed(seed, stream, task.id, sample), sample, **about)


def resolved(config: C, env: EnvSpec) -> C:
    """A configuration with everything that None leaves to the environment put in, parts of it too: what is recorded."""
    if isinstance(config, FitConfig):
        return replace(config, epochs=defaults_of(env).epochs) if config.epochs is None else config
    if hasattr(config, "resolved"):
        config = config.resolved(env)
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        return config
    values: Mapping[str, Any] = {part.name: getattr(config, part.name) for part in dataclasses.fields(config)}
    found: C = replace(config, **{name: resolved(value, env) for name, value in values.items()})
    return found
