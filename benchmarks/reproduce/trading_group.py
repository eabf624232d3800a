"""Reproduction of TradingGroup: baseline rules, ablations of the desk, and the trained desk."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from rich.console import Console

from ...agents.core import Agent
from ...agents.experts.trading_rules import RULES
from ...agents.models.core import derived_seed
from ...agents.rollout import Job
from ...agents.trading_group.desk import DeskConfig, TradingGroup, chat_of_call
from ...agents.trajectory import AgentSpec
from ...arguments import to_plain
from ...envs.core import Task, TaskSet, canonical_json
from ...envs.registry import EnvSpec
from ...loops.learning.core import Example
from ...loops.measuring.backtests import (
    BacktestsByName,
    MeasuredBacktest,
    compare_backtests,
    measure_backtests,
    performance_tables,
)
from ...loops.measuring.statistics import MEAN_METHOD
from ...loops.run import Attempts, Params, Run, resolved
from ...loops.runs.stages import Stage
from ...loops.runs.store import RunStore
from ...loops.seeds.family import SeedRecipe
from ...loops.seeds.registry import recipe_of
from ...loops.trading_group import (
    SynthesisConfig,
    collect_windows,
    label_calls,
    realised_series,
    require_desk,
    select_best,
    trading_group,
    training_summary,
)
from ..progress import bar, elapsed_time_printer
from .core import UNGATED, SeedRun, refuse_gate, seed_run

FULL = DeskConfig()
DESKS: dict[str, dict[str, bool]] = {
    "base desk": {"reflection": False, "risk_management": False, "gate": False, "style": False},
    "no reflection": {"reflection": False},
    "no risk management": {"risk_management": False},
    "full": {},
}
"""Untrained desks by name, with the parts that differ from the full desk."""
TRAINED = "full + LoRA"
CONTROL = "full + LoRA, any calls"
"""Control that the paper lacks: trained on as many calls of each answer, drawn regardless of their labels."""
COMPARISONS = (
    ("base desk", TRAINED),
    ("full", TRAINED),
    (CONTROL, TRAINED),
    ("buy-and-hold", TRAINED),
    ("base desk", "full"),
    ("no reflection", "full"),
    ("no risk management", "full"),
)
"""Pairs of agents that are compared with a test, if both were measured."""
ENV = EnvSpec("trading")


@dataclass(frozen=True)
class HeldOutWindows:
    """Held-out windows on which all agents are tested."""

    split: str = "valid_unseen"
    """Split of the windows."""
    params: Params = field(default_factory=lambda: {"bars": "120"})
    """Parameters of the trading tasks; each has one asset."""
    stocks: int = 5
    """Windows per training seed, each of a different stock."""
    at_once: int = 128
    """Number of backtests run in parallel."""
    seed: int = 2026
    """Seed of the held-out windows."""

    def task_set(self, seed: int) -> TaskSet:
        """Return the windows of training seed `seed`."""
        return ENV.tasks(self.split, self.stocks, self.seed + seed, **{**self.params, "assets": "1"})


@dataclass(frozen=True)
class ReproduceTradingGroup:
    """The paper's ablation and its last table, on simulated stocks and over several training seeds."""

    recipe: SeedRecipe = field(default_factory=lambda: recipe_of("trading"))
    """Recipe of the seed policy that all training seeds share. Practice and held-out windows differ by seed."""
    loop: SynthesisConfig = field(default_factory=lambda: SynthesisConfig(gate=UNGATED))
    """Settings of the loop that trains the desk."""
    desk: DeskConfig = FULL
    """The full desk. Tests are greedy."""
    held_out: HeldOutWindows = field(default_factory=HeldOutWindows)
    """Held-out windows of the tests."""
    seeds: int = 5
    """Number of training seeds."""
    controls: bool = True
    """Also train the control adapter on calls drawn regardless of their labels."""

    paper: ClassVar[str] = "trading-group"

    @property
    def agent(self) -> AgentSpec:
        """The full desk, without the sampling settings, which each stage sets."""
        args = {name: value for name, value in to_plain(self.desk).items() if name not in ("temperature", "max_tokens")}
        return AgentSpec("trading-group", args)

    def run(self, folder: Path, console: Console, make: SeedRun | None = None) -> None:
        """Run or continue the comparison in `folder` and print its tables. `make` replaces `seed_run`."""
        say = elapsed_time_printer(console)
        refuse_gate(self.loop)
        self.loop.windows(ENV, self.desk.labels)
        hashes = [self.held_out.task_set(seed).hash for seed in range(self.seeds)]
        record = {**to_plain(self), "loop": to_plain(resolved(self.loop, ENV)), "env": ENV.to_json()}
        with RunStore.open(folder, {"command": f"reproduce {self.paper}", **record}) as store:
            say("preparing the seed policy")
            with bar(console) as store.on_status:
                made = (make or seed_run(ENV, store.on_status))(self.recipe, store)
                found = reproduce(replace(made, agent=self.agent), self, say)
            pairs = [(a, b) for a, b in COMPARISONS if a in found and b in found]
            measures = ("cumulative_return", "sharpe")
            differences = [compare_backtests(found, a, b, measure) for measure in measures for a, b in pairs]
            split, bars = self.held_out.split, self.held_out.params.get("bars", "60")
            caption = (
                f"{split}, {bars} bars a window; task sets {', '.join(hashes)}; intervals: {MEAN_METHOD} over windows"
            )
            for table in performance_tables(store, found, differences, split, caption):
                console.print(table)
            console.print(training_summary(store.results()), highlight=False)
            console.print(_unpublished(self.loop, self.desk), soft_wrap=True, highlight=False)


def reproduce(run: Run, config: ReproduceTradingGroup, say: Callable[[str], None]) -> BacktestsByName:
    """Run or continue the comparison.

    Args:
        run: The run that provides models, training and the store.
        config: Settings of the comparison.
        say: Receives one line of progress per step.

    Returns:
        The measured backtests by agent and training seed.
    """
    held_out = config.held_out
    sets = [held_out.task_set(seed) for seed in range(config.seeds)]
    found: dict[str, list[list[MeasuredBacktest]]] = {}
    greedy = Attempts(1, 0.0, config.desk.max_tokens, held_out.at_once)

    # Untrained agents are the same for all seeds, so they are tested on the windows of all seeds at once.
    agents: dict[str, Agent] = {rule.name: rule for rule in RULES}
    untrained = run.backend.model(parallel=held_out.at_once)
    agents |= {name: TradingGroup(untrained, config.desk.with_parts(**parts)) for name, parts in DESKS.items()}
    for name, agent in agents.items():
        say(f"testing {name}")
        tested = backtest(run, name, agent, held_out, [task for each in sets for task in each], greedy)
        by_task = {b.attempt.task: b for b in tested}
        found[name] = [[by_task[task] for task in tasks] for tasks in sets]

    for seed, tasks in enumerate(sets):
        scoped, loop = run.with_scope(f"seed{seed}"), replace(config.loop, seed=config.loop.seed + seed)
        say(f"seed {seed}: collecting, labelling, training")
        adapters = {TRAINED: trading_group(scoped, loop)}
        if config.controls:
            adapters[CONTROL] = train_control(scoped, loop)
        for name, adapter in adapters.items():
            say(f"seed {seed}: testing {name}")
            trained = scoped.make_agent(adapter, greedy)
            found.setdefault(name, []).append(backtest(scoped, name, trained, held_out, tasks, greedy))
    return found


def backtest(
    run: Run, name: str, agent: Agent, held_out: HeldOutWindows, tasks: Iterable[Task], attempts: Attempts
) -> list[MeasuredBacktest]:
    """Return the measured backtests of one agent, played or taken from the stage `eval/<name>/<split>`."""
    jobs = [Job(task, agent, derived_seed(held_out.seed, task.id)) for task in tasks]
    return measure_backtests(run.play(Stage("eval", name, held_out.split), jobs, attempts), run.env.make())


def train_control(run: Run, loop: SynthesisConfig) -> Path:
    """Train the control adapter on as many calls of each role and answer, drawn regardless of their labels."""
    desk = require_desk(run.make_agent(None, loop.attempts))
    env, labels = run.env.make(), desk.config.labels
    rows = [
        row
        for window in collect_windows(run, desk, loop)
        for row in label_calls(window, labels, realised_series(window, env))
    ]
    rng = random.Random(derived_seed(loop.seed, "control"))
    pools: dict[tuple[str, str], list[int]] = {}
    for number, row in enumerate(rows):
        pools.setdefault((row.call.role, row.answer), []).append(number)
    wanted: dict[tuple[str, str], int] = {}
    for row in select_best(rows, loop):
        wanted[row.call.role, row.answer] = wanted.get((row.call.role, row.answer), 0) + 1
    chosen = sorted(number for kind, count in sorted(wanted.items()) for number in rng.sample(pools[kind], count))
    examples = [Example(chat_of_call(rows[i].call)) for i in chosen]
    return run.train("control@1", examples, loop.fit, seed=loop.seed, stream="control")


def _unpublished(loop: SynthesisConfig, desk: DeskConfig) -> str:
    """Return one line with the values that the paper does not publish."""
    chosen = {
        "labels": to_plain(desk.labels),
        "risk": to_plain(desk.risk),
        "gate": to_plain(desk.gate_rule),
        "keep": loop.keep,
        "within_answers": loop.within_answers,
        "fit": to_plain(loop.fit),
    }
    return f"unpublished values, chosen here: {canonical_json(chosen)}"
