"""The rules that TradingGroup's forecasts stand on (section "Stock-Forecasting" of arXiv 2508.17565)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Trend = Literal["up", "down", "side"]


def simplified_atr(volatility_20: float) -> float:
    """SimplifiedATR20 = 100 * sqrt(mean((r - mean r)^2)) of the last 20 log-returns, in %.

    `volatility_20` is the root: the world's feature of that name. In spite of its own name, SimplifiedATR20 is no
    average true range but the volatility of closes.
    """
    return 100.0 * volatility_20


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
