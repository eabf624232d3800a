"""Measuring a model within a run: held-out attempts, stored under `eval/`, and their `Score`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from ..agents.models.core import LanguageModel, derived_seed
from ..agents.react import ReActAgent, ReActConfig
from ..agents.rollout import Clock, Job
from ..agents.trajectory import Trajectory
from ..envs.core import TaskSet
from ..envs.registry import find
from ..loops.evaluation import Score, score
from ..loops.store import RunStore


@dataclass(frozen=True)
class Measure:
    """What models are measured on, and how they act there."""

    env: str = "household"
    env_params: dict[str, str] = field(default_factory=dict)
    splits: tuple[str, ...] = ("valid_unseen",)
    tasks: int = 200
    """Of each split."""
    samples: int = 1
    """Attempts at each task."""
    decoding: Literal["free", "constrained"] = "free"
    temperature: float = 0.0
    """0 is greedy."""
    max_tokens: int = 32
    """Of one turn."""
    at_once: int = 128
    """Episodes played together."""
    seed: int = 7
    """Of the choice of tasks and of the sampling."""

    def task_set(self, split: str) -> TaskSet:
        """The held-out tasks of one split."""
        return find(self.env).load().tasks(split, self.tasks, self.seed, **self.env_params)

    def jobs(self, model: LanguageModel, tasks: TaskSet) -> list[Job]:
        """`samples` attempts at each task."""
        agent = ReActAgent(
            model, ReActConfig(decoding=self.decoding, temperature=self.temperature, max_tokens=self.max_tokens)
        )
        return [Job(t, agent, derived_seed(self.seed, t.id, i), i) for t in tasks for i in range(self.samples)]


def measure(
    store: RunStore, name: str, base: Path | str, adapter: Path | None, on: Measure
) -> dict[str, list[Trajectory]]:
    """The attempts of `base` + `adapter` at every split, played or taken from the store."""
    from ..agents.models.local import LocalModel

    found: dict[str, list[Trajectory]] = {}
    model: LocalModel | None = None
    for split in on.splits:
        stage, tasks = f"eval/{name}/{split}", on.task_set(split)
        stored, seconds = store.trajectories(stage), None
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
