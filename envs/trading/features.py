"""What an observation tells of the prices: indicators that no later split or dividend changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from .indicators import atr, bollinger, ema, rsi, sma, std
from .market import Floats, Market

HISTORY = 60
"""Bars before an episode that its indicators know; the longest window is shorter."""


class Series(NamedTuple):
    """Prices (T, A) in the shares of the first bar, so that a split is no jump; each known at its bar."""

    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    returns: Floats
    """From close to close, with dividends; 0 at the first bar."""
    logs: Floats
    """log(1 + returns)."""


def series(market: Market) -> Series:
    """Forward adjustment: what one share of the first bar has become by each bar. The past is never rescaled."""
    shares: Floats = np.ones_like(market.close)
    paid: Floats | float = 0.0
    if not market.adjusted and market.splits is not None:
        shares = np.cumprod(market.splits, axis=0, dtype=np.float64)
    if not market.adjusted and market.dividends is not None:
        paid = market.dividends
    close = market.close * shares
    returns = np.zeros_like(close)
    returns[1:] = ((market.close + paid) * shares)[1:] / close[:-1] - 1
    volume = market.volume / shares
    return Series(market.high * shares, market.low * shares, close, volume, returns, np.log1p(returns))


def _over(n: int) -> Callable[[Series], Floats]:
    def change(s: Series) -> Floats:
        out = np.full_like(s.close, np.nan)
        sums = np.cumsum(s.logs, axis=0)
        out[n:] = np.expm1(sums[n:] - sums[:-n])
        return out

    return change


def _band(s: Series) -> Floats:
    lower, _, upper = bollinger(s.close)
    width = upper - lower
    return np.divide(s.close - lower, width, out=np.full_like(width, 0.5), where=~(width <= 0))


def _macd(s: Series) -> Floats:
    line = ema(s.close, 12) - ema(s.close, 26)
    return (line - ema(line, 9)) / s.close


def _volume(s: Series) -> Floats:
    mean = sma(np.nan_to_num(s.volume), 20)
    return np.divide(np.nan_to_num(s.volume), mean, out=np.ones_like(mean), where=mean > 0)


class Feature(NamedTuple):
    """One number about one asset at one bar."""

    about: str
    """Unit and window."""
    neutral: float
    """What stands where the window is not full."""
    of: Callable[[Series], Floats]


FEATURES: Mapping[str, Feature] = {
    "return": Feature("from the close before, with dividends", 0.0, lambda s: s.returns),
    "return_5": Feature("over 5 bars", 0.0, _over(5)),
    "return_20": Feature("over 20 bars", 0.0, _over(20)),
    "rsi": Feature("Wilder's, 14 bars, 0 to 100", 50.0, lambda s: rsi(s.close)),
    "sma_20": Feature("close over its mean of 20 bars, less 1", 0.0, lambda s: s.close / sma(s.close, 20) - 1),
    "sma_50": Feature("the same of 50 bars", 0.0, lambda s: s.close / sma(s.close, 50) - 1),
    "volatility_10": Feature("standard deviation of 10 log-returns", 0.0, lambda s: std(s.logs, 10)),
    "volatility_20": Feature("of 20 log-returns", 0.0, lambda s: std(s.logs, 20)),
    "band": Feature("place in the Bollinger band (20, 2): 0 lower, 1 upper edge", 0.5, _band),
    "atr": Feature("Wilder's average true range over close", 0.0, lambda s: atr(s.high, s.low, s.close) / s.close),
    "macd": Feature("histogram of MACD (12, 26, 9) over close", 0.0, _macd),
    "volume": Feature("over its mean of 20 bars", 1.0, _volume),
}
"""By name, in the order of the arrays."""


def table(market: Market, names: tuple[str, ...] = tuple(FEATURES)) -> Floats:
    """The features of every bar, (T, A, F); those of a bar depend on it and the bars before alone."""
    prices = series(market)
    out = np.empty((len(market), market.assets, len(names)))
    for number, name in enumerate(names):
        values = FEATURES[name].of(prices)
        out[:, :, number] = np.where(np.isnan(values), FEATURES[name].neutral, values)
    return out
