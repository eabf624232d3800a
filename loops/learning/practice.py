"""What all loops share: what is practised on, and how attempts become examples to learn from."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..agents.models.core import LanguageModel, derived_seed
from ..agents.react import ReActAgent, ReActConfig, chat_of, without_refused, world_of
from ..agents.rollout import Agent, Job
from ..agents.trajectory import Step, Trajectory
from ..envs.core import AgentEnv, Task, TaskSet
from ..envs.registry import find
from ..errors import UsageError
from .learner import Example, FitConfig, fit
from .seeds.family import Exchange, exchange_of
from .store import RunStore


class Played:
    """How episodes of an environment are played; what is None is the environment's usual number."""

    env: str
    max_tokens: int | None
    at_once: int | None
    temperature: float

    def check(self) -> None:
        """Raise `UsageError` for numbers that nothing can be played with, before a run is begun with them."""
        for name in ("tasks", "k", "samples", "max_tokens", "at_once"):
            number = getattr(self, name, None)
            if number is not None and number < 1:
                raise UsageError(f"{name} is {number}; at least 1 is needed")
        if not 0 <= self.temperature < math.inf:
            raise UsageError(f"temperature is {self.temperature}; it is 0 (greedy) or above")

    def checked(self, tasks: TaskSet, split: str) -> TaskSet:
        """The same tasks; raises `UsageError` when there are none."""
        if not len(tasks):
            raise UsageError(f"split {split!r} of {self.env!r} holds no task that can be played; name another one")
        return tasks

    @property
    def turn_tokens(self) -> int:
        """Tokens that one turn may have."""
        return self.max_tokens or find(self.env).turn_tokens

    @property
    def together(self) -> int:
        """Episodes that are played together."""
        return self.at_once or find(self.env).at_once


@dataclass(frozen=True)
class Practice(Played):
    """Which tasks are attempted, how often, and how one learns from them: what all loops configure."""

    env: str = "household"
    """Short name or Gymnasium id."""
    env_params: dict[str, str] = field(default_factory=dict)
    """What the environment's task sets take, e.g. `size small`."""
    split: str = "train"
    tasks: int | None = None
    """How many tasks are attempted; None is the environment's usual number."""
    k: int = 4
    """Attempts at each."""
    temperature: float = 1.0
    """Of the attempts."""
    max_tokens: int | None = None
    """Of one turn; None is the environment's usual number."""
    mistakes: Literal["masked", "dropped", "learnt"] = "masked"
    """What becomes of mistakes in an attempt that passed: refused actions, and those that a later one superseded.

    `masked`: they stay to be seen, and what was done next is learnt, which demonstrations without mistakes lack;
    `dropped`: refused ones are left out as well, for environments where they change nothing; `learnt`: they are
    imitated like all others.
    """
    replay: float = 1.0
    """Demonstrations mixed in, as a multiple of the passed attempts; only for models that bring demonstrations."""
    other_words: bool = True
    """Whether each epoch has the texts in other words, where the environment's family knows how to exchange them: so
    that names and labels are read and not known by heart."""
    fit: FitConfig = field(default_factory=FitConfig)
    at_once: int | None = None
    """Episodes that are played together; None is the environment's usual number. Part of the result: batches differ in
    rounding."""
    seed: int = 0

    def task_set(self) -> TaskSet:
        """The tasks that are practised on; raises `UsageError` when there are none."""
        self.check()
        tasks = find(self.env).load().tasks(self.split, self.number, self.seed, **self.env_params)
        return self.checked(tasks, self.split)

    @property
    def number(self) -> int:
        """How many tasks are asked for."""
        return find(self.env).practice if self.tasks is None else self.tasks

    @property
    def epochs(self) -> float:
        """How often each text is learnt."""
        return find(self.env).epochs if self.fit.epochs is None else self.fit.epochs

    @property
    def make_env(self) -> Callable[[], AgentEnv]:
        """Makes a fresh environment; looked up once for the many that are played at once."""
        return find(self.env).load()

    def agent(self, model: LanguageModel, temperature: float | None = None) -> ReActAgent:
        """Who attempts the tasks; greedy at temperature 0."""
        temperature = self.temperature if temperature is None else temperature
        return ReActAgent(model, ReActConfig(temperature=temperature, max_tokens=self.turn_tokens))

    def job(self, task: Task, agent: Agent, sample: int, *stream: object, **about: Any) -> Job:
        """One attempt; `stream` names the stage, so that no two share random numbers."""
        return Job(task, agent, derived_seed(self.seed, *stream, task.id, sample), sample, **about)

    def attempt(
        self, store: RunStore, stage: str, model: LanguageModel, tasks: Iterable[Task], samples: Iterable[int]
    ) -> list[Trajectory]:
        """`samples` attempts at each task, played or taken from the store."""
        agent, samples = self.agent(model), list(samples)
        jobs = [self.job(task, agent, sample, stage) for task in tasks for sample in samples]
        return store.collect(stage, self.make_env, jobs, at_once=self.together)

    def examples(self, trajectories: Iterable[Trajectory]) -> list[Example]:
        """What is learnt from attempts that passed: distinct ones, each task weighing the same."""
        by_task: dict[str, dict[tuple[str, ...], Trajectory]] = {}
        for trajectory in trajectories:
            learnt = self.learnt(trajectory)
            actions = tuple(step.action for step in learnt.steps)
            if any(step.trainable for step in learnt.steps):
                by_task.setdefault(trajectory.task.id, {}).setdefault(actions, learnt)
        return [
            Example(chat_of(learnt), 1.0 / len(attempts))
            for attempts in by_task.values()
            for learnt in attempts.values()
        ]

    def mixture(self, passed: Sequence[Trajectory], demonstrations: Sequence[Trajectory]) -> list[Example]:
        """Examples of passed attempts, with `replay` times as many demonstrations drawn by seed."""
        examples = self.examples(passed)
        return [*examples, *self.demonstrated(len(examples), demonstrations)]

    def demonstrated(self, examples: int, demonstrations: Sequence[Trajectory]) -> list[Example]:
        """`replay` times as many demonstrations as there are `examples`, drawn by seed."""
        wanted = min(len(demonstrations), round(self.replay * examples))
        chosen = random.Random(derived_seed(self.seed, "replay")).sample(range(len(demonstrations)), wanted)
        return self.examples(demonstrations[i] for i in sorted(chosen))

    def learnt(self, trajectory: Trajectory) -> Trajectory:
        """The part of an attempt that is learnt from."""
        if self.mistakes == "learnt":
            return trajectory
        steps = without_refused(trajectory.steps) if self.mistakes == "dropped" else trajectory.steps
        return replace(trajectory, steps=masked(steps, world_of(trajectory.task.env_id)))

    def train(
        self, store: RunStore, name: str, base: Path, examples: Sequence[Example], start: Path | None = None
    ) -> Path:
        """The adapter `name` of this run, trained now (on from the adapter `start`) or taken from the store."""
        more: dict[str, Any] = {} if start is None else {"start": start}
        more["progress"] = functools.partial(store.watch, f"train/{name}")

        def train(out: Path) -> None:
            config = replace(self.fit, epochs=self.epochs, seed=derived_seed(self.seed, name) % (1 << 31))
            exchange = exchange_of(find(self.env).name) if self.other_words else None
            if exchange is None:
                fit(base, examples, config, out, name=name, **more)
                return
            copies = max(1, round(self.epochs))
            told = in_other_words(examples, exchange, copies, random.Random(config.seed))
            fit(base, told, replace(config, epochs=self.epochs / copies), out, name=name, **more)

        return store.adapter(name, train)

    def to_json(self) -> dict[str, Any]:
        """JSON-clean."""
        return asdict(self)


def in_other_words(examples: Sequence[Example], exchange: Exchange, copies: int, rng: random.Random) -> list[Example]:
    """So many copies of each, each in words of its own."""

    def retold(example: Example) -> Example:
        chat = zip(example.messages, exchange(example.messages, rng), strict=True)
        # Tokens are those of the old words.
        return replace(
            example, messages=[old if old.content == new.content else replace(new, token_ids=None) for old, new in chat]
        )

    return [retold(example) for _ in range(copies) for example in examples]


def masked(steps: Sequence[Step], world: type[AgentEnv]) -> tuple[Step, ...]:
    """The same steps; those that were refused or superseded are not trained on."""
    bad = world.superseded([step.action for step in steps])
    bad |= {number for number, step in enumerate(steps) if step.invalid is not None}
    return tuple(replace(step, trainable=False) if number in bad else step for number, step in enumerate(steps))
