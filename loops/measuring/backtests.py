"""Performance of desks and rules in backtests on the same windows, with comparisons paired by window."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ...agents.trading_group.roles import answer_of
from ...agents.trajectory import Trajectory
from ...envs.core import AgentEnv
from ...envs.trading.metrics import Metrics, curve_metrics
from ...errors import InfraError, UsageError
from ..runs.stages import Stage
from ..runs.store import RunStore
from .statistics import Mean, mean, sign_flip_mean
from .tables import interval, p_value, percent

MEASURES = ("cumulative_return", "sharpe", "max_drawdown", "annual_volatility", "exposure", "turnover")
"""Fields of `Metrics` that summaries average."""


def replay_infos(attempt: Trajectory, env: AgentEnv) -> list[dict[str, Any]]:
    """Return the `info` of each close of an attempt, by replaying its actions in the deterministic environment."""
    _, info = env.reset(options={"task": attempt.task})
    return [info, *(env.step(step.action)[4] for step in attempt.steps)]


def attempt_metrics(attempt: Trajectory, env: AgentEnv) -> Metrics:
    """Compute the metrics of one backtest by replaying its actions.

    Args:
        attempt: An attempt of a trading task with one asset.
        env: The environment of the attempt.

    Returns:
        The metrics.

    Raises:
        InfraError: If an infrastructure failure ended the attempt.
    """
    if attempt.outcome == "infra_error":
        raise InfraError(
            f"the backtest {attempt.key} ended with an infrastructure failure ({attempt.error}); run it again"
        )
    infos = replay_infos(attempt, env)
    equity = np.array([info["account"].equity for info in infos])
    exposure = float(np.mean([abs(info["account"].weights[0]) for info in infos]))
    return curve_metrics(equity, [fill for info in infos for fill in info["fills"]], exposure)


@dataclass(frozen=True)
class MeasuredBacktest:
    """One backtest and its metrics."""

    attempt: Trajectory
    metrics: Metrics


def measure_backtests(attempts: Iterable[Trajectory], env: AgentEnv) -> list[MeasuredBacktest]:
    """Compute the metrics of attempts. Raises the errors of `attempt_metrics`."""
    return [MeasuredBacktest(attempt, attempt_metrics(attempt, env)) for attempt in attempts]


@dataclass(frozen=True)
class Summary:
    """Mean performance of one agent over several backtests."""

    name: str
    means: dict[str, Mean]
    """Mean of each of `MEASURES` over the backtests."""
    unread: float
    """Share of the model answers that could not be parsed, in [0, 1]; 0 for rules."""
    refused: float
    """Share of the actions that the environment refused, in [0, 1]."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON-serialisable dictionary."""
        return asdict(self)


@dataclass(frozen=True)
class Difference:
    """Difference of one measure between two agents, b - a, paired by window."""

    a: str
    b: str
    measure: str
    difference: Mean
    p: float
    """p-value of a two-sided sign-flip test over windows."""
    by_seed: tuple[float, ...]
    """Mean difference of each training seed. The interval over windows does not include this variation."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON-serialisable dictionary."""
        return asdict(self)


BacktestsByName = Mapping[str, Sequence[Sequence[MeasuredBacktest]]]
"""Backtests by agent name and training seed, with windows in the same order for every name."""


def summarise(name: str, seeds: Sequence[Sequence[MeasuredBacktest]]) -> Summary:
    """Average the backtests of all training seeds of one agent."""
    metrics = [asdict(backtest.metrics) for seed in seeds for backtest in seed]
    attempts = [backtest.attempt for seed in seeds for backtest in seed]
    calls = [call for attempt in attempts for step in attempt.steps for call in step.calls]
    steps = sum(len(attempt.steps) for attempt in attempts)
    return Summary(
        name=name,
        means={measure: mean([each[measure] for each in metrics]) for measure in MEASURES},
        unread=sum(answer_of(call.role, call.text) is None for call in calls) / max(1, len(calls)),
        refused=sum(attempt.invalid_actions for attempt in attempts) / max(1, steps),
    )


def compare_backtests(backtests: BacktestsByName, a: str, b: str, measure: str) -> Difference:
    """Compare one measure of two agents, paired by window.

    Args:
        backtests: Backtests by agent name and training seed.
        a: Name of the first agent.
        b: Name of the second agent.
        measure: A field of `Metrics`.

    Returns:
        The difference b - a.

    Raises:
        UsageError: If the two agents were not tested on the same windows.
    """
    by_seed = []
    for first, second in zip(backtests[a], backtests[b], strict=True):
        if [b.attempt.task for b in first] != [b.attempt.task for b in second]:
            raise UsageError(
                f"{a!r} and {b!r} were not tested on the same windows; expected the same windows in the same order"
            )
        pairs = zip(first, second, strict=True)
        by_seed.append([getattr(two.metrics, measure) - getattr(one.metrics, measure) for one, two in pairs])
    differences = [difference for seed in by_seed for difference in seed]
    by = tuple(sum(seed) / len(seed) for seed in by_seed)
    return Difference(a, b, measure, mean(differences), sign_flip_mean(differences, seed=0), by)


def performance_tables(
    store: RunStore, found: BacktestsByName, differences: Sequence[Difference], tasks: str, caption: str
) -> list[RenderableType]:
    """Return tables of performance, activity and differences, and store their values as results of the run."""
    summaries = [summarise(name, seeds) for name, seeds in found.items()]
    for summary in summaries:
        store.result(Stage("performance", summary.name, tasks), summary.to_json)
    for each in differences:
        store.result(Stage("difference", f"{each.b} - {each.a}", each.measure), each.to_json)
    return [
        earnings_table(summaries, "Backtests", caption),
        activity_table(summaries),
        difference_table(differences),
    ]


def earnings_table(summaries: Sequence[Summary], title: str, caption: str = "") -> Table:
    """Return a table of mean return and Sharpe ratio with intervals, one row per agent, at most 80 columns wide."""
    table = _table(title, caption, ("return", "95 %", "Sharpe", "95 %", "n"))
    for each in summaries:
        total_return, sharpe = each.means["cumulative_return"], each.means["sharpe"]
        table.add_row(
            Text(each.name),
            percent(total_return.value),
            interval(total_return.low, total_return.high, lambda value: f"{100 * value:.1f}"),
            f"{sharpe.value:.2f}",
            interval(sharpe.low, sharpe.high, "{:.2f}".format),
            str(total_return.n),
        )
    return table


def activity_table(summaries: Sequence[Summary], title: str = "Risk and activity") -> Table:
    """Return a table of mean risk and activity and the share of unparsable answers, one row per agent."""
    table = _table(title, "", ("drawdown", "volatility", "exposure", "turnover", "unread"))
    for each in summaries:
        shares = (each.means[name].value for name in ("max_drawdown", "annual_volatility", "exposure"))
        turnover = f"{each.means['turnover'].value:.1f}"
        table.add_row(Text(each.name), *map(percent, shares), turnover, percent(each.unread))
    return table


def difference_table(differences: Sequence[Difference], title: str = "Paired by window") -> Table:
    """Return a table of comparisons, one row each. Returns are in percentage points."""
    caption = "two-sided sign-flip test over windows; p not adjusted for multiple comparisons"
    table = _table(title, caption, ("metric", "mean", "95 %", "p", "n"))
    table.add_column(Text("by seed"), justify="right")
    for each in differences:
        scale = 1 if each.measure == "sharpe" else 100
        found = each.difference
        table.add_row(
            Text(f"{each.b}\n- {each.a}"),
            Text(each.measure.replace("cumulative_", "")),
            f"{scale * found.value:+.2f}",
            interval(found.low, found.high, partial(_signed, scale)),
            p_value(each.p),
            str(found.n),
            " ".join(f"{scale * value:+.1f}" for value in each.by_seed),
        )
    return table


def _signed(scale: float, value: float) -> str:
    return f"{scale * value:+.2f}"


def _table(title: str, caption: str, columns: Sequence[str]) -> Table:
    table = Table(
        title=title,
        caption=Text(caption, style="dim"),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        title_justify="left",
        caption_justify="left",
        title_style="bold yellow",
        header_style="bold",
    )
    table.add_column(Text("name"), overflow="fold")
    for name in columns:
        table.add_column(Text(name), justify="right", no_wrap=True)
    return table
