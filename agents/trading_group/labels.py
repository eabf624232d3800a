"""Labels of forecasts and decisions from realised outcomes (section "Data synthesis" of arXiv 2508.17565).

A label uses no realised values other than those that the caller passes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .signals import Trend


@dataclass(frozen=True)
class LabelConfig:
    """Parameters of the labels. beta and gamma are the paper's; the others are unpublished and chosen here."""

    horizon: int = 5
    """Forecast horizon in days. Unpublished."""
    alpha: float = 2.0
    """Factor on the mean absolute return of the last 20 days. Unpublished; about sqrt(horizon)."""
    epsilon_min: float = 0.005
    """Minimum of epsilon, as a fraction. Smaller moves are sideways. Unpublished."""
    beta: float = 0.2
    """Weight of the market return in the decision reward."""
    gamma: float = 1.0
    """Weight of the commission in the decision reward."""


def tolerance(returns: Sequence[float], config: LabelConfig) -> float:
    """Return epsilon = max(alpha * mean|r_20|, epsilon_min), the scale of a significant move, as a fraction.

    `returns` are the daily simple returns known when the forecast was made, oldest first. The last 20 are used.
    """
    mean = float(np.mean(np.abs(np.asarray(returns[-20:], dtype=np.float64)))) if len(returns) else 0.0
    return max(config.alpha * mean, config.epsilon_min)


def realised_trend(pct: float, config: LabelConfig) -> Trend:
    """Return the trend of `pct`, a return as a fraction: `side` if its absolute value is below `epsilon_min`."""
    if abs(pct) < config.epsilon_min:
        return "side"
    return "up" if pct > 0 else "down"


def w_hit(trend: Trend, probabilities: Mapping[Trend, float], pct: float, epsilon: float, config: LabelConfig) -> float:
    """Return w_hit = sign_ok * tanh(|pct| / epsilon) * p_true, in [0, 1].

    sign_ok is 1 if `trend` equals the realised trend, else 0. p_true is the forecast probability of the realised trend.

    Args:
        trend: Trend of the forecast.
        probabilities: Probability of each trend.
        pct: Realised return over the horizon, as a fraction.
        epsilon: Scale of a significant move (see `tolerance`).
        config: Parameters of the labels.
    """
    true = realised_trend(pct, config)
    return float(trend == true) * math.tanh(abs(pct) / epsilon) * probabilities[true]


def decision_reward(
    equity: float, equity_before: float, price: float, price_before: float, commission: float, config: LabelConfig
) -> float:
    """Return the reward r_eq - beta * r_bm - gamma * c_a of the day after a decision.

    r_eq = (E_a - E_prev) / E_prev, r_bm = (P - P_prev) / P_prev and c_a = commission / E_prev.

    Args:
        equity: E_a, equity after the day.
        equity_before: E_prev, equity before the day.
        price: P, price after the day.
        price_before: P_prev, price before the day.
        commission: Commission paid during the day, in the currency of the equity.
        config: Parameters of the labels.

    Raises:
        ZeroDivisionError: If `equity_before` or `price_before` is 0.
    """
    r_eq = (equity - equity_before) / equity_before
    r_bm = (price - price_before) / price_before
    return r_eq - config.beta * r_bm - config.gamma * commission / equity_before


@dataclass(frozen=True)
class RealisedSeries:
    """Realised values at consecutive closes: the inputs of all labels."""

    returns: Sequence[float]
    """The asset's return from the previous close to each close, including dividends."""
    equity: Sequence[float]
    """Equity of the account at each close."""
    commission: Sequence[float]
    """Commission paid between the previous close and each close."""

    def return_ahead(self, t: int, days: int) -> float | None:
        """Return the asset's return over the `days` days after close `t`; None if the series ends before."""
        if t + days >= len(self.returns):
            return None
        return math.prod(1.0 + asset_return for asset_return in self.returns[t + 1 : t + 1 + days]) - 1.0

    def account_return(self, t: int) -> float | None:
        """Return the account's return over the day after close `t`; None if the series ends before."""
        return self.equity[t + 1] / self.equity[t] - 1.0 if t + 1 < len(self.equity) else None

    def w_hit(self, t: int, trend: Trend, probabilities: Mapping[Trend, float], config: LabelConfig) -> float | None:
        """Return `w_hit` of a forecast made at close `t`; None if the series ends before its horizon."""
        pct = self.return_ahead(t, config.horizon)
        if pct is None:
            return None
        return w_hit(trend, probabilities, pct, tolerance(self.returns[max(0, t - 19) : t + 1], config), config)

    def reward(self, t: int, config: LabelConfig) -> float | None:
        """Return `decision_reward` of a decision made at close `t`; None if the series ends before the next close."""
        if t + 1 >= len(self.equity):
            return None
        asset_return, commission = self.returns[t + 1], self.commission[t + 1]
        return decision_reward(self.equity[t + 1], self.equity[t], 1.0 + asset_return, 1.0, commission, config)
