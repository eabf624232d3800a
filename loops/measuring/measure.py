"""Measuring a model within a run: held-out attempts, stored under `eval/`, and their `Score`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ..agents.models.core import LanguageModel, derived_seed
from ..agents.react import ReActAgent, ReActConfig
from ..agents.rollout import Clock, Job
from ..agents.trajectory import Trajectory
from ..envs.core import TaskSet
from ..envs.household.generator import ENV_ID
from ..envs.registry import find
from ..errors import UsageError
from ..loops.evaluation import Score, score
from ..loops.practice import Played
from ..loops.store import RunStore


def alfworld_games(folder: str, split: str, env_id: str, env_params: Mapping[str, str]) -> TaskSet:
    """ALFWorld's games of one split; raises `UsageError` for a world that does not play them."""
    if env_id != ENV_ID:
        raise UsageError(f"ALFWorld's games are played in {ENV_ID}, not in {env_id!r}")
    if env_params:
        raise UsageError(f"ALFWorld's games are as they are; leave the parameter {min(env_params)!r} out")
    return TaskSet.from_alfworld(folder, split)


@dataclass(frozen=True)
class Measure(Played):
    """What models are measured on, and how they act there."""

    env: str = "household"
    env_params: dict[str, str] = field(default_factory=dict)
    splits: Annotated[tuple[str, ...], tyro.conf.arg(aliases=("--split",))] = ("valid_unseen",)
    alfworld: str | None = None
    """A folder of ALFWorld's own games, with a folder for each split: these are the tasks then."""
    tasks: int = 200
    """Of each split; of ALFWorld's games at most as many as there are."""
    samples: int = 1
    """Attempts at each task."""
    decoding: Literal["free", "constrained"] = "free"
    temperature: float = 0.0
    """0 is greedy."""
    max_tokens: int | None = None
    """Of one turn; None is the environment's usual number."""
    at_once: int | None = None
    """Episodes played together; None is the environment's usual number."""
    seed: int = 2026
    """Of the choice of tasks and of the sampling."""

    def task_set(self, split: str) -> TaskSet:
        """The held-out tasks of one split; raises `UsageError` when there are none."""
        self.check()
        world = find(self.env).load()
        if self.alfworld is None:
            return self.checked(world.tasks(split, self.tasks, self.seed, **self.env_params), split)
        games = alfworld_games(self.alfworld, split, world.env_id, self.env_params)
        return games.sample(min(self.tasks, len(games)), self.seed)

    def task_sets(self) -> dict[str, TaskSet]:
        """The held-out tasks of each split; raises `UsageError` when there are none."""
        if not self.splits:
            raise UsageError("splits is empty; name at least one split to measure on")
        return {split: self.task_set(split) for split in self.splits}

    def agent(self, model: LanguageModel, temperature: float | None = None) -> ReActAgent:
        """Who is measured; `temperature` replaces the configured one."""
        temperature = self.temperature if temperature is None else temperature
        return ReActAgent(
            model, ReActConfig(decoding=self.decoding, temperature=temperature, max_tokens=self.turn_tokens)
        )

    def jobs(self, model: LanguageModel, tasks: TaskSet) -> list[Job]:
        """`samples` attempts at each task."""
        agent = self.agent(model)
        return [Job(t, agent, derived_seed(self.seed, t.id, i), i) for t in tasks for i in range(self.samples)]


def measure(
    store: RunStore, name: str, base: Path | str, adapter: Path | None, on: Measure
) -> dict[str, list[Trajectory]]:
    """The attempts of `base` + `adapter` at every split, played or taken from the store.

    Raises `UsageError` when the store holds another model's attempts under `name`.
    """
    found = {}
    subject = Subject(base, adapter, on.together)
    for split in on.splits:
        tasks = on.task_set(split)

        def jobs(model: LanguageModel, tasks: TaskSet = tasks) -> list[Job]:
            return on.jobs(model, tasks)

        found[split] = measured(store, name, split, subject, tasks, on, jobs, len(tasks) * on.samples)
    return found


class Subject:
    """A model that is measured; loaded when something has to be played, and then once."""

    def __init__(self, base: Path | str, adapter: Path | None, slots: int) -> None:
        from ..agents.models.local import LocalModel, model_version

        self.version = model_version(base, adapter)
        self.model = functools.cache(lambda: LocalModel.load(base, adapter, slots=slots))


def measured(
    store: RunStore,
    name: str,
    what: str,
    subject: Subject,
    tasks: TaskSet,
    on: Measure,
    jobs: Callable[[LanguageModel], list[Job]],
    count: int,
) -> list[Trajectory]:
    """`count` attempts of `jobs`, with their score and clock, as `<name>/<what>`; played or taken from the store."""
    stage, seconds = f"eval/{name}/{what}", None
    stored = store.trajectories(stage)
    if others := {t.model for t in stored} - {subject.version}:
        raise UsageError(
            f"{store.folder}: {name!r} is {min(others)} there and {subject.version} now; give this one another name, "
            "or name a new run folder"
        )
    if len(stored) < count:
        clock = Clock()
        stored = store.collect(stage, find(on.env).load(), jobs(subject.model()), at_once=on.together, clock=clock)
        seconds = clock.wall
        store.stage(f"clock/{name}/{what}", lambda: asdict(clock))
    store.stage(f"score/{name}/{what}", lambda: score_of(name, tasks, stored, on, seconds).to_json())
    return stored


def score_of(
    name: str, tasks: TaskSet, trajectories: list[Trajectory], on: Measure, seconds: float | None = None
) -> Score:
    """The score of one split, with everything that has to be known to measure it again."""
    return score(
        name,
        tasks,
        trajectories,
        seconds=seconds,
        decoding=on.decoding,
        step_cap=find(on.env).load()().max_steps,
        seeds=(on.seed,),
        settings={"temperature": on.temperature, "max_tokens": on.turn_tokens},
    )


def where_time_went(results: Mapping[str, Any]) -> str:
    """One line on the wall time of all measuring stages among a run's results."""
    clocks = [Clock(**result) for name, result in results.items() if name.startswith("clock/")]
    total = Clock(*(sum(getattr(clock, part) for clock in clocks) for part in ("wall", "model", "env")))
    return (
        f"measuring took {total.wall:.0f} s: model {total.model:.0f} s, environment {total.env:.1f} s, "
        f"all else {100 * total.overhead:.1f} %"
    )
