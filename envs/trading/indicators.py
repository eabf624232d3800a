"""Technical indicators without look-ahead.

All functions take arrays whose first axis is time, (T,) or (T, A), and return arrays of the same shape. Values are NaN
while the window is not full. A value depends only on the bars of its window; those of the recursive indicators `ema`,
`rsi` and `atr` depend on all bars so far.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ...errors import UsageError

Floats = NDArray[np.float64]
BLOCK_ROWS = 1 << 14
"""Number of windows processed at once, which bounds memory for any number of bars."""


def sma(values: Floats, n: int) -> Floats:
    """Return the mean of the last `n` values, computed from cumulative sums with their rounding errors."""
    _require_window(n)
    out = np.full(values.shape, np.nan)
    if len(values) >= n:
        sums = np.cumsum(values, axis=0)
        out[n - 1] = sums[n - 1] / n
        np.subtract(sums[n:], sums[:-n], out=out[n:])
        out[n:] /= n
    return out


def std(values: Floats, n: int, ddof: int = 0) -> Floats:
    """Return the standard deviation of the last `n` values."""
    _require_window(n)
    out = np.full(values.shape, np.nan)
    if len(values) >= n:
        windows = sliding_window_view(values, n, axis=0)
        for first in range(0, len(windows), BLOCK_ROWS):
            part = windows[first : first + BLOCK_ROWS]
            out[first + n - 1 : first + n - 1 + len(part)] = part.std(axis=-1, ddof=ddof)
    return out


def ema(values: Floats, n: int) -> Floats:
    """Return the exponential moving average with weight 2 / (n + 1), started at the first value."""
    _require_window(n)
    return _smooth(values, 2 / (n + 1))


def rsi(values: Floats, n: int = 14) -> Floats:
    """Return Wilder's relative strength index, in [0, 100]; 50 if the values do not move."""
    _require_window(n)
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
    """Return Wilder's average true range, in units of price."""
    _require_window(n)
    out = np.full(close.shape, np.nan)
    if len(close) > n:
        before = close[:-1]
        true_range = np.maximum(high[1:], before) - np.minimum(low[1:], before)
        out[n:] = _wilder(true_range, n)
    return out


def bollinger(values: Floats, n: int = 20, width: float = 2.0) -> tuple[Floats, Floats, Floats]:
    """Return the lower, middle and upper band: the mean of `n` values, and `width` standard deviations around it."""
    middle, half_width = sma(values, n), width * std(values, n)
    return middle - half_width, middle, middle + half_width


def crossed_above(first: Floats, second: Floats) -> NDArray[np.bool_]:
    """Return where `first` crosses above `second`: it was below at the previous bar and is above now."""
    out = np.zeros(first.shape, dtype=bool)
    out[1:] = (first[:-1] < second[:-1]) & (first[1:] > second[1:])
    return out


def _wilder(values: Floats, n: int) -> Floats:
    """Return Wilder's smoothing from the `n`th value on: weight 1 / n, started at the mean of the first `n` values."""
    first = values[:n].mean(axis=0, keepdims=True)
    return _smooth(np.concatenate([first, values[n:]]), 1 / n)


def _smooth(values: Floats, weight: float) -> Floats:
    """Return y with y[0] = x[0] and y[t] = y[t-1] + weight * (x[t] - y[t-1])."""
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


def _require_window(n: int) -> None:
    if n < 1:
        raise UsageError(f"the window is {n} bars; expected at least 1")
