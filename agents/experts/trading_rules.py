"""Rule-based baseline agents for `kintsugi/Trading-v0` with one asset.

They use the same information and orders as the desk: they decide at a day's close and are filled at the next open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...envs.trading.features import FEATURES
from ..core import Episode, RuleAgent
from ..trajectory import Step

Features = Mapping[str, float]
"""Values of `FEATURES` by name."""


class HoldingRule(RuleAgent):
    """An agent that invests the whole account or nothing."""

    def __init__(self, name: str, should_hold: Callable[[Features, bool], bool]) -> None:
        """Create the agent.

        Args:
            name: Name of the agent.
            should_hold: Maps the day's features, and whether the asset is held, to whether it should be held.
        """
        self.name = name
        self.should_hold = should_hold

    async def act(self, episode: Episode) -> Step:
        """Buy, sell or hold, according to `should_hold`."""
        features = dict(zip(FEATURES, map(float, episode.info["arrays"]["features"][0]), strict=True))
        held = episode.info["account"].units[0] > 0
        should_hold = self.should_hold(features, held)
        action = "hold" if should_hold == held else "target 1" if should_hold else "sell all"
        return Step(episode.observation, "", action)


def _sma_cross(features: Features, held: bool) -> bool:
    # Both features are close / mean - 1, so the lower feature belongs to the higher mean.
    return features["sma_20"] < features["sma_50"]


def _bollinger(features: Features, held: bool) -> bool:
    return features["band"] <= 0.0 or (held and features["band"] < 1.0)


BUY_AND_HOLD = HoldingRule("buy-and-hold", lambda features, held: True)
SMA_CROSS = HoldingRule("sma-cross", _sma_cross)
"""Holds while the 20-day mean is above the 50-day mean."""
BOLLINGER = HoldingRule("bollinger", _bollinger)
"""Buys below the lower Bollinger band (20 days, 2 standard deviations) and sells above the upper one."""
RULES = (BUY_AND_HOLD, SMA_CROSS, BOLLINGER)
