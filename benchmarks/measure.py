"""Measuring a model within a run: held-out attempts, stored under `eval/`, and their `Score`."""

from __future__ import annotations

from collections.abc import Mapping
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
from ..loops.store import RunStore


@dataclass(frozen=True)
class Measure:
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
    max_tokens: int = 32
    """Of one turn."""
    at_once: int = 128
    """Episodes played together."""
    seed: int = 2026
    """Of the choice of tasks and of the sampling."""

    def task_set(self, split: str) -> TaskSet:
        """The held-out tasks of one split; raises `UsageError` when there are none."""
        if self.tasks < 1:
            raise UsageError(f"tasks is {self.tasks}; a measurement needs at least 1 held-out task")
        world = find(self.env).load()
        if self.alfworld is None:
            return world.tasks(split, self.tasks, self.seed, **self.env_params)
        if world.env_id != ENV_ID or self.env_params:
            raise UsageError(f"ALFWorld's games are played in {ENV_ID} without parameters, not in {world.env_id!r}")
        games = TaskSet.from_alfworld(self.alfworld, split)
        return games.sample(min(self.tasks, len(games)), self.seed)

    def jobs(self, model: LanguageModel, tasks: TaskSet) -> list[Job]:
        """`samples` attempts at each task."""
        agent = ReActAgent(
            model, ReActConfig(decoding=self.decoding, temperature=self.temperature, max_tokens=self.max_tokens)
        )
        return [Job(t, agent, derived_seed(self.seed, t.id, i), i) for t in tasks for i in range(self.samples)]


def measure(
    store: RunStore, name: str, base: Path | str, adapter: Path | None, on: Measure
) -> dict[str, list[Trajectory]]:
    """The attempts of `base` + `adapter` at every split, played or taken from the store.

    Raises `UsageError` when the store holds another model's attempts under `name`.
    """
    from ..agents.models.local import LocalModel, model_version

    version = model_version(base, adapter)
    found: dict[str, list[Trajectory]] = {}
    model: LocalModel | None = None
    for split in on.splits:
        stage, tasks = f"eval/{name}/{split}", on.task_set(split)
        stored, seconds = store.trajectories(stage), None
        if others := {t.model for t in stored} - {version}:
            raise UsageError(
                f"{store.folder}: {name!r} is {min(others)} there and {version} now; give this one another name, or "
                "name a new run folder"
            )
        if len(stored) < len(tasks) * on.samples:
            model = model or LocalModel.load(base, adapter, slots=on.at_once)
            clock = Clock()
            stored = store.collect(stage, find(on.env).load(), on.jobs(model, tasks), at_once=on.at_once, clock=clock)
            seconds = clock.wall
            store.stage(f"clock/{name}/{split}", lambda clock=clock: asdict(clock))
        store.stage(f"score/{name}/{split}", lambda *of: score_of(*of).to_json(), name, tasks, stored, on, seconds)
        found[split] = stored
    return found


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
        settings={"temperature": on.temperature, "max_tokens": on.max_tokens},
    )


def where_time_went(results: Mapping[str, Any]) -> str:
    """One line on the wall time of all measuring stages among a run's results."""
    clocks = [Clock(**result) for name, result in results.items() if name.startswith("clock/")]
    total = Clock(*(sum(getattr(clock, part) for clock in clocks) for part in ("wall", "model", "env")))
    return (
        f"measuring took {total.wall:.0f} s: model {total.model:.0f} s, environment {total.env:.1f} s, "
        f"all else {100 * total.overhead:.1f} %"
    )
