"""Tree search over environments: many trees at once, exact instants, budgets, and a journal that survives a kill."""

from .journal import TreeLog, finished
from .mcts_star import MctsStar
from .search import search, search_async
from .search_env import PromptValue, SearchStats, ValueModel
from .tree import SearchTree
from .uct import Uct

__all__ = [
    "MctsStar",
    "PromptValue",
    "SearchStats",
    "SearchTree",
    "TreeLog",
    "Uct",
    "ValueModel",
    "finished",
    "search",
    "search_async",
]
