"""Worlds: Gymnasium environments, one folder a family."""

from .core import AgentEnv, Snapshot, Task, TaskSet
from .registry import EnvEntry, entries, find, register_all
from .spaces import UnicodeText

__all__ = ["AgentEnv", "EnvEntry", "Snapshot", "Task", "TaskSet", "UnicodeText", "entries", "find", "register_all"]
