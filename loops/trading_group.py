"""TradingGroup's data synthesis (arXiv 2508.17565): days of a desk, labelled by what the market then did.

1. the desk trades windows of the past; every call of every agent is logged           collect/desk
2. label     forecasts by w_hit, decisions by r_eq - beta * r_bm - gamma * c_a         (labels of what was realised)
3. keep      the best labelled calls                                                  rows/desk.jsonl
4. train     one LoRA for all roles                                                   adapters/trading_group@1
5. the backtest is run again with it, on windows that no label has seen

A label is made from the bars of its own window alone; what the window's end cuts off stays unlabelled and is not
learnt. The windows share no bar of an asset, which `TradingEnv.tasks` promises, and those of a walk-forward split end
at least a horizon before the first test.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from ..agents.core import Agent
from ..agents.experts.trading_rules import RULES
from ..agents.trading_group.desk import TradingGroup, chat_of_call
from ..agents.trading_group.labels import LabelConfig, Realised
from ..agents.trading_group.roles import answer_of, read_forecast
from ..agents.trajectory import Call, Trajectory
from ..arguments import convert
from ..envs.core import AgentEnv, TaskSet
from ..envs.registry import EnvSpec
from ..envs.trading.features import FEATURES
from ..errors import UsageError
from .learning.core import Example, FitConfig
from .measuring.backtests import Backtests, backtests, differ, performance, replayed
from .measuring.gate import Gate
from .measuring.measure import Measure, Measured, measure_agent
from .registry import Loop, LoopConfig
from .run import Attempts, Practice, Run
from .runs.stages import Stage

NAME = "trading_group"
ROWS = "desk.jsonl"
"""In the run's folder `rows`: every labelled call, whether kept or not."""
_JUDGED_BY: Mapping[str, str] = {
    "news": "w_hit",
    "report": "w_hit",
    "forecast": "w_hit",
    "style": "reward",
    "decision": "reward",
}
"""News and reports are judged by the forecast that was made of them on the same day, the style by the decision."""


@dataclass(frozen=True)
class SynthesisConfig(LoopConfig):
    """TradingGroup: a desk learns from days whose outcome is known. What the paper leaves open is ours."""

    practice: Practice = field(default_factory=lambda: Practice(tasks=100, params={"bars": "60"}))
    """Windows that are traded; one asset each."""
    attempts: Attempts = field(default_factory=lambda: Attempts(k=1))
    """Drawn at a temperature of 1, so that agents say different things of like days."""
    keep: float = 0.25
    """Share of the labelled calls that is learnt from, the best ones. Unpublished."""
    within_answers: bool = True
    """Take that share of each answer (up, down, side; buy, hold, sell; ...) by itself. Otherwise the sizes of labels
    decide how often each is said: staying out of the market never earns as much as being in."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(epochs=1.0))
    """One epoch, as in the paper; the rest of it is unpublished."""
    gate: Gate = field(default_factory=lambda: Gate(tasks=25))
    """By the return of windows that neither labels nor scores are taken on."""

    def validate(self, env: EnvSpec, agent: Agent) -> None:
        """See `LoopConfig.validate`."""
        self.windows(env, desk_of(agent).config.labels)

    def windows(self, env: EnvSpec, labels: LabelConfig) -> TaskSet:
        """The windows; raises `UsageError` when labels could reach into the tests that follow them."""
        params = self.practice.params
        purge = convert(params.get("purge", 20), int, "purge")
        if params.get("source") == "file" and purge < labels.horizon:
            raise UsageError(
                f"purge is {purge} and the horizon of labels {labels.horizon} days, so labels would know "
                "bars of the test; expected a purge of at least the horizon"
            )
        if str(params.get("assets", 1)) != "1":
            raise UsageError(f"assets is {params['assets']}; the desk trades one")
        return self.practice.task_set(env, self.seed)


@dataclass(frozen=True)
class Row:
    """One call of one agent on one day, and its label."""

    task: str
    sample: int
    day: int
    """Number of the bar in the window."""
    call: Call
    answer: str
    """What was said in a word; `unread` when it could not be read."""
    label: str
    """`w_hit` or `reward`."""
    value: float
    realised: float
    """The asset's return over the horizon (`w_hit`) or the next day (`reward`)."""
    equity: float
    """The account's worth when it was said."""
    action: str
    """What the desk sent to the market that day."""


def trading_group(run: Run, config: SynthesisConfig) -> Path | None:
    """Run the pipeline; returns the adapter, None when it did not help.

    Raises `UsageError` when nothing was worth learning.
    """
    # 1: TRADE
    desk = desk_of(run.acting(None, config.attempts))
    labels = desk.config.labels
    windows = trade(run, desk, config)

    # 2, 3: LABEL, KEEP, EXPORT
    env = run.env.make()
    rows = [row for window in windows for row in annotate(window, labels, realised_in(window, env))]
    kept = select(rows, config)
    export(run.store.place("rows", ROWS), rows, kept)
    run.store.result(Stage("counts", NAME, config.practice.split, 1), counts, windows, rows, kept)

    # 4: TRAIN
    examples = [Example(chat_of_call(row.call)) for row in kept]
    adapter = run.train(f"{NAME}@1", examples, config.fit, seed=config.seed, stream=NAME)
    return adapter if config.admits(run, None, adapter) else None


def desk_of(agent: Agent) -> TradingGroup:
    """The agent as the desk that it has to be."""
    if not isinstance(agent, TradingGroup):
        raise UsageError(
            f"TradingGroup labels the calls of a trading desk, and {agent.name!r} is none; use trading-group"
        )
    return agent


def trade(run: Run, desk: TradingGroup, config: SynthesisConfig) -> list[Trajectory]:
    """The desk's backtests of the windows, run or taken from the store."""
    stage = Stage("collect", "desk", config.practice.split, 1)
    tasks = config.windows(run.env, desk.config.labels)
    return run.attempt(stage, desk, tasks, config.attempts, seed=config.seed, stream="collect/desk")


# -- Labels -----------------------------------------------------------------------------------------------------------


def realised_in(window: Trajectory, env: AgentEnv) -> Realised:
    """What happened in a window of `env`."""
    infos = replayed(window, env)
    move = list(FEATURES).index("return")
    return Realised(
        [float(info["arrays"]["features"][0, move]) for info in infos],
        [info["account"].equity for info in infos],
        [sum(fill.cost for fill in info["fills"]) for info in infos],
    )


def annotate(window: Trajectory, labels: LabelConfig, past: Realised) -> Iterator[Row]:
    """The labelled calls of a window; those whose outcome lies beyond its end are left out.

    `past` is what was realised (`realised_in`); cut shorter, it gives the labels known by then.
    """
    for day, step in enumerate(window.steps):
        said = next((read_forecast(call.text) for call in step.calls if call.role == "forecast"), None)
        hit = None if said is None else past.w_hit(day, said.trend, said.probabilities, labels)
        values = {"w_hit": hit, "reward": past.reward(day, labels)}
        outcomes = {"w_hit": past.ahead(day, labels.horizon), "reward": past.ahead(day, 1)}
        for call in step.calls:
            label = _JUDGED_BY[call.role]
            value, outcome = values[label], outcomes[label]
            if value is not None and outcome is not None:
                answer, equity = answer_of(call.role, call.text) or "unread", past.equity[day]
                name = (window.task.id, window.sample, day)
                yield Row(*name, call, answer, label, value, outcome, equity, step.action)


def select(rows: Sequence[Row], config: SynthesisConfig) -> list[Row]:
    """The best `keep` of the rows, in their order; never one whose answer could not be read or whose label is not
    above 0.

    Rows are ranked among those of the same role and, with `within_answers`, of the same answer.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for number, row in enumerate(rows):
        if row.answer != "unread":
            groups.setdefault((row.call.role, row.answer if config.within_answers else ""), []).append(number)
    chosen: set[int] = set()
    for numbers in groups.values():
        best = sorted(numbers, key=lambda number: (-rows[number].value, number))[: round(config.keep * len(numbers))]
        chosen |= {number for number in best if rows[number].value > 0.0}
    return [rows[number] for number in sorted(chosen)]


def export(path: Path, rows: Sequence[Row], kept: Sequence[Row]) -> None:
    """Every row as a line of JSON (OpenAI-style `messages`, label, realised outcome, `kept`); whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished, chosen = path.with_name(f".{path.name}.unfinished"), set(map(id, kept))
    with unfinished.open("w", encoding="ascii") as file:
        for row in rows:
            file.write(json.dumps(to_json(row, id(row) in chosen), allow_nan=False) + "\n")
    unfinished.replace(path)


def to_json(row: Row, kept: bool) -> dict[str, Any]:
    """A row for other people's trainers; columns are the same in every one."""
    return {
        "messages": [{"role": m.role, "content": m.content} for m in chat_of_call(row.call)],
        "task_id": row.task,
        "sample": row.sample,
        "day": row.day,
        "agent": row.call.role,
        "answer": row.answer,
        "label": row.label,
        "value": row.value,
        "realised": row.realised,
        "equity": row.equity,
        "action": row.action,
        "kept": kept,
    }


def counts(windows: Sequence[Trajectory], rows: Sequence[Row], kept: Sequence[Row]) -> dict[str, Any]:
    """How much was traded, labelled and kept, by role; and how much could not be read."""
    roles = sorted({row.call.role for row in rows})
    return {
        "windows": len(windows),
        "days": sum(len(window.steps) for window in windows),
        "labelled": {role: sum(row.call.role == role for row in rows) for role in roles},
        "kept": {role: sum(row.call.role == role for row in kept) for role in roles},
        "unread": {
            role: sum(row.call.role == role and row.answer == "unread" for row in rows) / labelled
            for role in roles
            if (labelled := sum(row.call.role == role for row in rows))
        },
    }


# -- What is printed beyond success -----------------------------------------------------------------------------------


def findings(
    run: Run, config: SynthesisConfig, on: Measure, measured: Mapping[str, Measured]
) -> Iterable[RenderableType]:
    """What both desks and three rules earned on the held-out windows, and what was learnt from."""
    by_rules = {rule.name: measure_agent(run, rule.name, rule, on) for rule in RULES}
    env = run.env.make()
    found: Backtests = {
        name: [backtests(attempts, env) for attempts in sets.values()]
        for name, sets in {**by_rules, **measured}.items()
    }
    measures, pairs = ("cumulative_return", "sharpe"), itertools.pairwise(measured)
    differences = [differ(found, before, after, each) for before, after in pairs for each in measures]
    caption = f"{', '.join(on.splits)}; intervals by bootstrap of windows"
    yield from performance(run.store, found, differences, ", ".join(on.splits), caption)
    yield counted(run.store.results())


def counted(results: Mapping[Stage, Any]) -> str:
    """What was learnt from, over all seeds."""
    found = [result for stage, result in results.items() if (stage.kind, stage.model) == ("counts", NAME)]
    kept = sum(sum(each["kept"].values()) for each in found)
    labelled = sum(sum(each["labelled"].values()) for each in found)
    days = sum(each["days"] for each in found)
    return f"learnt from {kept} of {labelled} labelled calls of {days} days"


LOOP = Loop(
    "trading-group",
    "a desk learns from days whose outcome is known",
    SynthesisConfig,
    trading_group,
    findings=findings,
    env="trading",
    agent="trading-group",
    held_out=Measure(params={"bars": "120"}, tasks=25),
)
