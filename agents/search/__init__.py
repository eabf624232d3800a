"""Tree search over environments: many trees at once, exact instants, budgets, and a journal that survives a kill."""

from .instants import PromptValue, Tally, ValueModel
from .journal import TreeLog, finished
from .mcts_star import MctsStar
from .search import search, search_async
from .tree import SearchTree
from .uct import Uct

__all__ = [
    "MctsStar",
    "PromptValue",
    "SearchTree",
    "Tally",
    "TreeLog",
    "Uct",
    "ValueModel",
    "finished",
    "search",
    "search_async",
]
