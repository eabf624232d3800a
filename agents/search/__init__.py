"""Tree search over any environment: many trees in parallel, budgets, and logs from which a killed search resumes."""

from .mcts_star import MctsStar
from .search import search, search_async
from .search_env import PromptValue, SearchStats, ValueModel
from .tree import SearchTree
from .tree_log import TreeLog, finished_trees
from .uct import Uct

__all__ = [
    "MctsStar",
    "PromptValue",
    "SearchStats",
    "SearchTree",
    "TreeLog",
    "Uct",
    "ValueModel",
    "finished_trees",
    "search",
    "search_async",
]
