"""How well an account did."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import UsageError
from .backtest import Backtest, backtest, decisions
from .market import Floats, Market
from .rules import Fill, Rules
from .strategies import STRATEGIES


@dataclass(frozen=True)
class Metrics:
    """Figures of one equity curve. r[t] = E[t] / E[t-1] - 1 over the T - 1 bars after the first; n is the number of
    bars in a year; the risk-free rate of a bar is (1 + yearly) ** (1 / n) - 1. A ratio whose denominator is 0 is 0.
    """

    cumulative_return: float
    """E[T-1] / E[0] - 1."""
    annual_return: float
    """(1 + cumulative return) ** (n / (T - 1)) - 1."""
    annual_volatility: float
    """Standard deviation of r (with T - 2 in the denominator) times sqrt(n). FINSABER's (`metrics.py`)."""
    sharpe: float
    """Mean of r less the risk-free rate of a bar, over the standard deviation of r (with T - 2 in the denominator),
    times sqrt(n). With a rate of 0 what FINSABER's public code (`backtest_framework_iso.py`) gives for strategies of
    language models; other strategies get backtrader's analyzer there, which divides by T - 1."""
    sortino: float
    """The same mean over the standard deviation of those r less the risk-free rate that are below 0 (with their number
    less 1 in the denominator), times sqrt(n); 0 where fewer than 5 bars moved or fewer than 2 lost. FINSABER's
    (`metrics.py`)."""
    max_drawdown: float
    """Largest loss from an earlier high, as a share of the high; 0 or more."""
    calmar: float
    """Annual return over maximum drawdown."""
    turnover: float
    """Absolute value of all fills over the mean equity, a year."""
    exposure: float
    """Mean over the bars of gross position value over equity."""
    hit_rate: float
    """Share of the fills that reduced a position which made money after their own cost."""


def measure(result: Backtest, market: Market, *, bars_per_year: float = 252.0, risk_free: float = 0.0) -> Metrics:
    """The figures of a backtest; `risk_free` is a rate a year."""
    held = np.abs(result.units * market.close).sum(axis=1)
    exposed = np.divide(held, result.equity, out=np.zeros_like(held), where=result.equity > 0)
    fills = [fill for _, fill in result.fills]
    return of_curve(result.equity, fills, float(exposed.mean()), bars_per_year=bars_per_year, risk_free=risk_free)


def of_curve(
    equity: Floats, fills: Sequence[Fill] = (), exposure: float = 0.0, *, bars_per_year: float = 252.0,
    risk_free: float = 0.0,
) -> Metrics:  # fmt: skip
    """The figures of an equity curve (T,), T at least 2, that begins above 0."""
    if len(equity) < 2 or not equity[0] > 0:
        raise UsageError(f"an equity curve of {len(equity)} bars; expected at least 2, the first above 0")
    returns = np.divide(equity[1:], equity[:-1], out=np.ones(len(equity) - 1), where=equity[:-1] > 0) - 1
    excess = returns - ((1 + risk_free) ** (1 / bars_per_year) - 1)
    total = float(equity[-1] / equity[0] - 1)
    yearly = float((1 + total) ** (bars_per_year / len(returns)) - 1) if total > -1 else -1.0
    spread = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    lost = excess[excess < 0]
    known = len(lost) >= 2 and np.count_nonzero(returns) >= 5
    below = float(lost.std(ddof=1)) if known else 0.0
    highs = np.maximum.accumulate(equity)
    fall = float((1 - equity / highs).max())
    root = math.sqrt(bars_per_year)
    closed = [fill.profit > 0 for fill in fills if not fill.opened and fill.why != "ruin"]
    traded = sum(abs(fill.units) * fill.price for fill in fills if fill.why != "ruin")
    return Metrics(
        cumulative_return=total,
        annual_return=yearly,
        annual_volatility=spread * root,
        sharpe=_ratio(float(excess.mean()) * root, spread),
        sortino=_ratio(float(excess.mean()) * root, below),
        max_drawdown=fall,
        calmar=_ratio(yearly, fall),
        turnover=traded / float(equity.mean()) * bars_per_year / len(returns),
        exposure=exposure,
        hit_rate=_ratio(sum(closed), len(closed)),
    )


def _ratio(above: float, below: float) -> float:
    # What is left of rounding is no spread.
    return above / below if below > 1e-15 else 0.0


def baselines(
    market: Market, rules: Rules | None = None, names: Sequence[str] = tuple(STRATEGIES)
) -> Mapping[str, Metrics]:
    """The figures of the rules in `STRATEGIES` on the same bars with the same costs, by name."""
    rules = rules or Rules()
    return {
        name: measure(
            backtest(market, decisions(STRATEGIES[name](market)), rules), market, bars_per_year=rules.bars_per_year
        )
        for name in names
    }
