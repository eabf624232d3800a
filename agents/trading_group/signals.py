"""Signals and gate of TradingGroup's forecasts (section "Stock-Forecasting" of arXiv 2508.17565)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Trend = Literal["up", "down", "side"]


def simplified_atr(volatility_20: float) -> float:
    """Return SimplifiedATR20 = 100 * sqrt(mean((r - mean r)^2)) of the last 20 log-returns, in percent.

    `volatility_20` is the environment's feature of that name, the square root in the formula. Despite its name,
    SimplifiedATR20 is the volatility of closes, not an average true range.
    """
    return 100.0 * volatility_20


def breakout_threshold(atr: float) -> float:
    """Return the breakout threshold max(1 %, 0.5 * SimplifiedATR20), in percent."""
    return max(1.0, 0.5 * atr)


@dataclass(frozen=True)
class GateConfig:
    """Thresholds of the hybrid gate. The paper publishes the rule; these values are chosen here."""

    overbought: float = 70.0
    """RSI from which the asset is overbought."""
    oversold: float = 30.0
    """RSI up to which the asset is oversold."""
    certain: float = 0.8
    """Probability from which a trend passes the gate unchanged."""


def hybrid_gate(
    trend: Trend, probability: float, rsi: float, last_return: float, threshold: float, gate: GateConfig
) -> Trend:
    """Return the trend to act on. An extreme RSI without a breakout forces `side`.

    A breakout is a move beyond `threshold`: upwards if overbought, downwards if oversold.

    Args:
        trend: Trend of the forecast.
        probability: Probability of `trend` in the forecast.
        rsi: RSI-14.
        last_return: Return of the last day in percent.
        threshold: Breakout threshold in percent.
        gate: Thresholds of the gate.
    """
    if probability >= gate.certain:
        return trend
    overbought = rsi >= gate.overbought and last_return < threshold
    oversold = rsi <= gate.oversold and last_return > -threshold
    return "side" if overbought or oversold else trend
