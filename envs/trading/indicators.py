"""Indicators of prices, each a function of the bars up to its own.

All take an array whose first axis is time, (T,) or (T, A), and return one of the same shape; a window that is not full
yet gives NaN. A value depends on the bars of its window alone (`ema` and `rsi`: on all before), bit for bit.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ...errors import UsageError

Floats = NDArray[np.float64]
ROWS = 1 << 14
"""Windows that are summed at once, so that memory stays bounded however many bars there are."""


def sma(values: Floats, n: int) -> Floats:
    """Mean of the last `n` values, from running sums: rounding errors are those of a sum of all values so far."""
    _require(n)
    out = np.full(values.shape, np.nan)
    if len(values) >= n:
        sums = np.cumsum(values, axis=0)
        out[n - 1] = sums[n - 1] / n
        np.subtract(sums[n:], sums[:-n], out=out[n:])
        out[n:] /= n
    return out


def std(values: Floats, n: int, ddof: int = 0) -> Floats:
    """Standard deviation of the last `n` values."""
    _require(n)
    out = np.full(values.shape, np.nan)
    if len(values) >= n:
        windows = sliding_window_view(values, n, axis=0)
        for first in range(0, len(windows), ROWS):
            part = windows[first : first + ROWS]
            out[first + n - 1 : first + n - 1 + len(part)] = part.std(axis=-1, ddof=ddof)
    return out


def ema(values: Floats, n: int) -> Floats:
    """Exponential mean with weight 2 / (n + 1) of the newest; begins at the first value."""
    _require(n)
    return _smooth(values, 2 / (n + 1))


def rsi(values: Floats, n: int = 14) -> Floats:
    """Wilder's relative strength index, 0 to 100; 50 where nothing moved."""
    _require(n)
    out = np.full(values.shape, np.nan)
    if len(values) <= n:
        return out
    change = np.diff(values, axis=0)
    up, down = np.maximum(change, 0), np.maximum(-change, 0)
    gain = _wilder(up, n)
    loss = _wilder(down, n)
    total = gain + loss
    out[n:] = np.divide(100 * gain, total, out=np.full(total.shape, 50.0), where=total > 0)
    return out


def atr(high: Floats, low: Floats, close: Floats, n: int = 14) -> Floats:
    """Wilder's average true range, in units of price."""
    _require(n)
    out = np.full(close.shape, np.nan)
    if len(close) > n:
        before = close[:-1]
        reach = np.maximum(high[1:], before) - np.minimum(low[1:], before)
        out[n:] = _wilder(reach, n)
    return out


def bollinger(values: Floats, n: int = 20, width: float = 2.0) -> tuple[Floats, Floats, Floats]:
    """Lower band, middle and upper band: the mean of `n` values, and `width` standard deviations around it."""
    middle, away = sma(values, n), width * std(values, n)
    return middle - away, middle, middle + away


def crossed(above: Floats, below: Floats) -> NDArray[np.bool_]:
    """Where the first goes above the second: it was below the bar before, and is above now."""
    out = np.zeros(above.shape, dtype=bool)
    out[1:] = (above[:-1] < below[:-1]) & (above[1:] > below[1:])
    return out


def _wilder(values: Floats, n: int) -> Floats:
    """Wilder's smoothing: begins with the mean of the first `n`, then 1 / n of the newest; from the `n`th value on."""
    first = values[:n].mean(axis=0, keepdims=True)
    return _smooth(np.concatenate([first, values[n:]]), 1 / n)


def _smooth(values: Floats, weight: float) -> Floats:
    """y[t] = y[t-1] + weight * (x[t] - y[t-1]), beginning at y[0] = x[0]."""
    out = np.array(values, dtype=np.float64)
    if out.ndim == 1:
        out[:] = _smooth_one(out.tolist(), weight)
    else:
        for column in range(out.shape[1]):
            out[:, column] = _smooth_one(out[:, column].tolist(), weight)
    return out


def _smooth_one(values: list[float], weight: float) -> list[float]:
    smooth = values[0] if values else 0.0
    smoothed = []
    for value in values:
        smooth += weight * (value - smooth)
        smoothed.append(smooth)
    return smoothed


def _require(n: int) -> None:
    if n < 1:
        raise UsageError(f"a window of {n} bars was asked for; expected at least 1")
