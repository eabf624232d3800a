"""Price features of an observation: indicators that later splits and dividends do not change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from .indicators import atr, bollinger, ema, rsi, sma, std
from .market import Floats, Market

HISTORY = 60
"""Bars before an episode that indicators may use. The longest indicator window is shorter."""


class AdjustedSeries(NamedTuple):
    """Prices and volumes (T, A) in shares of the first bar, so that splits cause no jumps. They use no later bar."""

    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    returns: Floats
    """Returns from close to close, including dividends; 0 at the first bar."""
    log_returns: Floats
    """log(1 + returns)."""


def adjusted_series(market: Market) -> AdjustedSeries:
    """Adjust prices forward: value the shares that one share of the first bar has become. Past values never change."""
    shares: Floats = np.ones_like(market.close)
    dividends: Floats | float = 0.0
    if not market.adjusted and market.splits is not None:
        shares = np.cumprod(market.splits, axis=0, dtype=np.float64)
    if not market.adjusted and market.dividends is not None:
        dividends = market.dividends
    close = market.close * shares
    returns = np.zeros_like(close)
    returns[1:] = ((market.close + dividends) * shares)[1:] / close[:-1] - 1
    volume = market.volume / shares
    return AdjustedSeries(market.high * shares, market.low * shares, close, volume, returns, np.log1p(returns))


def _return_over(n: int) -> Callable[[AdjustedSeries], Floats]:
    def change(s: AdjustedSeries) -> Floats:
        out = np.full_like(s.close, np.nan)
        sums = np.cumsum(s.log_returns, axis=0)
        out[n:] = np.expm1(sums[n:] - sums[:-n])
        return out

    return change


def _bollinger_position(s: AdjustedSeries) -> Floats:
    lower, _, upper = bollinger(s.close)
    width = upper - lower
    return np.divide(s.close - lower, width, out=np.full_like(width, 0.5), where=~(width <= 0))


def _macd_histogram(s: AdjustedSeries) -> Floats:
    line = ema(s.close, 12) - ema(s.close, 26)
    return (line - ema(line, 9)) / s.close


def _relative_volume(s: AdjustedSeries) -> Floats:
    mean = sma(np.nan_to_num(s.volume), 20)
    return np.divide(np.nan_to_num(s.volume), mean, out=np.ones_like(mean), where=mean > 0)


class Feature(NamedTuple):
    """One value per asset and bar."""

    description: str
    """Definition, unit and window."""
    neutral: float
    """Value while the window is not full."""
    compute: Callable[[AdjustedSeries], Floats]
    """Maps price series to values, (T, A)."""


FEATURES: Mapping[str, Feature] = {
    "return": Feature("return since the previous close, including dividends", 0.0, lambda s: s.returns),
    "return_5": Feature("return over 5 bars", 0.0, _return_over(5)),
    "return_20": Feature("return over 20 bars", 0.0, _return_over(20)),
    "rsi": Feature("Wilder's RSI over 14 bars, 0 to 100", 50.0, lambda s: rsi(s.close)),
    "sma_20": Feature("close / mean of 20 closes - 1", 0.0, lambda s: s.close / sma(s.close, 20) - 1),
    "sma_50": Feature("close / mean of 50 closes - 1", 0.0, lambda s: s.close / sma(s.close, 50) - 1),
    "volatility_10": Feature("standard deviation of 10 log-returns", 0.0, lambda s: std(s.log_returns, 10)),
    "volatility_20": Feature("standard deviation of 20 log-returns", 0.0, lambda s: std(s.log_returns, 20)),
    "band": Feature(
        "position in the Bollinger band (20, 2): 0 at the lower, 1 at the upper band", 0.5, _bollinger_position
    ),
    "atr": Feature("Wilder's average true range / close", 0.0, lambda s: atr(s.high, s.low, s.close) / s.close),
    "macd": Feature("histogram of MACD (12, 26, 9) / close", 0.0, _macd_histogram),
    "volume": Feature("volume / mean of 20 volumes", 1.0, _relative_volume),
}
"""Features by name, in the order of the arrays."""


def feature_table(market: Market, names: tuple[str, ...] = tuple(FEATURES)) -> Floats:
    """Return the features of every bar, (T, A, F). A bar's features depend only on the bars up to it."""
    prices = adjusted_series(market)
    out = np.empty((len(market), market.assets, len(names)))
    for number, name in enumerate(names):
        values = FEATURES[name].compute(prices)
        out[:, :, number] = np.where(np.isnan(values), FEATURES[name].neutral, values)
    return out
