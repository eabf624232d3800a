"""Household environment: ALFWorld's text world in pure Python."""

from .env import HouseholdEnv
from .game import Game, Object, Receptacle
from .goals import TASK_TYPES, Goal, read_goal

__all__ = ["TASK_TYPES", "Game", "Goal", "HouseholdEnv", "Object", "Receptacle", "read_goal"]
