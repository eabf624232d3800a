"""The generated task family `steps`: functions that are chains of simple steps over numbers, lists and strings."""

from .generator import SPLITS, make_task, make_tasks
from .steps import DOMAINS, STEPS, Step

__all__ = ["DOMAINS", "SPLITS", "STEPS", "Step", "make_task", "make_tasks"]
