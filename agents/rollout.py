"""Playing: `play` is one agent in one environment, written sequentially; `collect` is hundreds of them at once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from ..envs.core import AgentEnv, Task
from ..errors import InfraError, UsageError
from .core import Agent, Episode, version_of
from .models.core import Usage
from .trajectory import Outcome, Trajectory

T = TypeVar("T")
Keep = Callable[[bytes], str]
"""Keeps a picture and names it."""
Progress = Callable[[float], None]
"""Gets the share that is done, in [0, 1]."""


@dataclass(frozen=True)
class Job:
    """One attempt to make."""

    task: Task
    agent: Agent
    seed: int
    sample: int = 0
    source: str = "policy"
    """How the attempt comes about; see `Trajectory.source`."""
    parents: tuple[str, ...] = ()


@dataclass
class Timing:
    """Where the wall time of a `collect` went, in seconds."""

    wall: float = 0.0
    model: float = 0.0
    env: float = 0.0

    @property
    def overhead(self) -> float:
        """Share of the wall time that was neither model nor environment, in [0, 1]."""
        return max(0.0, 1 - (self.model + self.env) / self.wall) if self.wall else 0.0


async def play(env: AgentEnv, job: Job, timing: Timing | None = None, keep: Keep | None = None) -> Trajectory:
    """Play one attempt to its end. `InfraError` ends it as `infra_error`; any other exception is a bug and escapes.

    `keep` is given the picture of what each step is decided on, where the environment has one.
    """
    timing = timing or Timing()
    episode: Episode | None = None
    try:
        start = time.perf_counter()
        observation, info = env.reset(options={"task": job.task})
        timing.env += time.perf_counter() - start
        episode = Episode(job.task, observation, info, job.seed)
        done = truncated = False
        while not (done or truncated):
            picture = env.picture() if keep else None
            step = await job.agent.act(episode)
            if keep and picture:
                step = replace(step, picture=keep(picture))
            start = time.perf_counter()
            observation, reward, done, truncated, info = env.step(step.action)
            timing.env += time.perf_counter() - start
            episode.advance(replace(step, reward=float(reward), invalid=info.get("invalid")), observation, info)
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
        model=version_of(job.agent),
        agent=job.agent.name,
        made_by=job.agent.spec,
        seed=job.seed,
        sample=job.sample,
        goal=episode.goal,
        reflection=episode.reflection,
        parents=job.parents,
        prompt_tokens=episode.prompt_tokens,
        error=error,
    )


@dataclass(frozen=True)
class Wave:
    """Episodes that were played together."""

    attempts: list[Trajectory]
    """One for each job, in their order."""
    versions: tuple[tuple[str, str], ...] = ()
    """Programs outside this package that they were played in: name and version."""


def waves(
    make_env: Callable[[], AgentEnv],
    jobs: Iterable[Job],
    *,
    at_once: int = 128,
    retries: int = 2,
    progress: Progress = lambda share: None,
    timing: Timing | None = None,
    keep: Keep | None = None,
) -> Iterator[Wave]:
    """Play all jobs, in waves of `at_once` episodes whose model calls are batched together; order as in `jobs`.

    The wave is the unit of repetition: models forget before each what they keep of earlier calls, so an interrupted
    wave that is played again from its start meets the same batches and ends the same to the bit. `progress` gets the
    share of the jobs that is done. An attempt that an `InfraError` ended is repeated up to `retries` times within its
    wave and is then returned as it is. Any other exception ends all attempts. `keep` is as in `play`. Inside a running
    event loop (a notebook) it works in its own thread.
    """
    if at_once < 1:
        raise UsageError(f"at_once is {at_once}; a wave has at least 1 episode")
    jobs, timing = list(jobs), timing or Timing()
    models, finished = models_of(jobs), itertools.count(1)

    async def attempt(env: AgentEnv, job: Job) -> Trajectory:
        for _ in range(1 + retries):
            trajectory = await play(env, job, timing, keep)
            if trajectory.outcome != "infra_error":
                break
        progress(next(finished) / len(jobs))
        return trajectory

    with contextlib.ExitStack() as closing:
        envs = [closing.enter_context(contextlib.closing(make_env())) for _ in range(min(at_once, len(jobs)))]
        for first in range(0, len(jobs), at_once):
            start, busy = time.perf_counter(), usage_of(models).seconds
            for model in models:
                model.start_wave()
            try:
                played = run_sync(all_or_none(list(map(attempt, envs, jobs[first : first + at_once]))))
            finally:
                timing.wall += time.perf_counter() - start
                timing.model += usage_of(models).seconds - busy
            yield Wave(played, tuple(dict.fromkeys(pair for env in envs for pair in env.versions().items())))


def collect(make_env: Callable[[], AgentEnv], jobs: Iterable[Job], **options: Any) -> list[Trajectory]:
    """The attempts of `waves`, all of them."""
    return [attempt for wave in waves(make_env, jobs, **options) for attempt in wave.attempts]


async def in_waves(
    work: Sequence[Callable[[], Coroutine[Any, Any, T]]], at_once: int, models: Sequence[_Waving]
) -> list[T]:
    """The results of all of `work`, made `at_once` at a time; before each wave, `models` forget earlier calls."""
    found: list[T] = []
    for first in range(0, len(work), at_once):
        for model in models:
            model.start_wave()
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


class _Used(Protocol):
    def usage(self) -> Usage: ...


class _Waving(Protocol):
    def start_wave(self) -> None: ...


def models_of(jobs: Iterable[Job]) -> list[Any]:
    """The models that the jobs' agents think with, each once."""
    return list({id(model): model for job in jobs for model in job.agent.models}.values())


def usage_of(models: Iterable[_Used]) -> Usage:
    """What models have done, together."""
    return sum((model.usage() for model in models), Usage())
