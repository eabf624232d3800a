"""`kintsugi improve trading-group` and `kintsugi reproduce trading-group`: the desk before and after it learns."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from ..agents.experts.trading_rules import RULES
from ..agents.models.core import LanguageModel, derived_seed
from ..agents.rollout import Agent, Job
from ..agents.trading_group.desk import DeskConfig, TradingGroup, chat_of_call
from ..agents.trajectory import Trajectory
from ..envs.core import Task, TaskSet, canonical_json
from ..envs.registry import find
from ..loops.learner import Example, fit
from ..loops.seeds.family import SeedRecipe, recipe_of
from ..loops.store import RunStore
from ..loops.trading_group import SynthesisConfig, annotate, select, trading_group
from .backtests import Backtests, Difference, conduct_table, differ, difference_table, earnings_table, summarise
from .seed import made, model_folder

FULL = DeskConfig()
DESKS: Mapping[str, dict[str, bool]] = {
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


@dataclass(frozen=True)
class Windows:
    """Windows that desks are tested on; none of them is ever learnt from."""

    split: str = "valid_unseen"
    env_params: dict[str, str] = field(default_factory=lambda: {"bars": "120"})
    """What the task sets of `trading` take; one asset each."""
    stocks: int = 5
    """Windows of one seed, each of another stock."""
    at_once: int = 128
    """Backtests that are run together."""
    seed: int = 2026

    def task_set(self, seed: int) -> TaskSet:
        """The windows of training seed `seed`."""
        params = {**self.env_params, "assets": "1"}
        return find("trading").load().tasks(self.split, self.stocks, self.seed + seed, **params)


def backtest(store: RunStore, name: str, agent: Agent, held_out: Windows, tasks: Iterable[Task]) -> list[Trajectory]:
    """The backtests of one agent, run or taken from the store; kept as `eval/<name>/<split>`."""
    stage = f"eval/{name}/{held_out.split}"
    jobs = [Job(task, agent, derived_seed(held_out.seed, task.id)) for task in tasks]
    return store.collect(stage, find("trading").load(), jobs, at_once=held_out.at_once)


# -- Improve ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImproveTradingGroup:
    """TradingGroup: a desk learns from days whose outcome is known."""

    model: str = "seed"
    """A Hugging Face model folder, or `seed` for the trading world's seed policy."""
    run: Path = Path("runs/improve-trading-group")
    """The run's folder; the same command again continues it."""
    loop: SynthesisConfig = field(default_factory=SynthesisConfig)
    desk: DeskConfig = FULL
    """The desk that is tested, before and after."""
    held_out: Windows = field(default_factory=lambda: Windows(stocks=25))


def improve(config: ImproveTradingGroup, console: Console) -> None:
    """The command `kintsugi improve trading-group`."""
    from ..agents.models.local import LocalModel, base_hash

    config.loop.task_set()
    tasks = config.held_out.task_set(0)
    base = Path(model_folder("seed:trading" if config.model == "seed" else config.model, console))
    settings = {**asdict(config), "run": "", "model": f"{base.name}:{base_hash(base)}"}
    with RunStore.open(config.run, {"command": "improve trading-group", **settings}) as store:

        def test(name: str, adapter: Path | None) -> list[Trajectory]:
            with console.status(f"testing {name}"):
                model = LocalModel.load(base, adapter, slots=config.held_out.at_once)
                return backtest(store, name, TradingGroup(model, config.desk), config.held_out, tasks)

        before = test("desk", None)
        with console.status("trading the past, labelling, training"):
            adapter = trading_group(store, base, config.loop)
        after = test("desk + LoRA", adapter)
        rules = {rule.name: [backtest(store, rule.name, rule, config.held_out, tasks)] for rule in RULES}
        found: Backtests = {**rules, "desk": [before], "desk + LoRA": [after]}
        differences = [differ(found, "desk", "desk + LoRA", m) for m in ("cumulative_return", "sharpe")]
        _report(store, found, differences, config.held_out, f"TaskSet {tasks.hash}", console)
        console.print(_counted(store.results()), highlight=False)
        console.print(f"adapter: {adapter}", soft_wrap=True, highlight=False)


# -- Reproduce --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReproduceTradingGroup:
    """The paper's ablation and its last table on simulated stocks, over several seeds."""

    recipe: SeedRecipe = field(default_factory=lambda: recipe_of("trading"))
    """Of the seed policy, which all seeds share: each has its own past, its own LoRA and its own stocks."""
    loop: SynthesisConfig = field(default_factory=SynthesisConfig)
    desk: DeskConfig = FULL
    """The full desk; greedy."""
    held_out: Windows = field(default_factory=Windows)
    seeds: int = 5
    controls: bool = True
    """Also a LoRA of calls that were not chosen by their labels."""


@dataclass(frozen=True)
class ReproduceConfig:
    """`kintsugi reproduce trading-group`."""

    what: Annotated[ReproduceTradingGroup, tyro.conf.arg(name="")] = field(default_factory=ReproduceTradingGroup)
    run: Path = Path("runs/reproduce-trading-group")
    """The run's folder; the same command again continues it."""


def run(config: ReproduceConfig, console: Console) -> None:
    """The command `kintsugi reproduce trading-group`."""
    start = time.monotonic()

    def say(line: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - start), 60)
        console.print(f"[dim]{minutes:3d}:{seconds:02d}[/dim]  {line}", highlight=False)

    what = config.what
    what.loop.task_set()
    hashes = [what.held_out.task_set(seed).hash for seed in range(what.seeds)]
    with RunStore.open(config.run, {"command": "reproduce trading-group", **asdict(what)}) as store:
        say("the seed policy")
        base = made(what.recipe, console)
        found = reproduce(store, base, what, say)
        pairs = [(a, b) for a, b in COMPARISONS if a in found and b in found]
        differences = [differ(found, a, b, measure) for measure in ("cumulative_return", "sharpe") for a, b in pairs]
        _report(store, found, differences, what.held_out, f"TaskSets {', '.join(hashes)}", console)
        console.print(_counted(store.results()), highlight=False)
        console.print(_unpublished(what.loop, what.desk), soft_wrap=True, highlight=False)


def reproduce(store: RunStore, base: Path, config: ReproduceTradingGroup, say: Callable[[str], None]) -> Backtests:
    """Run or continue the comparison in `store`; `say` gets a line at each step."""
    held_out, desk = config.held_out, config.desk
    sets = [held_out.task_set(seed) for seed in range(config.seeds)]
    found: dict[str, list[list[Trajectory]]] = {}

    def model(adapter: Path | None) -> LanguageModel:
        from ..agents.models.local import LocalModel

        return LocalModel.load(base, adapter, slots=held_out.at_once)

    # What no seed trains is tested on the windows of all seeds at once.
    untrained = model(None)
    agents: dict[str, Agent] = {rule.name: rule for rule in RULES}
    agents |= {name: TradingGroup(untrained, desk.switched(**parts)) for name, parts in DESKS.items()}
    for name, agent in agents.items():
        say(f"testing {name}")
        by_task = {b.task: b for b in backtest(store, name, agent, held_out, [task for each in sets for task in each])}
        found[name] = [[by_task[task] for task in tasks] for tasks in sets]

    for seed, tasks in enumerate(sets):
        scoped, loop = store.scoped(f"seed{seed}"), replace(config.loop, seed=config.loop.seed + seed)
        say(f"seed {seed}: trading the past, labelling, training")
        adapters = {TRAINED: trading_group(scoped, base, loop)}
        if config.controls:
            adapters[CONTROL] = _control(scoped, base, loop)
        for name, adapter in adapters.items():
            say(f"seed {seed}: testing {name}")
            trained = TradingGroup(model(adapter), desk)
            found.setdefault(name, []).append(backtest(scoped, name, trained, held_out, tasks))
    return found


def _control(store: RunStore, base: Path, loop: SynthesisConfig) -> Path:
    """The LoRA of as many calls of each role and answer as were kept, drawn whatever their labels."""

    def train(out: Path) -> None:
        windows = store.trajectories("collect/desk")
        rows = [row for window in windows for row in annotate(window, loop.desk.labels)]
        rng = random.Random(derived_seed(loop.seed, "control"))
        pools: dict[tuple[str, str], list[int]] = {}
        for number, row in enumerate(rows):
            pools.setdefault((row.call.role, row.answer), []).append(number)
        wanted: dict[tuple[str, str], int] = {}
        for row in select(rows, loop):
            wanted[row.call.role, row.answer] = wanted.get((row.call.role, row.answer), 0) + 1
        chosen = sorted(number for kind, count in sorted(wanted.items()) for number in rng.sample(pools[kind], count))
        fitting = replace(loop.fit, seed=derived_seed(loop.seed, "control") % (1 << 31))
        fit(base, [Example(chat_of_call(rows[i].call)) for i in chosen], fitting, out, name="control@1")

    return store.adapter("control@1", train)


# -- What is printed --------------------------------------------------------------------------------------------------


def _report(
    store: RunStore,
    found: Backtests,
    differences: Sequence[Difference],
    held_out: Windows,
    measured_on: str,
    console: Console,
) -> None:
    summaries = [summarise(name, seeds) for name, seeds in found.items()]
    for summary in summaries:
        store.stage(f"performance/{summary.name}", summary.to_json)
    for number, difference in enumerate(differences):
        store.stage(f"difference/{number}", difference.to_json)
    bars = held_out.env_params.get("bars", "60")
    caption = f"{held_out.split}, {bars} bars a window; {measured_on}; intervals by bootstrap of windows"
    console.print(earnings_table(summaries, "Backtests", caption))
    console.print(conduct_table(summaries))
    console.print(difference_table(differences))


def _counted(results: Mapping[str, Any]) -> str:
    """What was learnt from, over all seeds."""
    counted = [result for name, result in results.items() if name.startswith("trading_group/")]
    kept = sum(sum(each["kept"].values()) for each in counted)
    labelled = sum(sum(each["labelled"].values()) for each in counted)
    days = sum(each["days"] for each in counted)
    return f"learnt from {kept} of {labelled} labelled calls of {days} days"


def _unpublished(loop: SynthesisConfig, desk: DeskConfig) -> str:
    """What the paper leaves open, as it was chosen here."""
    chosen = {
        "labels": asdict(loop.desk.labels),
        "risk": asdict(desk.risk),
        "gate": asdict(desk.gate_rule),
        "keep": loop.keep,
        "within_answers": loop.within_answers,
        "fit": asdict(loop.fit),
    }
    return f"unpublished values, chosen here: {canonical_json(chosen)}"
