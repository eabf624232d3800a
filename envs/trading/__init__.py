"""Trading environment: one account in a historical or simulated market, without look-ahead."""

from .env import TradingEnv
from .market import Item, Market
from .rules import Fill, Order, Rules

__all__ = ["Fill", "Item", "Market", "Order", "Rules", "TradingEnv"]
