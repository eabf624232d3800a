"""Baseline strategies. Each maps a market to target weights (T, A), NaN for no order, without look-ahead."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from .features import adjusted_series
from .indicators import bollinger, rsi, sma
from .market import Floats, Market

Strategy = Callable[[Market], Floats]


def buy_and_hold(market: Market) -> Floats:
    """Buy equal weights at the first open and hold them."""
    out = np.full((len(market), market.assets), np.nan)
    out[0] = 1 / market.assets
    return out


def sma_cross(market: Market, fast: int = 10, slow: int = 20, short: bool = False) -> Floats:
    """Hold an asset while its `fast` moving average is above the `slow` one; otherwise stay out, or go short."""
    close = adjusted_series(market).close
    above, below = sma(close, fast), sma(close, slow)
    held = np.where(above > below, 1.0, -1.0 if short else 0.0)
    return _orders_on_change(np.where(np.isnan(below) | (above == below), np.nan, held), market.assets)


def bands(market: Market, n: int = 20, width: float = 2.0) -> Floats:
    """Buy below the lower Bollinger band and sell above the upper one."""
    close = adjusted_series(market).close
    lower, _, upper = bollinger(close, n, width)
    return _orders_on_change(np.where(close < lower, 1.0, np.where(close > upper, 0.0, np.nan)), market.assets)


def rsi_bounds(market: Market, n: int = 14, low: float = 30.0, high: float = 70.0) -> Floats:
    """Buy while the RSI is below `low` and sell while it is above `high`."""
    values = rsi(adjusted_series(market).close, n)
    return _orders_on_change(np.where(values < low, 1.0, np.where(values > high, 0.0, np.nan)), market.assets)


def momentum(market: Market, n: int = 20) -> Floats:
    """Hold the assets that have risen over `n` bars."""
    close = adjusted_series(market).close
    wanted = np.full_like(close, np.nan)
    wanted[n:] = np.where(close[n:] > close[:-n], 1.0, 0.0)
    return _orders_on_change(wanted, market.assets)


STRATEGIES: Mapping[str, Strategy] = {
    "buy and hold": buy_and_hold,
    "SMA cross 10/20": sma_cross,
    "Bollinger 20, 2": bands,
    "RSI 14, 30/70": rsi_bounds,
    "momentum 20": momentum,
}
"""Strategies by their name in tables."""


def _orders_on_change(wanted: Floats, assets: int) -> Floats:
    """Return orders at the bars where `wanted` changes, divided by the number of assets. NaN repeats the last value."""
    rows = np.where(np.isnan(wanted), 0, np.arange(1, len(wanted) + 1)[:, None])
    newest = np.maximum.accumulate(rows, axis=0)
    padded = np.concatenate([np.zeros((1, wanted.shape[1])), wanted])
    held = np.take_along_axis(padded, newest, axis=0)
    changed = np.diff(held, axis=0, prepend=0.0) != 0
    return np.where(changed, held / assets, np.nan)
