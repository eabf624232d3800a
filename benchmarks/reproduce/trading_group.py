"""TradingGroup: rules, the desk with parts switched off, and the desk that learnt."""

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
from ...arguments import plain
from ...envs.core import Task, TaskSet, canonical_json
from ...envs.registry import EnvSpec
from ...loops.learning.core import Example
from ...loops.measuring.backtests import Backtest, Backtests, backtests, differ, performance
from ...loops.run import Attempts, Params, Run, resolved
from ...loops.runs.stages import Stage
from ...loops.runs.store import RunStore
from ...loops.seeds.family import SeedRecipe
from ...loops.seeds.registry import recipe_of
from ...loops.trading_group import (
    SynthesisConfig,
    annotate,
    counted,
    desk_of,
    realised_in,
    select,
    trade,
    trading_group,
)
from ..progress import bar
from .core import UNGATED, SeedRun, refuse_gate, sayer, seed_run

FULL = DeskConfig()
DESKS: dict[str, dict[str, bool]] = {
    "base desk": {"reflection": False, "risk_management": False, "gate": False, "style": False},
    "no reflection": {"reflection": False},
    "no risk management": {"risk_management": False},
    "full": {},
}
"""Name to the parts that are switched off, or on."""
TRAINED = "full + LoRA"
CONTROL = "full + LoRA, any calls"
"""The control that the paper lacks: as many calls of each answer, not chosen by their labels."""
COMPARISONS = (
    ("base desk", TRAINED),
    ("full", TRAINED),
    (CONTROL, TRAINED),
    ("buy-and-hold", TRAINED),
    ("base desk", "full"),
    ("no reflection", "full"),
    ("no risk management", "full"),
)
"""Pairs that are printed with a test, where both were measured."""
ENV = EnvSpec("trading")


@dataclass(frozen=True)
class Windows:
    """Windows that desks are tested on; none of them is ever learnt from."""

    split: str = "valid_unseen"
    params: Params = field(default_factory=lambda: {"bars": "120"})
    """What the task sets of `trading` take; one asset each."""
    stocks: int = 5
    """Windows of one seed, each of another stock."""
    at_once: int = 128
    """Backtests that are run together."""
    seed: int = 2026

    def task_set(self, seed: int) -> TaskSet:
        """The windows of training seed `seed`."""
        return ENV.tasks(self.split, self.stocks, self.seed + seed, **{**self.params, "assets": "1"})


@dataclass(frozen=True)
class ReproduceTradingGroup:
    """The paper's ablation and its last table on simulated stocks, over several seeds."""

    recipe: SeedRecipe = field(default_factory=lambda: recipe_of("trading"))
    """Of the seed policy, which all seeds share: each has its own past, its own LoRA and its own stocks."""
    loop: SynthesisConfig = field(default_factory=lambda: SynthesisConfig(gate=UNGATED))
    desk: DeskConfig = FULL
    """The full desk; greedy where it is tested."""
    held_out: Windows = field(default_factory=Windows)
    seeds: int = 5
    controls: bool = True
    """Also a LoRA of calls that were not chosen by their labels."""

    paper: ClassVar[str] = "trading-group"

    @property
    def agent(self) -> AgentSpec:
        """The full desk, but for what whoever plays it decides."""
        args = {name: value for name, value in plain(self.desk).items() if name not in ("temperature", "max_tokens")}
        return AgentSpec("trading-group", args)

    def run(self, folder: Path, console: Console, make: SeedRun | None = None) -> None:
        """Run or continue the comparison in `folder` and print its tables; `make` is as in `run_in`."""
        say = sayer(console)
        refuse_gate(self.loop)
        self.loop.windows(ENV, self.desk.labels)
        hashes = [self.held_out.task_set(seed).hash for seed in range(self.seeds)]
        record = {**plain(self), "loop": plain(resolved(self.loop, ENV)), "env": ENV.to_json()}
        with RunStore.open(folder, {"command": f"reproduce {self.paper}", **record}) as store:
            say("the seed policy")
            with bar(console) as store.watch:
                made = (make or seed_run(ENV, store.watch))(self.recipe, store)
                found = reproduce(replace(made, agent=self.agent), self, say)
            pairs = [(a, b) for a, b in COMPARISONS if a in found and b in found]
            measures = ("cumulative_return", "sharpe")
            differences = [differ(found, a, b, measure) for measure in measures for a, b in pairs]
            split, bars = self.held_out.split, self.held_out.params.get("bars", "60")
            caption = f"{split}, {bars} bars a window; TaskSets {', '.join(hashes)}; intervals by bootstrap of windows"
            for table in performance(store, found, differences, split, caption):
                console.print(table)
            console.print(counted(store.results()), highlight=False)
            console.print(_unpublished(self.loop, self.desk), soft_wrap=True, highlight=False)


def reproduce(run: Run, config: ReproduceTradingGroup, say: Callable[[str], None]) -> Backtests:
    """Run or continue the comparison; `say` gets a line at each step."""
    held_out = config.held_out
    sets = [held_out.task_set(seed) for seed in range(config.seeds)]
    found: dict[str, list[list[Backtest]]] = {}
    greedy = Attempts(1, 0.0, config.desk.max_tokens, held_out.at_once)

    # What no seed trains is tested on the windows of all seeds at once.
    agents: dict[str, Agent] = {rule.name: rule for rule in RULES}
    untrained = run.backend.model(parallel=held_out.at_once)
    agents |= {name: TradingGroup(untrained, config.desk.switched(**parts)) for name, parts in DESKS.items()}
    for name, agent in agents.items():
        say(f"testing {name}")
        played = backtest(run, name, agent, held_out, [task for each in sets for task in each], greedy)
        by_task = {b.played.task: b for b in played}
        found[name] = [[by_task[task] for task in tasks] for tasks in sets]

    for seed, tasks in enumerate(sets):
        scoped, loop = run.scoped(f"seed{seed}"), replace(config.loop, seed=config.loop.seed + seed)
        say(f"seed {seed}: trading the past, labelling, training")
        adapters = {TRAINED: trading_group(scoped, loop)}
        if config.controls:
            adapters[CONTROL] = control(scoped, loop)
        for name, adapter in adapters.items():
            say(f"seed {seed}: testing {name}")
            trained = scoped.acting(adapter, greedy)
            found.setdefault(name, []).append(backtest(scoped, name, trained, held_out, tasks, greedy))
    return found


def backtest(
    run: Run, name: str, agent: Agent, held_out: Windows, tasks: Iterable[Task], attempts: Attempts
) -> list[Backtest]:
    """The backtests of one agent, run or taken from the store; kept as `eval/<name>/<split>`."""
    jobs = [Job(task, agent, derived_seed(held_out.seed, task.id)) for task in tasks]
    return backtests(run.play(Stage("eval", name, held_out.split), jobs, attempts), run.env.make())


def control(run: Run, loop: SynthesisConfig) -> Path:
    """The LoRA of as many calls of each role and answer as were kept, drawn whatever their labels."""
    desk = desk_of(run.acting(None, loop.attempts))
    env, labels = run.env.make(), desk.config.labels
    rows = [row for window in trade(run, desk, loop) for row in annotate(window, labels, realised_in(window, env))]
    rng = random.Random(derived_seed(loop.seed, "control"))
    pools: dict[tuple[str, str], list[int]] = {}
    for number, row in enumerate(rows):
        pools.setdefault((row.call.role, row.answer), []).append(number)
    wanted: dict[tuple[str, str], int] = {}
    for row in select(rows, loop):
        wanted[row.call.role, row.answer] = wanted.get((row.call.role, row.answer), 0) + 1
    chosen = sorted(number for kind, count in sorted(wanted.items()) for number in rng.sample(pools[kind], count))
    examples = [Example(chat_of_call(rows[i].call)) for i in chosen]
    return run.train("control@1", examples, loop.fit, seed=loop.seed, stream="control")


def _unpublished(loop: SynthesisConfig, desk: DeskConfig) -> str:
    """What the paper leaves open, as it was chosen here."""
    chosen = {
        "labels": plain(desk.labels),
        "risk": plain(desk.risk),
        "gate": plain(desk.gate_rule),
        "keep": loop.keep,
        "within_answers": loop.within_answers,
        "fit": plain(loop.fit),
    }
    return f"unpublished values, chosen here: {canonical_json(chosen)}"
