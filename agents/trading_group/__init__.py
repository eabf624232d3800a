"""TradingGroup: a trading desk of five roles over one language model, with the paper's formulas."""

from .desk import DeskConfig, TradingGroup

__all__ = ["DeskConfig", "TradingGroup"]
