"""TradingGroup's data synthesis (arXiv 2508.17565): train a desk on its own calls, labelled by realised outcomes.

1. collect   the desk trades practice windows; every model call is recorded           collect/desk
2. label     forecasts by w_hit, decisions by r_eq - beta * r_bm - gamma * c_a
3. select    the calls with the best labels                                           rows/desk.jsonl
4. train     one LoRA adapter for all roles                                           adapters/trading_group@1
5. gate      the adapter must beat the base model on other windows

A label uses only bars of the same window. Calls whose outcome lies beyond the end of the window stay unlabelled and are
not trained on. `TradingEnv.tasks` guarantees that no two windows share a bar of an asset. The windows of a walk-forward
split end at least one label horizon before the first test.
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
from ..agents.trading_group.labels import LabelConfig, RealisedSeries
from ..agents.trading_group.roles import answer_of, read_forecast
from ..agents.trajectory import Call, Trajectory
from ..arguments import convert
from ..envs.core import AgentEnv, TaskSet
from ..envs.registry import EnvSpec
from ..envs.trading.features import FEATURES
from ..errors import UsageError
from .learning.core import Example, FitConfig
from .measuring.backtests import (
    BacktestsByName,
    compare_backtests,
    measure_backtests,
    performance_tables,
    replay_infos,
)
from .measuring.gate import Gate
from .measuring.measure import Measure, MeasuredAttempts, measure_agent
from .registry import Loop, LoopConfig
from .run import Attempts, Practice, Run
from .runs.stages import Stage

NAME = "trading_group"
ROWS = "desk.jsonl"
"""File in the run's folder `rows` with every labelled call, kept or not."""
_LABEL_OF_ROLE: Mapping[str, str] = {
    "news": "w_hit",
    "report": "w_hit",
    "forecast": "w_hit",
    "style": "reward",
    "decision": "reward",
}
"""Label by role. News and reports get the label of the same day's forecast, the style that of the decision."""


@dataclass(frozen=True)
class SynthesisConfig(LoopConfig):
    """TradingGroup: train a desk on its own labelled calls. Values that the paper does not publish are chosen here."""

    practice: Practice = field(default_factory=lambda: Practice(tasks=100, params={"bars": "60"}))
    """Windows that the desk trades; one asset each."""
    attempts: Attempts = field(default_factory=lambda: Attempts(k=1))
    """Attempts per window. They are sampled at temperature 1, so that answers to similar days vary."""
    keep: float = 0.25
    """Share of the labelled calls to train on, the best ones. Unpublished."""
    within_answers: bool = True
    """Select this share per answer (up, down, ...); if false, answers that earn lower rewards are rarely selected."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(epochs=1.0))
    """Training settings: one epoch as in the paper; all others are unpublished."""
    gate: Gate = field(default_factory=lambda: Gate(tasks=25))
    """Gate on the return of windows that are used neither for labels nor for scores."""

    def validate(self, env: EnvSpec, agent: Agent) -> None:
        """See `LoopConfig.validate`."""
        self.windows(env, require_desk(agent).config.labels)

    def windows(self, env: EnvSpec, labels: LabelConfig) -> TaskSet:
        """Return the practice tasks.

        Args:
            env: The trading environment.
            labels: Parameters of the labels.

        Raises:
            UsageError: If labels could use bars of a test, or tasks have several assets.
        """
        params = self.practice.params
        purge = convert(params.get("purge", 20), int, "purge")
        if params.get("source") == "file" and purge < labels.horizon:
            raise UsageError(
                f"purge is {purge} and the label horizon is {labels.horizon} days, so labels would use bars of the "
                "test; expected a purge of at least the horizon"
            )
        if str(params.get("assets", 1)) != "1":
            raise UsageError(f"assets is {params['assets']}; expected 1, since the desk trades one asset")
        return self.practice.task_set(env, self.seed)


@dataclass(frozen=True)
class LabelledCall:
    """One labelled model call of one role on one day."""

    task: str
    sample: int
    day: int
    """Index of the bar in the window."""
    call: Call
    answer: str
    """The parsed answer in one word; `unread` if it could not be parsed."""
    label: str
    """`w_hit` or `reward`."""
    value: float
    """Value of the label."""
    realised: float
    """The asset's realised return over the horizon (`w_hit`) or the next day (`reward`)."""
    equity: float
    """Equity of the account at the time of the call."""
    action: str
    """The desk's action on that day."""


def trading_group(run: Run, config: SynthesisConfig) -> Path | None:
    """Run the pipeline.

    Args:
        run: The run.
        config: Settings of the loop.

    Returns:
        The adapter, or None if the gate did not let it pass.

    Raises:
        UsageError: If no labelled call is worth training on, or the agent is not a desk.
    """
    # 1: COLLECT
    desk = require_desk(run.make_agent(None, config.attempts))
    labels = desk.config.labels
    attempts = collect_windows(run, desk, config)

    # 2, 3: LABEL, SELECT, EXPORT
    env = run.env.make()
    rows = [row for attempt in attempts for row in label_calls(attempt, labels, realised_series(attempt, env))]
    kept = select_best(rows, config)
    export_calls(run.store.path_of("rows", ROWS), rows, kept)
    run.store.result(Stage("counts", NAME, config.practice.split, 1), count_calls, attempts, rows, kept)

    # 4: TRAIN
    examples = [Example(chat_of_call(row.call)) for row in kept]
    adapter = run.train(f"{NAME}@1", examples, config.fit, seed=config.seed, stream=NAME)
    return adapter if config.passes_gate(run, None, adapter) else None


def require_desk(agent: Agent) -> TradingGroup:
    """Return the agent if it is a trading desk, else raise `UsageError`."""
    if not isinstance(agent, TradingGroup):
        raise UsageError(f"the agent is {agent.name!r}; expected a trading desk; pass --agent trading-group")
    return agent


def collect_windows(run: Run, desk: TradingGroup, config: SynthesisConfig) -> list[Trajectory]:
    """Return the desk's attempts on the practice windows, played or taken from the store."""
    stage = Stage("collect", "desk", config.practice.split, 1)
    tasks = config.windows(run.env, desk.config.labels)
    return run.attempt(stage, desk, tasks, config.attempts, seed=config.seed, stream="collect/desk")


# -- Labels -----------------------------------------------------------------------------------------------------------


def realised_series(attempt: Trajectory, env: AgentEnv) -> RealisedSeries:
    """Return the realised returns, equity and commissions of an attempt, by replaying it in `env`."""
    infos = replay_infos(attempt, env)
    return_column = list(FEATURES).index("return")
    return RealisedSeries(
        [float(info["arrays"]["features"][0, return_column]) for info in infos],
        [info["account"].equity for info in infos],
        [sum(fill.cost for fill in info["fills"]) for info in infos],
    )


def label_calls(attempt: Trajectory, labels: LabelConfig, realised: RealisedSeries) -> Iterator[LabelledCall]:
    """Yield the labelled calls of an attempt. Calls whose outcome lies beyond the end of `realised` are skipped.

    Args:
        attempt: An attempt of a desk.
        labels: Parameters of the labels.
        realised: The series from `realised_series`. A shorter prefix gives the labels known at its last close.
    """
    for day, step in enumerate(attempt.steps):
        forecast = next((read_forecast(call.text) for call in step.calls if call.role == "forecast"), None)
        hit = None if forecast is None else realised.w_hit(day, forecast.trend, forecast.probabilities, labels)
        values = {"w_hit": hit, "reward": realised.reward(day, labels)}
        outcomes = {"w_hit": realised.return_ahead(day, labels.horizon), "reward": realised.return_ahead(day, 1)}
        for call in step.calls:
            label = _LABEL_OF_ROLE[call.role]
            value, outcome = values[label], outcomes[label]
            if value is not None and outcome is not None:
                answer, equity = answer_of(call.role, call.text) or "unread", realised.equity[day]
                name = (attempt.task.id, attempt.sample, day)
                yield LabelledCall(*name, call, answer, label, value, outcome, equity, step.action)


def select_best(rows: Sequence[LabelledCall], config: SynthesisConfig) -> list[LabelledCall]:
    """Return the best share `keep` of the calls, in their order, without unparsed answers and labels of 0 or less.

    Calls are ranked within their role and, with `within_answers`, within their answer.
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


def export_calls(path: Path, rows: Sequence[LabelledCall], kept: Sequence[LabelledCall]) -> None:
    """Write all calls as JSON lines with OpenAI-style `messages`, label, outcome and `kept`. The write is atomic."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished, chosen = path.with_name(f".{path.name}.unfinished"), set(map(id, kept))
    with unfinished.open("w", encoding="ascii") as file:
        for row in rows:
            file.write(json.dumps(to_json(row, id(row) in chosen), allow_nan=False) + "\n")
    unfinished.replace(path)


def to_json(row: LabelledCall, kept: bool) -> dict[str, Any]:
    """Return a call as a row for other training tools. All rows have the same keys."""
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


def count_calls(
    attempts: Sequence[Trajectory], rows: Sequence[LabelledCall], kept: Sequence[LabelledCall]
) -> dict[str, Any]:
    """Count windows, days, labelled and kept calls by role, and the share of unparsed answers by role."""
    roles = sorted({row.call.role for row in rows})
    return {
        "windows": len(attempts),
        "days": sum(len(attempt.steps) for attempt in attempts),
        "labelled": {role: sum(row.call.role == role for row in rows) for role in roles},
        "kept": {role: sum(row.call.role == role for row in kept) for role in roles},
        "unread": {
            role: sum(row.call.role == role and row.answer == "unread" for row in rows) / labelled
            for role in roles
            if (labelled := sum(row.call.role == role for row in rows))
        },
    }


# -- Findings ---------------------------------------------------------------------------------------------------------


def findings(
    run: Run, config: SynthesisConfig, held_out: Measure, measured: Mapping[str, MeasuredAttempts]
) -> Iterable[RenderableType]:
    """Yield the performance of base desk, trained desk and three rules on the held-out tasks, and the training data."""
    by_rules = {rule.name: measure_agent(run, rule.name, rule, held_out) for rule in RULES}
    env = run.env.make()
    found: BacktestsByName = {
        name: [measure_backtests(attempts, env) for attempts in sets.values()]
        for name, sets in {**by_rules, **measured}.items()
    }
    measures, pairs = ("cumulative_return", "sharpe"), itertools.pairwise(measured)
    differences = [compare_backtests(found, before, after, each) for before, after in pairs for each in measures]
    caption = f"{', '.join(held_out.splits)}; intervals over windows"
    yield from performance_tables(run.store, found, differences, ", ".join(held_out.splits), caption)
    yield training_summary(run.store.results())


def training_summary(results: Mapping[Stage, Any]) -> str:
    """Return one line on the amount of training data, summed over all seeds."""
    found = [result for stage, result in results.items() if (stage.kind, stage.model) == ("counts", NAME)]
    kept = sum(sum(each["kept"].values()) for each in found)
    labelled = sum(sum(each["labelled"].values()) for each in found)
    days = sum(each["days"] for each in found)
    return f"trained on {kept} of {labelled} labelled calls from {days} days"


LOOP = Loop(
    "trading-group",
    "train a trading desk on its own calls, labelled by realised outcomes",
    SynthesisConfig,
    trading_group,
    findings=findings,
    env="trading",
    agent="trading-group",
    held_out=Measure(params={"bars": "120"}, tasks=25),
)
