"""`Run`: gives a loop its store, models, learner and environment, and hides weight files, devices and asyncio.

The module also defines two parts of loop configurations: `Practice` (tasks to attempt) and `Attempts` (how to attempt
them). See `learning.training_data` for the training data and `measuring.gate` for the gate.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Protocol, TypeVar

from tyro.constructors import PrimitiveConstructorSpec

from ..agents.core import Agent
from ..agents.models.core import Backend, LanguageModel, derived_seed
from ..agents.registry import make_agent
from ..agents.rollout import Job, Progress, SavePicture, Timing, Wave, waves
from ..agents.search import SearchTree, ValueModel, search
from ..agents.search.strategy import SearchConfig
from ..agents.trajectory import AgentSpec, Trajectory
from ..arguments import parse_pairs
from ..envs.core import Task, TaskSet
from ..envs.registry import EnvSpec
from ..errors import UsageError
from .learning.core import FitConfig, Learner, Objective
from .learning.sizes import sized
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
"""Type of parameters by name, written as `size=small seed=1` on a command line."""


@dataclass(frozen=True)
class Practice:
    """Which tasks a loop collects training data on."""

    split: str = "train"
    """Split of the practice tasks."""
    tasks: int | None = None
    """Number of practice tasks; None takes the default of the environment's seed family."""
    params: Params = field(default_factory=dict)
    """Parameters of the environment's task sets, e.g. `size=small`."""

    def task_set(self, env: EnvSpec, seed: int) -> TaskSet:
        """Return the practice tasks.

        Args:
            env: Environment of the tasks.
            seed: Seed of the choice of tasks; equal seeds give equal sets.

        Raises:
            UsageError: The environment has no such split or tasks, or does not know a parameter.
        """
        return env.tasks(self.split, self.resolved(env).tasks, seed, **self.params)

    def resolved(self, env: EnvSpec) -> Practice:
        """Return a copy with the environment's default in place of None.

        Args:
            env: Environment whose default applies.
        """
        return self if self.tasks is not None else replace(self, tasks=defaults_of(env).practice)


@dataclass(frozen=True)
class Attempts:
    """How a loop attempts tasks."""

    k: int = 4
    """Attempts per task."""
    temperature: float = 1.0
    """Sampling temperature; 0 is greedy."""
    max_tokens: int | None = None
    """Maximum tokens of one answer; None takes the environment's default."""
    at_once: int | None = None
    """Episodes played in parallel, which can change results by rounding; None takes the environment's default."""
    max_steps: int | None = None
    """Steps after which an attempt is cut; None for the environment's own limit. Few attempts that pass are long."""

    def __post_init__(self) -> None:
        check_numbers(self)

    def resolved(self, env: EnvSpec, params: Mapping[str, Any] = MappingProxyType({})) -> Attempts:
        """Return a copy with the environment's defaults in place of None.

        Args:
            env: Environment whose defaults apply.
            params: Parameters of the task sets, on which the default of `max_tokens` may depend.
        """
        return replace(
            self,
            max_tokens=self.max_tokens or env.cls.tokens_per_turn(params),
            at_once=self.at_once or env.metadata_value("at_once"),
        )


def check_numbers(settings: Any) -> None:
    """Raise `UsageError` if a count or the temperature of these settings is out of range."""
    for name in ("tasks", "k", "samples", "max_tokens", "at_once", "max_steps"):
        number = getattr(settings, name, None)
        if number is not None and number < 1:
            raise UsageError(f"{name} is {number}; expected at least 1")
    if not 0 <= settings.temperature < math.inf:
        raise UsageError(f"temperature is {settings.temperature}; expected 0 (greedy) or a positive number")


class Player(Protocol):
    """Plays episodes, in this process or on other machines."""

    def play(
        self,
        env: EnvSpec,
        jobs: Sequence[Job],
        at_once: int,
        *,
        progress: Progress,
        timing: Timing,
        save_picture: SavePicture | None,
    ) -> Iterator[Wave]:
        """Play jobs and yield their attempts; see `agents.rollout.waves`.

        Args:
            env: Environment to play in.
            jobs: Attempts to make.
            at_once: Jobs per wave, which are played in parallel.
            progress: Called with the completed share of `jobs`, in [0, 1].
            timing: Wall time is added here.
            save_picture: Stores a picture and returns its name; None discards pictures.

        Yields:
            Waves of attempts, in the order of `jobs`.
        """
        ...

    def close(self) -> None:
        """End what was started for playing. The next call of `play` starts it again."""
        ...


class LocalPlayer:
    """Plays in this process, with all episodes of a wave in one event loop."""

    def play(
        self,
        env: EnvSpec,
        jobs: Sequence[Job],
        at_once: int,
        *,
        progress: Progress,
        timing: Timing,
        save_picture: SavePicture | None,
    ) -> Iterator[Wave]:
        """See `Player.play`."""
        return waves(env.make, jobs, at_once=at_once, progress=progress, timing=timing, save_picture=save_picture)

    def close(self) -> None:
        """Do nothing: there are no other processes."""


@dataclass(frozen=True)
class Run:
    """The store, models, learner and environment that a loop works with.

    Every result goes through the store. A loop that is interrupted and run again takes finished stages from it and ends
    with the same result.
    """

    store: RunStore
    """Stores attempts, trees, results and adapters."""
    backend: Backend
    """Opens models."""
    learner: Learner
    """Trains adapters."""
    env: EnvSpec
    """Environment of all tasks."""
    agent: AgentSpec = field(default_factory=AgentSpec)
    """Agent that acts, without its model."""
    player: Player = field(default_factory=LocalPlayer)
    """Plays episodes."""
    demonstrations: Sequence[Trajectory] = ()
    """Attempts of an expert, for loops that mix them into the training data."""

    @property
    def parameters(self) -> int | None:
        """Number of parameters of the base model; None if the backend does not say."""
        return getattr(self.backend, "parameters", None)

    def with_scope(self, scope: str) -> Run:
        """Return a view of this run whose stages and adapters belong to a scope.

        Args:
            scope: Name of the scope, such as `seed0`; see `Stage.scope`.
        """
        return replace(self, store=self.store.with_scope(scope))

    # -- acting ---------------------------------------------------------------------------------------------------

    def make_agent(
        self,
        adapter: Path | None,
        attempts: Attempts,
        *,
        temperature: float | None = None,
        decoding: str | None = None,
        parallel: int | None = None,
        batch_invariant: bool = False,
    ) -> Agent:
        """Return the run's agent with the base model and an adapter; the model loads on its first call.

        Args:
            adapter: Adapter folder; None for the base model.
            attempts: Temperature, token limit and parallelism.
            temperature: Replaces `attempts.temperature`.
            decoding: Replaces the agent's decoding, `free` or `constrained`.
            parallel: Number of conversations whose caches the model keeps; None for `attempts.at_once`.
            batch_invariant: Whether results must not depend on batching; see `Backend.model`.
        """
        attempts = attempts.resolved(self.env)
        model = self.backend.model(adapter, parallel=parallel or attempts.at_once or 1, batch_invariant=batch_invariant)
        return self.agent_for_model(
            model,
            temperature=attempts.temperature if temperature is None else temperature,
            max_tokens=attempts.max_tokens,
            decoding=decoding,
        )

    def agent_for_model(self, model: LanguageModel, **settings: Any) -> Agent:
        """Return the run's agent with an open model.

        Args:
            model: Model of the agent.
            **settings: Arguments of the agent, such as `temperature`; see `agents.registry.make_agent`.
        """
        return make_agent(self.agent, model, **settings)

    def play(
        self, stage: Stage, jobs: Sequence[Job], attempts: Attempts, timing: Timing | None = None
    ) -> list[Trajectory]:
        """Play jobs, or take their attempts from the store.

        Args:
            stage: Stage that holds the attempts.
            jobs: Attempts to make.
            attempts: Its `at_once` is the wave size, and its `max_steps` the step limit.
            timing: Wall time of the played attempts is added here.

        Returns:
            The attempts, in the order of `jobs`.

        Raises:
            UsageError: The stage holds attempts that do not match the first of `jobs`.
        """
        at_once, env = attempts.resolved(self.env).at_once or 1, self.env.with_step_limit(attempts.max_steps)

        def play(remaining: Sequence[Job]) -> Iterator[Wave]:
            done = len(jobs) - len(remaining)

            def progress(share: float) -> None:
                self.store.on_status(str(self.store.scoped_stage(stage)), (done + share * len(remaining)) / len(jobs))

            progress(0.0)
            save_picture = self.store.save_picture if self.store.keeps_pictures else None
            return self.player.play(
                env, remaining, at_once, progress=progress, timing=timing or Timing(), save_picture=save_picture
            )

        return self.store.collect(stage, jobs, play)

    def attempt(
        self, stage: Stage, agent: Agent, tasks: Iterable[Task], attempts: Attempts, *, seed: int, stream: str
    ) -> list[Trajectory]:
        """Make `attempts.k` attempts at each task, or take them from the store.

        Args:
            stage: Stage that holds the attempts.
            agent: Agent that acts.
            tasks: Tasks to attempt.
            attempts: Number of attempts per task and wave size.
            seed: Seed of the random numbers.
            stream: Name of the random stream; see `job`.

        Returns:
            The attempts, ordered by task, then sample.

        Raises:
            UsageError: The stage holds attempts that do not match.
        """
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
        """Search one tree per job, or take it from the store.

        Args:
            stage: Stage that holds the trees.
            jobs: Searches to run; models of their agents must be batch-invariant.
            config: Search algorithm and budget.
            at_once: Trees searched in parallel.
            value: Value model of the search; None to search without one.

        Returns:
            The finished trees, in the order of `jobs`.

        Raises:
            UsageError: The stage holds trees that were started with different settings.
        """
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
        """Train an adapter, or take it from the store. Open models are freed first, to make room for training.

        Args:
            name: Name of the adapter, such as `re_rest@1`.
            examples: Examples of the objective.
            fit: Hyperparameters; `fit.seed` is replaced.
            seed: Seed of the random numbers.
            stream: Name of the random stream; None for the adapter's name.
            objective: Rows and loss; None for supervised fine-tuning.
            start: Adapter to continue from; None to start a new one.
            rename: Whether to exchange entity names each epoch, where the environment's seed family supports it.

        Returns:
            Folder of the adapter.

        Raises:
            UsageError: There is nothing to train on, or a hyperparameter is invalid.
        """
        random_seed = derived_seed(seed, name if stream is None else stream) % (1 << 31)
        fit = replace(resolved(sized(fit, self.parameters), self.env), seed=random_seed)

        def progress(share: float) -> None:
            stage = self.store.scoped_stage(Stage.from_model_round("train", name, ""))
            self.store.on_status(str(stage), share)

        def train(out: Path) -> None:
            progress(0.0)
            training_examples, config, rename_chat = examples, fit, defaults_of(self.env).rename if rename else None
            if rename_chat is not None:
                copies = max(1, round(fit.epochs_or_default))
                training_examples = renamed_copies(examples, rename_chat, copies, random.Random(fit.seed))
                config = replace(fit, epochs=fit.epochs_or_default / copies)
            self.backend.free()
            self.learner.fit(
                training_examples, out, name=name, config=config, objective=objective, start=start, progress=progress
            )

        return self.store.adapter(name, train)


def job(task: Task, agent: Agent, sample: int, seed: int, stream: str, **provenance: Any) -> Job:
    """Make a job with its own random numbers.

    Args:
        task: Task to attempt.
        agent: Agent that acts.
        sample: Number of the attempt at this task.
        seed: Seed of the loop.
        stream: Name of the random stream; streams with different names share no random numbers.
        **provenance: `source` and `parents` of the attempt; see `Job`.

    Returns:
        The job, with a seed derived from `seed`, `stream`, the task's id and `sample`.
    """
    return Job(task, agent, derived_seed(seed, stream, task.id, sample), sample, **provenance)


def resolved(config: C, env: EnvSpec) -> C:
    """Return a configuration with the environment's defaults in place of None, nested parts included."""
    if isinstance(config, FitConfig):
        epochs = defaults_of(env).epochs if config.epochs is None else config.epochs
        return replace(config, epochs=epochs, lr=config.lr_or_default, batch_tokens=config.batch_tokens_or_default)
    if hasattr(config, "resolved"):
        config = config.resolved(env)
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        return config
    values: Mapping[str, Any] = {part.name: getattr(config, part.name) for part in dataclasses.fields(config)}
    complete: C = replace(config, **{name: resolved(value, env) for name, value in values.items()})
    return complete
