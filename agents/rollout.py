"""Playing: `play` is one agent in one environment, written sequentially; `collect` is hundreds of them at once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from ..envs.core import AgentEnv, Task
from ..errors import InfraError, UsageError
from .models.core import Message
from .trajectory import Outcome, Source, Step, Trajectory

T = TypeVar("T")
Keep = Callable[[bytes], str]
"""Keeps a picture and names it."""


@dataclass
class Episode:
    """What an agent may look at: the task, the past, and what it sees now."""

    task: Task
    observation: str
    info: dict[str, Any]
    seed: int
    """The agent draws its own seeds from this one and the number of steps."""
    steps: list[Step] = field(default_factory=list)
    prompt_tokens: int = 0
    """Agents add what the model read."""
    reflection: Step | None = None
    """Set by agents that reflect before they act."""
    chat: list[Message] = field(default_factory=list)
    """What the agent and its model said so far; the agent's own."""
    notes: list[Any] = field(default_factory=list)
    """What else the agent wants to remember, such as a record of each step; its own."""

    @property
    def goal(self) -> str:
        """The task in words, where the environment says it at reset."""
        return str(self.info.get("goal", ""))


class Agent(Protocol):
    """Who acts."""

    @property
    def name(self) -> str:
        """Goes into the trajectory as its model version."""
        ...

    async def act(self, episode: Episode) -> Step:
        """The next step; its reward and `invalid` are filled in by `play`."""
        ...


@dataclass(frozen=True)
class Job:
    """One attempt to make."""

    task: Task
    agent: Agent
    seed: int
    sample: int = 0
    source: Source = "policy"
    parents: tuple[str, ...] = ()


@dataclass
class Clock:
    """Where the wall time of a `collect` went, in seconds."""

    wall: float = 0.0
    model: float = 0.0
    env: float = 0.0

    @property
    def overhead(self) -> float:
        """Share of the wall time that was neither model nor environment, in [0, 1]."""
        return max(0.0, 1 - (self.model + self.env) / self.wall) if self.wall else 0.0


async def play(env: AgentEnv, job: Job, clock: Clock | None = None, keep: Keep | None = None) -> Trajectory:
    """Play one attempt to its end. `InfraError` ends it as `infra_error`; any other exception is a bug and escapes.

    `keep` is given the picture of what each step is decided on, where the environment has one.
    """
    clock = clock or Clock()
    episode: Episode | None = None
    try:
        start = time.perf_counter()
        observation, info = env.reset(options={"task": job.task})
        clock.env += time.perf_counter() - start
        episode = Episode(job.task, observation, info, job.seed)
        goal, done, truncated = episode.goal, False, False
        while not (done or truncated):
            picture = env.picture() if keep else None
            step = await job.agent.act(episode)
            if keep and picture:
                step = replace(step, picture=keep(picture))
            start = time.perf_counter()
            observation, reward, done, truncated, info = env.step(step.action)
            clock.env += time.perf_counter() - start
            episode.steps.append(replace(step, reward=float(reward), invalid=info.get("invalid")))
            episode.observation, episode.info = observation, {"goal": goal, **info}
    except InfraError as error:
        return _trajectory(job, episode, "infra_error", str(error))
    outcome: Outcome = "success" if info.get("success") else "failure" if done else "truncated"
    return _trajectory(job, episode, outcome, None)


def _trajectory(job: Job, episode: Episode | None, outcome: Outcome, error: str | None) -> Trajectory:
    episode = episode or Episode(job.task, "", {}, job.seed)
    return Trajectory(
        task=job.task,
        steps=tuple(episode.steps),
        final_observation=episode.observation,
        outcome=outcome,
        score=float(episode.info.get("score", outcome == "success")),
        source=job.source,
        model=job.agent.name,
        seed=job.seed,
        sample=job.sample,
        goal=episode.goal,
        reflection=episode.reflection,
        parents=job.parents,
        prompt_tokens=episode.prompt_tokens,
        error=error,
    )


async def collect_async(
    make_env: Callable[[], AgentEnv],
    jobs: Iterable[Job],
    *,
    at_once: int = 128,
    retries: int = 2,
    on_wave: Callable[[list[Trajectory]], None] | None = None,
    progress: Callable[[float], None] = lambda share: None,
    clock: Clock | None = None,
    keep: Keep | None = None,
) -> list[Trajectory]:
    """Play all jobs, in waves of `at_once` episodes whose model calls are batched together; order as in `jobs`.

    The wave is the unit of repetition: models forget before each what they keep of earlier calls, so an interrupted
    wave that is played again from its start meets the same batches and ends the same to the bit. `on_wave` gets each
    finished wave, `progress` the share of the jobs that is done. An attempt that an `InfraError` ended is repeated up
    to `retries` times within its wave and is then returned as it is. Any other exception ends all attempts. `keep` is
    as in `play`.
    """
    if at_once < 1:
        raise UsageError(f"at_once is {at_once}; a wave has at least 1 episode")
    clock = clock or Clock()
    jobs = list(jobs)
    done: list[Trajectory] = []
    finished = itertools.count(1)

    async def attempt(env: AgentEnv, job: Job) -> Trajectory:
        trajectory = await play(env, job, clock, keep)
        for _ in range(retries):
            if trajectory.outcome != "infra_error":
                break
            trajectory = await play(env, job, clock, keep)
        progress(next(finished) / len(jobs))
        return trajectory

    with contextlib.ExitStack() as closing:
        envs = [closing.enter_context(contextlib.closing(make_env())) for _ in range(min(at_once, len(jobs)))]
        start, model_seconds = time.perf_counter(), busy_seconds(models_of(jobs))
        forgetting = [model.forget for model in models_of(jobs) if hasattr(model, "forget")]
        try:
            for first in range(0, len(jobs), at_once):
                for forget in forgetting:
                    forget()
                wave = await all_or_none(list(map(attempt, envs, jobs[first : first + at_once])))
                done += wave
                if on_wave:
                    on_wave(wave)
        finally:
            clock.wall += time.perf_counter() - start
            clock.model += busy_seconds(models_of(jobs)) - model_seconds
    return done


async def in_waves(
    work: Sequence[Callable[[], Coroutine[Any, Any, T]]], at_once: int, models: Iterable[Any]
) -> list[T]:
    """The results of all of `work`, made `at_once` at a time; before each wave, `models` forget earlier calls."""
    found: list[T] = []
    for first in range(0, len(work), at_once):
        for model in models:
            if hasattr(model, "forget"):
                model.forget()
        found += await all_or_none([make() for make in work[first : first + at_once]])
    return found


async def all_or_none(coroutines: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All results; when one fails or the caller is cancelled, none is left running over environments about to close."""
    if len(coroutines) == 1:
        return [await coroutines[0]]
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def collect(make_env: Callable[[], AgentEnv], jobs: Iterable[Job], **options: Any) -> list[Trajectory]:
    """`collect_async` for code without an event loop; inside a running one (a notebook) it works in its own thread."""
    return run_sync(collect_async(make_env, jobs, **options))


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result, whether or not an event loop is running in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    outcome: list[T | BaseException] = []

    def target() -> None:
        try:
            outcome.append(asyncio.run(coroutine))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def models_of(jobs: Sequence[Job]) -> list[Any]:
    """The models that the jobs' agents think with, each once."""
    return list({id(m): m for m in (getattr(job.agent, "model", None) for job in jobs) if m is not None}.values())


def busy_seconds(models: Iterable[Any]) -> float:
    """Wall time that models have worked, those that count it."""
    return sum(float(getattr(model, "busy_seconds", 0.0)) for model in models)
