"""Performance metrics of backtests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import UsageError
from .backtest import Backtest, backtest, orders_from_weights
from .market import Floats, Market
from .rules import Fill, Rules
from .strategies import STRATEGIES


@dataclass(frozen=True)
class Metrics:
    """Metrics of one equity curve E of T bars.

    r[t] = E[t] / E[t-1] - 1 is the return of bar t, for the T - 1 bars after the first; n is the number of bars per
    year; the risk-free rate of a bar is (1 + yearly rate) ** (1 / n) - 1. A ratio with denominator 0 is 0.
    """

    cumulative_return: float
    """E[T-1] / E[0] - 1."""
    annual_return: float
    """(1 + cumulative return) ** (n / (T - 1)) - 1."""
    annual_volatility: float
    """Standard deviation of r (denominator T - 2) times sqrt(n), as in FINSABER (`metrics.py`)."""
    sharpe: float
    """Mean of r minus the risk-free rate of a bar, divided by the standard deviation of r (denominator T - 2), times
    sqrt(n). With rate 0, equal to FINSABER's value for language-model strategies (`backtest_framework_iso.py`). For
    other strategies FINSABER uses backtrader's analyzer, which divides by T - 1."""
    sortino: float
    """The same mean divided by the standard deviation of the negative excess returns (denominator: their number - 1),
    times sqrt(n), as in FINSABER (`metrics.py`). 0 with fewer than 5 nonzero returns or 2 negative excess returns."""
    max_drawdown: float
    """Largest loss from a previous high, as a share of the high; 0 or more."""
    calmar: float
    """Annual return / maximum drawdown."""
    turnover: float
    """Absolute value of all fills per year / mean equity."""
    exposure: float
    """Mean over the bars of gross position value / equity."""
    hit_rate: float
    """Share of the position-reducing fills with a profit after costs."""


def backtest_metrics(
    result: Backtest, market: Market, *, bars_per_year: float = 252.0, risk_free: float = 0.0
) -> Metrics:
    """Compute the metrics of a backtest.

    Args:
        result: The backtest.
        market: The market that it ran on.
        bars_per_year: Bars per year.
        risk_free: Risk-free rate per year.

    Returns:
        The metrics.
    """
    gross = np.abs(result.units * market.close).sum(axis=1)
    exposures = np.divide(gross, result.equity, out=np.zeros_like(gross), where=result.equity > 0)
    fills = [fill for _, fill in result.fills]
    return curve_metrics(
        result.equity, fills, float(exposures.mean()), bars_per_year=bars_per_year, risk_free=risk_free
    )


def curve_metrics(
    equity: Floats, fills: Sequence[Fill] = (), exposure: float = 0.0, *, bars_per_year: float = 252.0,
    risk_free: float = 0.0,
) -> Metrics:  # fmt: skip
    """Compute the metrics of an equity curve.

    Args:
        equity: (T,) Equity at every close, T at least 2. The first value is above 0.
        fills: All fills, for turnover and hit rate.
        exposure: The value of `Metrics.exposure`.
        bars_per_year: Bars per year.
        risk_free: Risk-free rate per year.

    Returns:
        The metrics.

    Raises:
        UsageError: If the curve is too short or does not start above 0.
    """
    if len(equity) < 2 or not equity[0] > 0:
        raise UsageError(f"the equity curve has {len(equity)} bars; expected at least 2, and a first value above 0")
    returns = np.divide(equity[1:], equity[:-1], out=np.ones(len(equity) - 1), where=equity[:-1] > 0) - 1
    excess = returns - ((1 + risk_free) ** (1 / bars_per_year) - 1)
    total = float(equity[-1] / equity[0] - 1)
    yearly = float((1 + total) ** (bars_per_year / len(returns)) - 1) if total > -1 else -1.0
    deviation = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    losses = excess[excess < 0]
    enough = len(losses) >= 2 and np.count_nonzero(returns) >= 5
    below = float(losses.std(ddof=1)) if enough else 0.0
    highs = np.maximum.accumulate(equity)
    drawdown = float((1 - equity / highs).max())
    root = math.sqrt(bars_per_year)
    closed = [fill.profit > 0 for fill in fills if not fill.opened and fill.reason != "ruin"]
    traded = sum(abs(fill.units) * fill.price for fill in fills if fill.reason != "ruin")
    return Metrics(
        cumulative_return=total,
        annual_return=yearly,
        annual_volatility=deviation * root,
        sharpe=_ratio(float(excess.mean()) * root, deviation),
        sortino=_ratio(float(excess.mean()) * root, below),
        max_drawdown=drawdown,
        calmar=_ratio(yearly, drawdown),
        turnover=traded / float(equity.mean()) * bars_per_year / len(returns),
        exposure=exposure,
        hit_rate=_ratio(sum(closed), len(closed)),
    )


def _ratio(above: float, below: float) -> float:
    # Denominators at the level of rounding errors count as 0.
    return above / below if below > 1e-15 else 0.0


def baselines(
    market: Market, rules: Rules | None = None, names: Sequence[str] = tuple(STRATEGIES)
) -> Mapping[str, Metrics]:
    """Backtest the strategies in `STRATEGIES` on a market, all with the same costs.

    Args:
        market: The market.
        rules: Costs and margin rules. Default: `Rules()`.
        names: Names of the strategies. Default: all.

    Returns:
        The metrics by name of the strategy.
    """
    rules = rules or Rules()
    return {
        name: backtest_metrics(
            backtest(market, orders_from_weights(STRATEGIES[name](market)), rules),
            market,
            bars_per_year=rules.bars_per_year,
        )
        for name in names
    }
