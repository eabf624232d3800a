"""Trading: a market that cannot be seen ahead."""

from .market import Item, Market

__all__ = ["Item", "Market"]
