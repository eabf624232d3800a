"""Shared code of the paper reproductions. A `Reproduction` defines what is run for one seed.

Each seed trains its own seed policy and runs in its own scope of one run. A `Lab` collects its attempts. Pairs of
models are then compared on the attempts of all seeds. TradingGroup's reproduction has different tables.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console, RenderableType

from ...agents.models.core import MANIFEST
from ...agents.models.registry import OnStatus
from ...agents.registry import make_reader
from ...agents.trajectory import AgentSpec
from ...arguments import to_plain
from ...envs.core import TaskSet
from ...envs.registry import EnvSpec
from ...errors import UsageError
from ...loops.learning import open_learner
from ...loops.measuring.evaluation import Comparison, Score, compare, score
from ...loops.measuring.gate import Gate, verdicts
from ...loops.measuring.measure import Measure, MeasuredAttempts, measure, timing_summary
from ...loops.measuring.tables import comparison_table, score_table, verdict_table
from ...loops.processes import ProcessPlayer
from ...loops.registry import LoopConfig
from ...loops.run import Params, Run, resolved
from ...loops.runs.stages import Stage
from ...loops.runs.store import RunStore
from ...loops.seeds.family import SeedRecipe
from ...loops.seeds.registry import recipe_of
from ..progress import Clock, Step, bar, cpu_seconds
from ..report.pages import write_report

Attempts = dict[str, MeasuredAttempts]
"""Held-out attempts of all seeds, by model and task set name."""
Say = Callable[[str], None]
UNGATED = Gate("off")
"""Comparisons evaluate every model, so their loops run without a gate."""
AGENT = AgentSpec()
"""The agent of all reproductions except TradingGroup's."""


@dataclass(frozen=True)
class Reproduction(ABC):
    """A paper's comparison, over several seeds."""

    recipe: SeedRecipe = field(default_factory=lambda: recipe_of("household"))
    """Recipe of the seed policy; each seed of the comparison trains its own."""
    env: str = "household"
    """Environment for practice and evaluation."""
    env_args: Params = field(default_factory=dict)
    """Arguments of the environment's constructor."""
    held_out: Measure = field(default_factory=Measure)
    seeds: int = 3
    """Number of training seeds."""
    first_seed: int = 0
    """The first training seed; each has its own seed policy, practice tasks and samples."""
    parts: int = 2
    """Number of parts of a wave of episodes, each played by one process; see `ProcessPlayer`."""

    paper: ClassVar[str]
    """Name of the comparison in `kintsugi reproduce`."""
    gated: ClassVar[bool] = False
    """Whether a gate decides which round's adapter the next round starts from."""
    pairs: ClassVar[tuple[tuple[str, str], ...]]
    """Pairs of models to compare, if both were evaluated."""

    @property
    def env_spec(self) -> EnvSpec:
        """The environment."""
        return EnvSpec(self.env, self.env_args)

    @property
    def seed_numbers(self) -> range:
        """The training seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    @abstractmethod
    def settings(self) -> LoopConfig:
        """The configuration of the paper's loop."""

    @abstractmethod
    def one_seed(self, lab: Lab) -> None:
        """Train and evaluate all models of one seed."""

    def steps(self, seed: int) -> list[Step]:
        """Return the steps of one seed in their order, for progress; empty if they are not known in advance."""
        return []

    def check(self) -> None:
        """Raise `UsageError` for invalid settings, before a run folder is created with them."""
        env = self.env_spec
        env.check()
        if self.recipe.family != env.name:
            raise UsageError(
                f"the seed policy's family is {self.recipe.family!r}, but the environment is {env.name!r}; "
                f"expected the same; pass --recipe.family {env.name} or another --env"
            )
        if not self.gated:
            refuse_gate(self.settings)
        self.settings.validate(env, make_reader(AGENT))
        self.settings.refuse_shared_tasks(env, self.held_out.task_sets(env))

    def pools(self) -> dict[str, tuple[str, ...]]:
        """Return the task set names that are pooled in each table, by the table's title."""
        return {"Paired on the same tasks": self.held_out.splits}

    def findings(self, attempts: Attempts, results: Mapping[Stage, Any]) -> list[RenderableType]:
        """Return additional tables to print."""
        return []

    def conclusion(self, compared: Sequence[Comparison]) -> str:
        """Return what the comparison shows, in words; nothing by default."""
        return ""

    def run(self, folder: Path, console: Console) -> None:
        """Run or resume the comparison in `folder`, print its tables and write its report."""
        run_in(folder, self, console)


def refuse_gate(settings: LoopConfig) -> None:
    """Raise `UsageError` if the gate is on in a comparison that evaluates every model anyway."""
    if settings.gate.mode == "on":
        raise UsageError("gate is 'on', but this comparison evaluates every model; expected 'off'; pass --gate off")


class Lab:
    """Evaluates the models of one seed and collects their attempts."""

    def __init__(self, run: Run, seed: int, held_out: Measure, say: Say) -> None:
        self.run = run
        self.seed = seed
        self.say = say
        self.attempts: Attempts = {}
        self.missing: dict[str, str] = {}
        """Why there is no such model, by its name."""
        self._adapters: dict[str, Path | None] = {}
        self._held_out = held_out

    def measure(self, name: str, adapter: Path | None) -> None:
        """Evaluate the base model with `adapter` (or alone, when None) on the held-out splits."""
        self.say(f"measuring {name}")
        self._adapters[name] = adapter
        self.attempts[name] = measure(self.run, name, adapter, self._held_out)

    def name_again(self, name: str, measured: str) -> None:
        """Give a measured model a second name; its scores are stored under both."""
        self.attempts[name], self._adapters[name] = self.attempts[measured], self._adapters[measured]
        results = self.run.store.results()
        for tasks in self.attempts[name]:
            found = results[self.run.store.scoped_stage(Stage.from_model_round("score", measured, tasks))]
            self.run.store.result(Stage.from_model_round("score", name, tasks), dict, {**found, "name": name})

    def leave_out(self, names: Sequence[str], why: str) -> None:
        """Record that there are no such models, and say why."""
        self.missing |= dict.fromkeys(names, why)
        self.say(f"no {', '.join(names)}: {why}")

    def training(self, name: str) -> dict[str, Any]:
        """Return what the learner recorded about the training of a model; nothing for the base model."""
        manifest = (self._adapters[name] or Path()) / MANIFEST
        return dict(json.loads(manifest.read_text()).get("result", {})) if manifest.is_file() else {}


SeedRun = Callable[[SeedRecipe, RunStore], Run]
"""Trains the seed policy of a recipe, and returns a run with this policy in the store."""


def seed_run(env: EnvSpec, on_status: OnStatus, parts: int = 1) -> SeedRun:
    """Return a function that trains seed policies in this process and makes runs.

    The progress of seed `n`'s policy is that of the stages `seed policy n: corpus` and `seed policy n: training`.

    Args:
        env: Environment of the runs.
        on_status: Receives the progress of training.
        parts: Number of parts of a wave; see `ProcessPlayer`.
    """
    player = ProcessPlayer(parts)

    def make(recipe: SeedRecipe, store: RunStore) -> Run:
        from ...agents.models.local import LocalBackend
        from ...loops.seeds.recipe import demonstrations_of, seed_model

        def progress(what: str, share: float) -> None:
            player.start()
            on_status(f"seed policy {recipe.seed}: {what}", share)

        folder = seed_model(recipe, progress=progress)
        backend = LocalBackend(folder)
        demonstrations = demonstrations_of(folder)
        return Run(store, backend, open_learner(backend), env, player=player, demonstrations=demonstrations)

    return make


def reproduce(store: RunStore, config: Reproduction, make: SeedRun, say: Say) -> list[Attempts]:
    """Run or resume the comparison in `store`, pass one line per step to `say`, and return the attempts by seed."""
    seeds = []
    for seed in config.seed_numbers:
        say(f"seed {seed}: the seed policy")
        run = make(config.recipe.with_seed_offset(seed), store).with_scope(f"seed{seed}")
        lab = Lab(run, seed, config.held_out, say)
        try:
            config.one_seed(lab)
        finally:
            # Its processes are ended, so that their CPU time is counted and none stays behind.
            run.player.close()
        seeds.append(lab.attempts)
    return seeds


def pooled(seeds: Sequence[Attempts]) -> Attempts:
    """Return the attempts of all seeds together. A model may be missing in some seeds."""
    attempts: Attempts = {}
    for name, found in (item for seed in seeds for item in seed.items()):
        for tasks, seed_attempts in found.items():
            attempts.setdefault(name, {}).setdefault(tasks, []).extend(seed_attempts)
    return attempts


def comparisons(seeds: Sequence[Attempts], pairs: Sequence[tuple[str, str]], tasks: Sequence[str]) -> list[Comparison]:
    """Compare each of `pairs`, pooled over the task sets `tasks` and the seeds in which both models were evaluated."""
    found = []
    for pair in pairs:
        both = [seed for seed in seeds if all(each in seed.get(name, {}) for name in pair for each in tasks)]
        if both:
            sides = [[t for seed in both for each in tasks for t in seed[name][each]] for name in pair]
            found.append(compare(*sides, names=pair))
    return found


def run_in(
    folder: Path,
    config: Reproduction,
    console: Console,
    make: SeedRun | None = None,
    clock: Clock = time.monotonic,
) -> None:
    """Run or resume the comparison in `folder`, print its tables and write its report.

    Args:
        folder: Folder of the run.
        config: The comparison.
        console: Where tables are printed.
        make: Trains seed policies and makes their runs; in this process when None.
        clock: Source of all times that are printed.
    """
    env, start, cpu_start = config.env_spec, clock(), cpu_seconds()
    config.check()
    steps = [step for seed in config.seed_numbers for step in config.steps(seed)]
    if steps:
        steps.append(Step("report", "the tables and the report", 5.0))
    config = replace(config, held_out=resolved(config.held_out, env))
    env_record, loop = env.to_json(), to_plain(resolved(config.settings, env))
    record = {**to_plain(config), "loop": loop, "env": env_record["id"], "env_args": env_record["kwargs"]}
    record["agent"] = to_plain(make_reader(AGENT).spec)
    with (
        RunStore.open(folder, {"command": f"reproduce {config.paper}", **record}) as store,
        bar(console, steps, clock) as progress,
    ):
        store.on_status = progress
        # The lines of known steps say more than those of the comparison.
        say: Say = (lambda line: None) if steps else progress.say
        seeds = reproduce(store, config, make or seed_run(env, progress, config.parts), say)
        say("report")
        progress("report", 0.0)
        attempts = pooled(seeds)
        found = {title: comparisons(seeds, config.pairs, tasks) for title, tasks in config.pools().items()}
        for title, compared in found.items():
            for each in compared:
                store.result(Stage("comparison", f"{each.b} - {each.a}", title), each.to_json)
        results = store.results()
        report = write_report(folder, folder / "report")
    for tasks in dict.fromkeys(name for measured in attempts.values() for name in measured):
        console.print(score_table(_scores(attempts, tasks, results), tasks))
    for title, compared in found.items():
        console.print(comparison_table(compared, title))
    if decided := verdicts(results):
        console.print(verdict_table(decided))
    for finding in config.findings(attempts, results):
        console.print(finding, highlight=False)
    console.print(timing_summary(results), highlight=False)
    seconds, cpu = clock() - start, cpu_seconds() - cpu_start
    console.print(f"this took {seconds:.0f} s, and {cpu:.0f} CPU seconds on all cores together", highlight=False)
    console.print(f"report: {report}", soft_wrap=True, highlight=False)
    if conclusion := config.conclusion([each for compared in found.values() for each in compared]):
        console.print(conclusion, soft_wrap=True, highlight=False)


def _scores(attempts: Attempts, tasks: str, results: Mapping[Stage, Any]) -> list[Score]:
    """Return the scores of all models, pooled over seeds, with the evaluation settings of each model's first seed."""
    scopes, found = dict.fromkeys(stage.scope for stage in results), []
    for name, measured in attempts.items():
        if tasks in measured:
            stages = (replace(Stage.from_model_round("score", name, tasks), scope=scope) for scope in scopes)
            first = Score.from_json(next(results[stage] for stage in stages if stage in results))
            pooled = score(
                name,
                TaskSet({t.task for t in measured[tasks]}),
                measured[tasks],
                decoding=first.decoding,
                step_limit=first.step_limit,
                seeds=first.seeds,
                repeatable=first.repeatable,
                settings=first.settings,
            )
            found.append(pooled)
    return found
