"""Backtests of desks and rules on the same windows: what they earned, and who earned more, paired by window."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ...agents.trading_group.roles import answer_of
from ...agents.trajectory import Trajectory
from ...envs.core import AgentEnv
from ...envs.trading.metrics import Metrics, of_curve
from ...errors import InfraError, UsageError
from ..runs.stages import Stage
from ..runs.store import RunStore
from .statistics import Mean, mean, sign_flip_mean
from .tables import p_value, percent

MEASURES = ("cumulative_return", "sharpe", "max_drawdown", "annual_volatility", "exposure", "turnover")
"""Fields of `Metrics` that are averaged."""


def replayed(window: Trajectory, env: AgentEnv) -> list[dict[str, Any]]:
    """What the environment said at each close of a window, by replaying its actions: it is deterministic."""
    _, info = env.reset(options={"task": window.task})
    return [info, *(env.step(step.action)[4] for step in window.steps)]


def figures(played: Trajectory, env: AgentEnv) -> Metrics:
    """What one backtest earned, by replaying its actions; raises `InfraError` for one that was cut off."""
    if played.outcome == "infra_error":
        raise InfraError(f"the backtest {played.key} was cut off ({played.error}); it earned nothing to measure")
    infos = replayed(played, env)
    equity = np.array([info["account"].equity for info in infos])
    exposure = float(np.mean([abs(info["account"].weights[0]) for info in infos]))
    return of_curve(equity, [fill for info in infos for fill in info["fills"]], exposure)


@dataclass(frozen=True)
class Backtest:
    """One backtest and what it earned."""

    played: Trajectory
    earned: Metrics


def backtests(attempts: Iterable[Trajectory], env: AgentEnv) -> list[Backtest]:
    """Attempts with what they earned; raises what `figures` raises."""
    return [Backtest(played, figures(played, env)) for played in attempts]


@dataclass(frozen=True)
class Summary:
    """What somebody earned in several backtests. JSON-clean through `to_json`."""

    name: str
    means: dict[str, Mean]
    """Of `MEASURES`, over backtests."""
    unread: float
    """Share of all answers that could not be read, in [0, 1]; 0 for rules."""
    refused: float
    """Share of all actions that the world refused, in [0, 1]."""

    def to_json(self) -> dict[str, Any]:
        """JSON-clean."""
        return asdict(self)


@dataclass(frozen=True)
class Difference:
    """The second minus the first, paired by window. JSON-clean through `to_json`."""

    a: str
    b: str
    measure: str
    difference: Mean
    p: float
    """Two-sided sign-flip test over windows."""
    by_seed: tuple[float, ...]
    """The mean difference of each training seed: what an interval over windows does not hold."""

    def to_json(self) -> dict[str, Any]:
        """JSON-clean."""
        return asdict(self)


Backtests = Mapping[str, Sequence[Sequence[Backtest]]]
"""Name to backtests by training seed; windows in the same order for every name."""


def summarise(name: str, seeds: Sequence[Sequence[Backtest]]) -> Summary:
    """All seeds together."""
    earned = [asdict(backtest.earned) for seed in seeds for backtest in seed]
    played = [backtest.played for seed in seeds for backtest in seed]
    calls = [call for attempt in played for step in attempt.steps for call in step.calls]
    steps = sum(len(attempt.steps) for attempt in played)
    return Summary(
        name=name,
        means={measure: mean([each[measure] for each in earned], seed=0) for measure in MEASURES},
        unread=sum(answer_of(call.role, call.text) is None for call in calls) / max(1, len(calls)),
        refused=sum(attempt.invalid_actions for attempt in played) / max(1, steps),
    )


def differ(backtests: Backtests, a: str, b: str, measure: str) -> Difference:
    """Compare two by the windows that both traded; raises `UsageError` when these are not the same."""
    by_seed = []
    for first, second in zip(backtests[a], backtests[b], strict=True):
        if [b.played.task for b in first] != [b.played.task for b in second]:
            raise UsageError(f"{a!r} and {b!r} were not tested on the same windows, so they cannot be compared")
        pairs = zip(first, second, strict=True)
        by_seed.append([getattr(two.earned, measure) - getattr(one.earned, measure) for one, two in pairs])
    differences = [difference for seed in by_seed for difference in seed]
    by = tuple(sum(seed) / len(seed) for seed in by_seed)
    return Difference(a, b, measure, mean(differences, seed=0), sign_flip_mean(differences, seed=0), by)


def performance(
    store: RunStore, found: Backtests, differences: Sequence[Difference], tasks: str, caption: str
) -> list[RenderableType]:
    """Tables of what everybody earned and how, and of the differences; the figures become results of the run."""
    summaries = [summarise(name, seeds) for name, seeds in found.items()]
    for summary in summaries:
        store.result(Stage("performance", summary.name, tasks), summary.to_json)
    for each in differences:
        store.result(Stage("difference", f"{each.b} - {each.a}", each.measure), each.to_json)
    return [
        earnings_table(summaries, "Backtests", caption),
        conduct_table(summaries),
        difference_table(differences),
    ]


def earnings_table(summaries: Sequence[Summary], title: str, caption: str = "") -> Table:
    """One line a name: mean return and Sharpe ratio over backtests, with intervals. Fits into 80 columns."""
    table = _table(title, caption, ("return", "95 %", "Sharpe", "95 %", "n"))
    for each in summaries:
        earned, sharpe = each.means["cumulative_return"], each.means["sharpe"]
        table.add_row(
            Text(each.name),
            percent(earned.value),
            f"{100 * earned.low:.1f}…{100 * earned.high:.1f}",
            f"{sharpe.value:.2f}",
            f"{sharpe.low:.2f}…{sharpe.high:.2f}",
            str(earned.n),
        )
    return table


def conduct_table(summaries: Sequence[Summary], title: str = "How they traded") -> Table:
    """One line a name: mean risk and activity over backtests, and the share of answers that could not be read."""
    table = _table(title, "", ("drawdown", "volatility", "exposure", "turnover", "unread"))
    for each in summaries:
        shares = (each.means[name].value for name in ("max_drawdown", "annual_volatility", "exposure"))
        turnover = f"{each.means['turnover'].value:.1f}"
        table.add_row(Text(each.name), *map(percent, shares), turnover, percent(each.unread))
    return table


def difference_table(differences: Sequence[Difference], title: str = "Paired by window") -> Table:
    """One line a comparison; returns in percentage points."""
    caption = "two-sided sign-flip test over windows; p not adjusted for the number of lines"
    table = _table(title, caption, ("of", "mean", "95 %", "p", "n"))
    table.add_column(Text("by seed"), justify="right")
    for each in differences:
        scale = 1 if each.measure == "sharpe" else 100
        found = each.difference
        table.add_row(
            Text(f"{each.b}\n- {each.a}"),
            Text(each.measure.replace("cumulative_", "")),
            f"{scale * found.value:+.2f}",
            f"{scale * found.low:+.2f}…{scale * found.high:+.2f}",
            p_value(each.p),
            str(found.n),
            " ".join(f"{scale * value:+.1f}" for value in each.by_seed),
        )
    return table


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
    table.add_column(Text("who"), overflow="fold")
    for name in columns:
        table.add_column(Text(name), justify="right", no_wrap=True)
    return table
