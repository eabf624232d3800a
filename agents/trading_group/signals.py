"""The numbers that TradingGroup's forecasts stand on (section "Stock-Forecasting" of arXiv 2508.17565).

All functions take closes up to now, oldest first, and look at the last of them only as far back as they say. They raise
`ValueError` for fewer closes than that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Closes = Sequence[float] | NDArray[np.float64]
Trend = Literal["up", "down", "side"]
MEMORY = 21
"""Closes that a view must hold for every signal here."""


def log_returns(close: Closes, n: int) -> NDArray[np.float64]:
    """The last `n` log-returns from close to close."""
    last = np.asarray(close, dtype=np.float64)[-(n + 1) :]
    if len(last) < n + 1:
        raise ValueError(f"{n} returns need {n + 1} closes, there are {len(last)}")
    return np.diff(np.log(last))


def rsi(close: Closes, n: int = 14) -> float:
    """Relative strength index in [0, 100] of the last `n` changes, each weighing the same (Cutler's); 50 without any
    change.
    """
    last = np.asarray(close, dtype=np.float64)[-(n + 1) :]
    if len(last) < n + 1:
        raise ValueError(f"RSI-{n} needs {n + 1} closes, there are {len(last)}")
    change = np.diff(last)
    gain, loss = float(change[change > 0].sum()), float(-change[change < 0].sum())
    return 100.0 * gain / (gain + loss) if gain + loss else 50.0


def deviation_from_sma(close: Closes, n: int = 20) -> float:
    """How far the last close is above the mean of the last `n`, in %."""
    last = np.asarray(close, dtype=np.float64)[-n:]
    if len(last) < n:
        raise ValueError(f"SMA-{n} needs {n} closes, there are {len(last)}")
    return 100.0 * (float(last[-1]) / float(last.mean()) - 1.0)


def simplified_atr(close: Closes, n: int = 20) -> float:
    """SimplifiedATR20 = 100 * sqrt(mean((r - mean r)^2)) of the last `n` log-returns, in %.

    In spite of its name it is no average true range but the volatility of closes.
    """
    r = log_returns(close, n)
    return 100.0 * math.sqrt(float(np.mean((r - r.mean()) ** 2)))


def daily_sigma(close: Closes, n: int = 10) -> float:
    """sigma_d,10: the standard deviation (divisor n) of the last `n` daily log-returns, as a fraction."""
    return float(np.std(log_returns(close, n)))


def breakout_threshold(atr: float) -> float:
    """max(1 %, 0.5 * SimplifiedATR20), in %."""
    return max(1.0, 0.5 * atr)


@dataclass(frozen=True)
class GateConfig:
    """The hybrid gate. The paper gives the rule; these values are unpublished and ours."""

    overbought: float = 70.0
    """RSI from which on it is extreme."""
    oversold: float = 30.0
    """RSI down to which it is extreme."""
    certain: float = 0.8
    """A trend whose probability is at least so high passes the gate."""


def hybrid_gate(trend: Trend, probability: float, rsi: float, move: float, threshold: float, gate: GateConfig) -> Trend:
    """The trend that is acted on: an extreme RSI without a breakout forces `side`.

    `move` is the last day's change and `threshold` the breakout's, both in %. A breakout is a move that way: up when
    overbought, down when oversold. `probability` is the forecast's own of `trend`.
    """
    if probability >= gate.certain:
        return trend
    tired = rsi >= gate.overbought and move < threshold
    drained = rsi <= gate.oversold and move > -threshold
    return "side" if tired or drained else trend
