"""Dynamic risk management: hard limits that no agent can override (section "Risk management" of arXiv 2508.17565).

stop-loss = m_s^sl * sigma_d,10 and take-profit = m_s^tp * sigma_d,10, with multipliers that depend on the style s.
Limits are updated each day with the day's volatility and style, and are executed within the next bar.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Style = Literal["aggressive", "balanced", "conservative"]
STYLES: tuple[Style, ...] = ("aggressive", "balanced", "conservative")


@dataclass(frozen=True)
class StyleRisk:
    """Risk limits of one style."""

    stop_loss: float
    """Stop-loss distance (m^sl), in units of sigma_d,10, the daily volatility of the last ten days."""
    take_profit: float
    """Take-profit distance (m^tp), in units of sigma_d,10, the daily volatility of the last ten days."""
    size: float
    """Share of the account that a purchase invests, in (0, 1]."""


@dataclass(frozen=True)
class RiskConfig:
    """Risk limits by style. Only the size of `conservative` (50 %) is published; other values are chosen here."""

    aggressive: StyleRisk = StyleRisk(stop_loss=4.0, take_profit=8.0, size=1.0)
    balanced: StyleRisk = StyleRisk(stop_loss=3.0, take_profit=6.0, size=0.75)
    conservative: StyleRisk = StyleRisk(stop_loss=2.0, take_profit=4.0, size=0.5)

    def for_style(self, style: Style) -> StyleRisk:
        """Return the limits of a style."""
        found: StyleRisk = getattr(self, style)
        return found


NO_RISK_MANAGEMENT = StyleRisk(stop_loss=0.0, take_profit=0.0, size=1.0)
"""Limits if risk management is switched off: invest the whole account."""
MIN_DISTANCE = 0.001
"""Minimum distance of a limit, as a fraction, so that a price without volatility does not trigger it."""


@dataclass(frozen=True)
class Limits:
    """Stop-loss and take-profit as distances from the entry price, as fractions."""

    stop_loss: float
    take_profit: float

    def __str__(self) -> str:
        return f"stop {100 * self.stop_loss:.2f}% take {100 * self.take_profit:.2f}%"


def limits(style: StyleRisk, sigma: float) -> Limits:
    """Return m^sl * sigma_d,10 and m^tp * sigma_d,10, for a daily volatility `sigma`, as a fraction."""
    return Limits(max(MIN_DISTANCE, style.stop_loss * sigma), max(MIN_DISTANCE, style.take_profit * sigma))
