"""What the comparisons of papers share. A `Reproduction` says what one seed does; TradingGroup's has its own tables.

Every seed makes its own seed policy, trains and measures in a scope of one run, and hands its attempts to a `Lab`;
pairs of models are then compared on all seeds together.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console, RenderableType

from ...agents.models.registry import Watch
from ...agents.registry import reader
from ...agents.trajectory import AgentSpec
from ...arguments import plain
from ...envs.core import TaskSet
from ...envs.registry import EnvSpec
from ...errors import UsageError
from ...loops.learning import open_learner
from ...loops.measuring.evaluation import Comparison, Score, compare, score
from ...loops.measuring.gate import Gate, verdicts
from ...loops.measuring.measure import Measure, Measured, measure, where_time_went
from ...loops.measuring.tables import comparison_table, score_table, verdict_table
from ...loops.registry import LoopConfig
from ...loops.run import Params, Run, resolved
from ...loops.runs.stages import Stage
from ...loops.runs.store import RunStore
from ...loops.seeds.family import SeedRecipe
from ...loops.seeds.registry import recipe_of
from ..progress import bar
from ..report.pages import write_report

Attempts = dict[str, Measured]
"""Model to the name of a set of tasks to held-out attempts, all seeds together."""
Say = Callable[[str], None]
UNGATED = Gate("off")
"""Every model of a comparison is measured, whether or not a gate would adopt it."""
AGENT = AgentSpec()
"""Who acts in all of them but TradingGroup's."""


@dataclass(frozen=True)
class Reproduction(ABC):
    """A paper's comparison over several seeds."""

    recipe: SeedRecipe = field(default_factory=lambda: recipe_of("household"))
    """Of the seed policy; each seed of the comparison makes its own."""
    env: str = "household"
    """The environment to practise in and to be measured in."""
    env_args: Params = field(default_factory=dict)
    """Arguments of the environment's constructor."""
    held_out: Measure = field(default_factory=Measure)
    seeds: int = 3

    paper: ClassVar[str]
    """What `kintsugi reproduce` calls it."""
    gated: ClassVar[bool] = False
    """Whether a gate says from which round's model the next one goes on."""
    pairs: ClassVar[tuple[tuple[str, str], ...]]
    """Models that are compared with a test, where both were measured."""

    @property
    def env_spec(self) -> EnvSpec:
        """The environment."""
        return EnvSpec(self.env, self.env_args)

    @property
    @abstractmethod
    def settings(self) -> LoopConfig:
        """The configuration of the paper's loop."""

    @abstractmethod
    def one_seed(self, lab: Lab) -> None:
        """Train and measure everything for one seed."""

    def check(self) -> None:
        """Raise `UsageError` for what can only be wrong, before a run is begun that could only be begun anew."""
        env = self.env_spec
        env.check()
        if self.recipe.family != env.name:
            raise UsageError(
                f"the seed policy would be that of {self.recipe.family!r}, and it would act in {env.name!r}; pass "
                f"--recipe.family {env.name}, or another --env"
            )
        if not self.gated:
            refuse_gate(self.settings)
        self.settings.validate(env, reader(AGENT))
        self.settings.refuse_shared(env, self.held_out.task_sets(env))

    def pools(self) -> dict[str, tuple[str, ...]]:
        """Title to the sets of tasks on which pairs of models are compared together."""
        return {"Paired on the same tasks": self.held_out.splits}

    def findings(self, attempts: Attempts, results: Mapping[Stage, Any]) -> list[RenderableType]:
        """What else is printed."""
        return []

    def run(self, folder: Path, console: Console) -> None:
        """Run or continue the comparison in `folder`, print its tables and write its report."""
        run_in(folder, self, console)


def refuse_gate(settings: LoopConfig) -> None:
    """Raise `UsageError` where the gate is on in a comparison that measures every model whatever a gate would say."""
    if settings.gate.mode == "on":
        raise UsageError("every model of this comparison is measured, so a gate would decide nothing; pass --gate off")


class Lab:
    """Where one seed's models are trained and measured."""

    def __init__(self, run: Run, seed: int, on: Measure, say: Say) -> None:
        self.run = run
        self.seed = seed
        self.say = say
        self.attempts: Attempts = {}
        self._on = on

    def measure(self, name: str, adapter: Path | None) -> None:
        """Measure the base with an adapter on the held-out splits."""
        self.say(f"measuring {name}")
        self.attempts[name] = measure(self.run, name, adapter, self._on)


SeedRun = Callable[[SeedRecipe, RunStore], Run]
"""Makes the seed policy of a recipe, and a run of it in a store."""


def seed_run(env: EnvSpec, watch: Watch) -> SeedRun:
    """Runs of seed policies in an environment, in this process."""

    def made(recipe: SeedRecipe, store: RunStore) -> Run:
        from ...agents.models.local import LocalBackend
        from ...loops.seeds.recipe import demonstrations_of, seed_model

        folder = seed_model(recipe, progress=watch)
        backend = LocalBackend(folder)
        return Run(store, backend, open_learner(backend), env, demonstrations=demonstrations_of(folder))

    return made


def reproduce(store: RunStore, config: Reproduction, make: SeedRun, say: Say) -> Attempts:
    """Run or continue the comparison in `store`; `say` gets a line at each step."""
    attempts: Attempts = {}
    for seed in range(config.seeds):
        say(f"seed {seed}: the seed policy")
        run = make(config.recipe.reseeded(seed), store).scoped(f"seed{seed}")
        lab = Lab(run, seed, config.held_out, say)
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


def sayer(console: Console) -> Say:
    """Prints lines with the time since now before them."""
    start = time.monotonic()

    def say(line: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - start), 60)
        console.print(f"[dim]{minutes:3d}:{seconds:02d}[/dim]  {line}", highlight=False)

    return say


def run_in(folder: Path, config: Reproduction, console: Console, make: SeedRun | None = None) -> None:
    """Run or continue the comparison in `folder`, print its tables and write its report.

    `make` is what makes seed policies and runs of them; None makes them in this process.
    """
    say, env = sayer(console), config.env_spec
    config.check()
    config = replace(config, held_out=resolved(config.held_out, env))
    world, loop = env.to_json(), plain(resolved(config.settings, env))
    record = {**plain(config), "loop": loop, "env": world["id"], "env_args": world["kwargs"]}
    record["agent"] = plain(reader(AGENT).spec)
    with RunStore.open(folder, {"command": f"reproduce {config.paper}", **record}) as store:
        with bar(console) as store.watch:
            attempts = reproduce(store, config, make or seed_run(env, store.watch), say)
        found = {title: comparisons(attempts, config.pairs, tasks) for title, tasks in config.pools().items()}
        for title, compared in found.items():
            for each in compared:
                store.result(Stage("comparison", f"{each.b} - {each.a}", title), each.to_json)
        results = store.results()
    for tasks in dict.fromkeys(name for measured in attempts.values() for name in measured):
        console.print(score_table(_scores(attempts, tasks, results), tasks))
    for title, compared in found.items():
        console.print(comparison_table(compared, title))
    if told := verdicts(results):
        console.print(verdict_table(told))
    for finding in config.findings(attempts, results):
        console.print(finding, highlight=False)
    console.print(where_time_went(results), highlight=False)
    say("report")
    console.print(str(write_report(folder, folder / "report")), soft_wrap=True, highlight=False)


def _scores(attempts: Attempts, tasks: str, results: Mapping[Stage, Any]) -> list[Score]:
    """Of all seeds together, measured as the first one was."""
    found = []
    for name, measured in attempts.items():
        if tasks in measured:
            first = Score.from_json(results[replace(Stage.named("score", name, tasks), scope="seed0")])
            pooled = score(
                name,
                TaskSet({t.task for t in measured[tasks]}),
                measured[tasks],
                decoding=first.decoding,
                step_cap=first.step_cap,
                seeds=first.seeds,
                repeatable=first.repeatable,
                settings=first.settings,
            )
            found.append(pooled)
    return found
