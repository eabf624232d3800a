"""What the market made of a forecast or a decision (section "Data synthesis" of arXiv 2508.17565).

A label is a function of what had been realised when it is made; whoever calls these decides on when that is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .signals import Trend


@dataclass(frozen=True)
class LabelConfig:
    """beta and gamma are the paper's; what it leaves open is ours and printed with results."""

    horizon: int = 5
    """Days that a forecast is about. Unpublished."""
    alpha: float = 2.0
    """Multiplies the mean size of the last 20 daily returns. Unpublished; about the root of the horizon."""
    epsilon_min: float = 0.005
    """The least tolerance, as a fraction. Unpublished."""
    beta: float = 0.2
    """What the decision reward takes off for the market's own return."""
    gamma: float = 1.0
    """What the decision reward takes off for commission."""


def tolerance(returns: Sequence[float], config: LabelConfig) -> float:
    """Epsilon = max(alpha * mean|r_20|, epsilon_min): the size of move that counts, a fraction.

    `returns` are daily simple returns known when the forecast was made, oldest first; the last 20 count.
    """
    mean = float(np.mean(np.abs(np.asarray(returns[-20:], dtype=np.float64)))) if len(returns) else 0.0
    return max(config.alpha * mean, config.epsilon_min)


def realised(pct: float, config: LabelConfig) -> Trend:
    """What a return over the horizon was: `side` when smaller than `epsilon_min`."""
    if abs(pct) < config.epsilon_min:
        return "side"
    return "up" if pct > 0 else "down"


def w_hit(trend: Trend, probabilities: Mapping[Trend, float], pct: float, epsilon: float, config: LabelConfig) -> float:
    """w_hit = sign_ok * tanh(|pct| / epsilon) * p_true, in [0, 1).

    `pct` is the realised return over the horizon, a fraction. sign_ok is 1 when `trend` is what was realised, else 0;
    p_true is the probability that the forecast gave to what was realised.
    """
    true = realised(pct, config)
    return float(trend == true) * math.tanh(abs(pct) / epsilon) * probabilities[true]


def decision_reward(
    equity: float, equity_before: float, price: float, price_before: float, commission: float, config: LabelConfig
) -> float:
    """r_eq - beta * r_bm - gamma * c_a over the day after a decision.

    r_eq = (E_a - E_prev) / E_prev, r_bm = (P - P_prev) / P_prev, c_a = commission / E_prev; money in one currency.
    Raises `ZeroDivisionError` for an empty account.
    """
    r_eq = (equity - equity_before) / equity_before
    r_bm = (price - price_before) / price_before
    return r_eq - config.beta * r_bm - config.gamma * commission / equity_before


@dataclass(frozen=True)
class Realised:
    """What had happened by the last of some consecutive closes; everything that labels may be made of."""

    moves: Sequence[float]
    """Return of the asset from the close before to each close, with dividends."""
    equity: Sequence[float]
    """The account's worth at each close."""
    paid: Sequence[float]
    """Commission paid since the close before each close."""

    def ahead(self, at: int, days: int) -> float | None:
        """The asset's return over the `days` days after close number `at`; None while they are not over."""
        if at + days >= len(self.moves):
            return None
        return math.prod(1.0 + move for move in self.moves[at + 1 : at + 1 + days]) - 1.0

    def gain(self, at: int) -> float | None:
        """The account's return over the day after close number `at`; None while it is not over."""
        return self.equity[at + 1] / self.equity[at] - 1.0 if at + 1 < len(self.equity) else None

    def w_hit(self, at: int, trend: Trend, probabilities: Mapping[Trend, float], config: LabelConfig) -> float | None:
        """`w_hit` of a forecast made at close number `at`; None while its horizon is not over."""
        pct = self.ahead(at, config.horizon)
        if pct is None:
            return None
        return w_hit(trend, probabilities, pct, tolerance(self.moves[max(0, at - 19) : at + 1], config), config)

    def reward(self, at: int, config: LabelConfig) -> float | None:
        """`decision_reward` of a decision taken at close number `at`; None while the day after is not over."""
        if at + 1 >= len(self.equity):
            return None
        move, paid = self.moves[at + 1], self.paid[at + 1]
        return decision_reward(self.equity[at + 1], self.equity[at], 1.0 + move, 1.0, paid, config)
