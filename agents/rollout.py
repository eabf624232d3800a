"""Rollouts: `play` plays one attempt; `collect` plays many in parallel."""

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
from ..errors import InfraError, TooLongError, UsageError
from . import env_calls
from .core import Agent, Episode, version_of
from .models.core import Usage
from .trajectory import Outcome, Trajectory

T = TypeVar("T")
SavePicture = Callable[[bytes], str]
"""Callback that stores a screenshot and returns its name."""
Progress = Callable[[float], None]
"""Callback that receives the completed fraction, in [0, 1]."""


@dataclass(frozen=True)
class Job:
    """One attempt to make."""

    task: Task
    agent: Agent
    seed: int
    sample: int = 0
    source: str = "policy"
    """Origin of the attempt; see `Trajectory.source`."""
    parents: tuple[str, ...] = ()
    """Keys of the attempts that this one mends; see `Trajectory.parents`."""


@dataclass
class Timing:
    """Wall time of `collect` in seconds: in total, in models and in environments."""

    wall: float = 0.0
    model: float = 0.0
    env: float = 0.0

    @property
    def overhead(self) -> float:
        """Fraction of the wall time spent in neither models nor environments, in [0, 1]."""
        return max(0.0, 1 - (self.model + self.env) / self.wall) if self.wall else 0.0


async def play(
    env: AgentEnv, job: Job, timing: Timing | None = None, save_picture: SavePicture | None = None
) -> Trajectory:
    """Play one attempt to its end.

    Args:
        env: The environment. It is reset to `job.task`.
        job: Task, agent, seed and origin of the attempt.
        timing: Accumulates the time spent in the environment.
        save_picture: Stores the screenshot before each action, if the environment provides one.

    Returns:
        The attempt. An `InfraError`, and any exception of the environment, ends it with the outcome `infra_error`. A
        chat that no longer fits the model's window ends it with the outcome `truncated`. Any other exception
        propagates.
    """
    return (await _play(env, job, timing or Timing(), save_picture))[0]


async def _play(
    env: AgentEnv, job: Job, timing: Timing, save_picture: SavePicture | None
) -> tuple[Trajectory, UsageError | None]:
    """Play one attempt. Also return the error that is bad input if no other attempt gets further."""
    episode: Episode | None = None
    try:
        start = time.perf_counter()
        observation, info = env_calls.reset(env, job.task)
        timing.env += time.perf_counter() - start
        episode = Episode(job.task, observation, info, job.seed)
        done = truncated = False
        while not (done or truncated):
            picture = None
            if save_picture:
                with env_calls.named_errors(env, "picture"):
                    picture = env.picture()
            step = await job.agent.act(episode)
            if save_picture and picture:
                step = replace(step, picture=save_picture(picture))
            start = time.perf_counter()
            observation, reward, done, truncated, info = env_calls.step(env, step.action)
            timing.env += time.perf_counter() - start
            episode.advance(replace(step, reward=reward, invalid=info.get("invalid")), observation, info)
    except InfraError as error:
        refusal = error.refusal if isinstance(error, env_calls.RefusedError) else None
        return _trajectory(job, episode, "infra_error", str(error)), refusal
    except TooLongError as error:
        too_long = None if episode and episode.steps else error
        return _trajectory(job, episode, "truncated", str(error)), too_long
    outcome: Outcome = "success" if info.get("success") else "failure" if done else "truncated"
    return _trajectory(job, episode, outcome, None), None


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
    """The attempts that were played in parallel as one batch."""

    attempts: list[Trajectory]
    """One attempt for each job, in the order of the jobs."""
    versions: tuple[tuple[str, str], ...] = ()
    """Name and version of each external program in the environments, such as a browser."""


def waves(
    make_env: Callable[[], AgentEnv],
    jobs: Iterable[Job],
    *,
    at_once: int = 128,
    retries: int = 2,
    progress: Progress = lambda share: None,
    timing: Timing | None = None,
    save_picture: SavePicture | None = None,
) -> Iterator[Wave]:
    """Play all jobs in waves. The model calls of one wave are batched together.

    Models clear their caches before each wave. An interrupted wave that is played again therefore sees the same batches
    and gives bit-identical results. What an environment raises ends its own attempt (see `play`). Any other exception
    ends all attempts and propagates. Inside a running event loop (a notebook), each wave runs in its own thread.

    Args:
        make_env: Creates an environment. It is called once for each parallel episode.
        jobs: The attempts to make.
        at_once: Number of episodes in one wave.
        retries: Maximum number of repetitions of an attempt after infrastructure failures, within its wave. The last
            result is returned even if it is such a failure.
        progress: Receives the completed fraction of the jobs after each attempt.
        timing: Accumulates wall time and the time spent in models and environments.
        save_picture: As in `play`.

    Yields:
        The waves, with their attempts in the order of `jobs`.

    Raises:
        UsageError: If `at_once` is less than 1. Also, with no wave given, if each attempt fails because the environment
            raises a `UsageError`, or its first turn does not fit the model's window (`TooLongError`): then the
            configuration is wrong, not a task. The error is that of the first attempt.
    """
    if at_once < 1:
        raise UsageError(f"at_once is {at_once}; expected at least 1")
    jobs, timing = list(jobs), timing or Timing()
    models, counter = models_of(jobs), itertools.count(1)
    usable, withheld, refusals = False, list[Wave](), list[UsageError]()

    async def attempt(env: AgentEnv, job: Job) -> tuple[Trajectory, UsageError | None]:
        for _ in range(1 + retries):
            trajectory, refusal = await _play(env, job, timing, save_picture)
            # An environment that refuses a task refuses it again.
            if trajectory.outcome != "infra_error" or refusal:
                break
        progress(next(counter) / len(jobs))
        return trajectory, refusal

    with contextlib.ExitStack() as stack:
        envs = [stack.enter_context(contextlib.closing(make_env())) for _ in range(min(at_once, len(jobs)))]
        for first in range(0, len(jobs), at_once):
            start, model_seconds = time.perf_counter(), total_usage(models).seconds
            for model in models:
                model.start_wave()
            try:
                played = run_sync(gather_or_cancel(list(map(attempt, envs, jobs[first : first + at_once]))))
            finally:
                timing.wall += time.perf_counter() - start
                timing.model += total_usage(models).seconds - model_seconds
            attempts = [trajectory for trajectory, _ in played]
            versions = tuple(dict.fromkeys(pair for env in envs for pair in env.versions().items()))
            withheld.append(Wave(attempts, versions))
            refusals += [refusal for _, refusal in played if refusal]
            # One task that cannot be played is its own attempt's trouble. If none can be, the configuration is wrong.
            if usable := usable or not all(refusal for _, refusal in played):
                yield from withheld
                withheld.clear()
    if withheld:
        raise refusals[0]


def collect(make_env: Callable[[], AgentEnv], jobs: Iterable[Job], **options: Any) -> list[Trajectory]:
    """Play all jobs and return their attempts.

    Args:
        make_env: Creates an environment. It is called once for each parallel episode.
        jobs: The attempts to make.
        **options: Further arguments of `waves`, such as `at_once` or `timing`.

    Returns:
        One attempt for each job, in the order of the jobs.
    """
    return [attempt for wave in waves(make_env, jobs, **options) for attempt in wave.attempts]


async def run_in_waves(
    jobs: Sequence[Callable[[], Coroutine[Any, Any, T]]], at_once: int, models: Sequence[_HasWaves]
) -> list[T]:
    """Run `jobs` in waves of `at_once` coroutines and return their results. Each wave begins with empty caches."""
    results: list[T] = []
    for first in range(0, len(jobs), at_once):
        for model in models:
            model.start_wave()
        results += await gather_or_cancel([job() for job in jobs[first : first + at_once]])
    return results


async def gather_or_cancel(coroutines: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Return all results. If one coroutine fails or the caller is cancelled, cancel the others and wait for them."""
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
    """Return the coroutine's result, whether or not an event loop is running in this thread."""
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


class _HasUsage(Protocol):
    def usage(self) -> Usage: ...


class _HasWaves(Protocol):
    def start_wave(self) -> None: ...


def models_of(jobs: Iterable[Job]) -> list[Any]:
    """Return the models of the jobs' agents without duplicates."""
    return list({id(model): model for job in jobs for model in job.agent.models}.values())


def total_usage(models: Iterable[_HasUsage]) -> Usage:
    """Return the summed usage of models."""
    return sum((model.usage() for model in models), Usage())
