"""Dynamic risk management: hard rules that no agent of the desk can overrule (section "Risk management").

stop-loss = m_s^sl * sigma_d,10 and take-profit = m_s^tp * sigma_d,10, with multipliers that depend on the style s.
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


@dataclass(frozen=True)
class Limits:
    """Where a position is closed whatever anybody thinks; distances from the entry price, as fractions."""

    stop_loss: float
    take_profit: float

    def breached(self, price: float, entry: float) -> Literal["stop-loss", "take-profit"] | None:
        """Which limit of a long position bought at `entry` is reached at `price`."""
        if price <= entry * (1.0 - self.stop_loss):
            return "stop-loss"
        return "take-profit" if price >= entry * (1.0 + self.take_profit) else None


def limits(style: Style, sigma: float, config: RiskConfig) -> Limits:
    """The limits of a style at a daily volatility sigma_d,10 (a fraction)."""
    allowed = config.of(style)
    return Limits(allowed.stop_loss * sigma, allowed.take_profit * sigma)
