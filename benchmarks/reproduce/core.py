"""`kintsugi reproduce`: what the comparisons of all papers share. Each is a `Reproduction` and says what one seed does.

Every seed makes its own seed policy, trains and measures in a scope of one run, and hands its attempts to a `Lab`;
pairs of models are then compared on all seeds together.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console, RenderableType

from ..agents.trajectory import Trajectory
from ..envs.core import TaskSet
from ..loops.evaluation import Comparison, compare
from ..loops.seeds.family import SeedRecipe, recipe_of
from ..loops.seeds.recipe import demonstrations_of, seed_model
from ..loops.store import RunStore
from .measure import Measure, measure, score_of, where_time_went
from .progress import bar
from .report import write_report
from .tables import comparison_table, score_table

Attempts = dict[str, dict[str, list[Trajectory]]]
"""Model to the name of a set of tasks to held-out attempts, all seeds together."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Reproduction(ABC):
    """A paper's comparison over several seeds."""

    recipe: SeedRecipe = field(default_factory=lambda: recipe_of("household"))
    """Of the seed policy; each seed of the comparison makes its own."""
    held_out: Measure = field(default_factory=Measure)
    seeds: int = 3

    paper: ClassVar[str]
    """What `kintsugi reproduce` calls it."""
    pairs: ClassVar[tuple[tuple[str, str], ...]]
    """Models that are compared with a test, where both were measured."""

    @abstractmethod
    def check(self) -> None:
        """Raise `UsageError` for what can only be wrong, before a run is begun that could only be begun anew."""

    @abstractmethod
    def one_seed(self, lab: Lab) -> None:
        """Train and measure everything for one seed."""

    def pools(self) -> dict[str, tuple[str, ...]]:
        """Title to the sets of tasks on which pairs of models are compared together."""
        return {"Paired on the same tasks": self.held_out.splits}

    def findings(self, attempts: Attempts, results: Mapping[str, Any]) -> list[RenderableType]:
        """What else is printed."""
        return []


class Lab:
    """Where one seed's models are trained and measured."""

    def __init__(self, store: RunStore, base: Path, seed: int, on: Measure, say: Say) -> None:
        self.store = store
        self.base = base
        self.seed = seed
        self.say = say
        self.demonstrations = demonstrations_of(base)
        self.attempts: Attempts = {}
        self._on = on

    def measure(self, name: str, adapter: Path | None) -> None:
        """Measure the base with an adapter on the held-out splits."""
        self.say(f"measuring {name}")
        self.attempts[name] = measure(self.store, name, self.base, adapter, self._on)


def reproduce(store: RunStore, config: Reproduction, make_seed: Callable[[SeedRecipe], Path], say: Say) -> Attempts:
    """Run or continue the comparison in `store`; `say` gets a line at each step."""
    attempts: Attempts = {}
    for seed in range(config.seeds):
        say(f"seed {seed}: the seed policy")
        base = make_seed(config.recipe.reseeded(seed))
        lab = Lab(store.scoped(f"seed{seed}"), base, seed, config.held_out, say)
        config.one_seed(lab)
        for name, found in lab.attempts.items():
            for tasks, made_here in found.items():
                attempts.setdefault(name, {}).setdefault(tasks, []).extend(made_here)
    return attempts


def comparisons(attempts: Attempts, pairs: Sequence[tuple[str, str]], tasks: Sequence[str]) -> list[Comparison]:
    """Those of `pairs` that were both measured, on the sets of `tasks` all together."""
    found = []
    for pair in pairs:
        if all(name in attempts and all(each in attempts[name] for each in tasks) for name in pair):
            pooled = [[t for each in tasks for t in attempts[name][each]] for name in pair]
            found.append(compare(*pooled, names=pair))
    return found


def run_in(folder: Path, config: Reproduction, console: Console) -> None:
    """Run or continue the comparison in `folder`, print its tables and write its report."""
    start = time.monotonic()

    def say(line: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - start), 60)
        console.print(f"[dim]{minutes:3d}:{seconds:02d}[/dim]  {line}", highlight=False)

    config.check()
    config.held_out.task_sets()
    with RunStore.open(folder, {"command": f"reproduce {config.paper}", **asdict(config)}) as store:
        with bar(console) as store.watch:
            attempts = reproduce(store, config, lambda recipe: seed_model(recipe, progress=store.watch), say)
        found = {title: comparisons(attempts, config.pairs, tasks) for title, tasks in config.pools().items()}
        for title, compared in found.items():
            for each in compared:
                store.stage(f"comparison/{title}/{each.b} - {each.a}", each.to_json)
        results = store.results()
    for tasks in dict.fromkeys(name for measured in attempts.values() for name in measured):
        console.print(score_table(_scores(attempts, tasks, config.held_out), tasks))
    for title, compared in found.items():
        console.print(comparison_table(compared, title))
    for finding in config.findings(attempts, results):
        console.print(finding, highlight=False)
    console.print(where_time_went(results), highlight=False)
    say("report")
    console.print(str(write_report(folder, folder / "report")), soft_wrap=True, highlight=False)


def _scores(attempts: Attempts, tasks: str, on: Measure) -> list[Any]:
    measured = {name: found[tasks] for name, found in attempts.items() if tasks in found}
    return [score_of(name, TaskSet({t.task for t in each}), each, on) for name, each in measured.items()]
