"""TradingGroup: a desk of five agents over one language model, and the formulas that judge it."""

from .desk import DeskConfig, TradingGroup

__all__ = ["DeskConfig", "TradingGroup"]
