"""The code environment: programming tasks whose solutions run in a sandbox."""

from .env import CodeEnv
from .problem import Call, Problem

__all__ = ["Call", "CodeEnv", "Problem"]
