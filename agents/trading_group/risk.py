"""Dynamic risk management: hard rules that no agent of the desk can overrule (section "Risk management").

stop-loss = m_s^sl * sigma_d,10 and take-profit = m_s^tp * sigma_d,10, with multipliers that depend on the style s. The
limits are set anew each day, with that day's volatility and style, and the market executes them within its bars.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Style = Literal["aggressive", "balanced", "conservative"]
STYLES: tuple[Style, ...] = ("aggressive", "balanced", "conservative")


@dataclass(frozen=True)
class StyleRisk:
    """What one style allows."""

    stop_loss: float
    """m^sl: multiplies sigma_d,10."""
    take_profit: float
    """m^tp: multiplies sigma_d,10."""
    size: float
    """Share of the account that a purchase invests, in (0, 1]."""


@dataclass(frozen=True)
class RiskConfig:
    """By style. Only the size of `conservative` is published (50 %); the other values are ours."""

    aggressive: StyleRisk = StyleRisk(stop_loss=4.0, take_profit=8.0, size=1.0)
    balanced: StyleRisk = StyleRisk(stop_loss=3.0, take_profit=6.0, size=0.75)
    conservative: StyleRisk = StyleRisk(stop_loss=2.0, take_profit=4.0, size=0.5)

    def of(self, style: Style) -> StyleRisk:
        """What `style` allows."""
        found: StyleRisk = getattr(self, style)
        return found


WITHOUT = StyleRisk(stop_loss=0.0, take_profit=0.0, size=1.0)
"""What holds where risk management is switched off."""
LEAST = 0.001
"""Limits are never nearer to the entry price, so that a price that does not move is not sold."""


@dataclass(frozen=True)
class Limits:
    """Where a position is closed whatever anybody thinks; distances from the entry price, as fractions."""

    stop_loss: float
    take_profit: float

    def __str__(self) -> str:
        return f"stop {100 * self.stop_loss:.2f}% take {100 * self.take_profit:.2f}%"


def limits(style: StyleRisk, sigma: float) -> Limits:
    """m^sl * sigma_d,10 and m^tp * sigma_d,10, for a daily volatility `sigma` (a fraction)."""
    return Limits(max(LEAST, style.stop_loss * sigma), max(LEAST, style.take_profit * sigma))
