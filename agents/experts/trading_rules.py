"""Rules that need no model, as agents of `kintsugi/Trading-v0` with one asset: what a desk is compared with.

They act on the same information and through the same orders as the desk: on a day's close, filled at the next open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...envs.trading.features import FEATURES
from ..core import Episode, RuleAgent
from ..trajectory import Step

Features = Mapping[str, float]
"""`FEATURES` of the day by name."""


class HoldingRule(RuleAgent):
    """Holds all or nothing."""

    def __init__(self, name: str, wanted: Callable[[Features, bool], bool]) -> None:
        """`wanted` says whether the asset is to be held, by the day's features and whether it is held now."""
        self.name = name
        self.wanted = wanted

    async def act(self, episode: Episode) -> Step:
        """Buy, sell or hold."""
        features = dict(zip(FEATURES, map(float, episode.info["arrays"]["features"][0]), strict=True))
        held = episode.info["account"].units[0] > 0
        wanted = self.wanted(features, held)
        action = "hold" if wanted == held else "target 1" if wanted else "sell all"
        return Step(episode.observation, "", action)


def _crossed(features: Features, held: bool) -> bool:
    # Both features are close / mean - 1, so the shorter mean is the higher one where its feature is the lower one.
    return features["sma_20"] < features["sma_50"]


def _outside(features: Features, held: bool) -> bool:
    return features["band"] <= 0.0 or (held and features["band"] < 1.0)


BUY_AND_HOLD = HoldingRule("buy-and-hold", lambda features, held: True)
SMA_CROSS = HoldingRule("sma-cross", _crossed)
"""Holds while the mean of 20 days is above that of 50."""
BOLLINGER = HoldingRule("bollinger", _outside)
"""Buys below the lower band (20 days, 2 deviations) and sells above the upper one."""
RULES = (BUY_AND_HOLD, SMA_CROSS, BOLLINGER)
