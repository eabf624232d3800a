"""Trading: an account in a market that it cannot see ahead."""

from .env import TradingEnv
from .market import Item, Market
from .rules import Fill, Order, Rules

__all__ = ["Fill", "Item", "Market", "Order", "Rules", "TradingEnv"]
