"""Environments for language-model agents, one folder per family, and what they have in common."""

from .checks import EnvCheckError, check_agent_env
from .core import AgentEnv, Snapshot, Task, TaskSet
from .registry import EnvEntry, EnvSpec, entries, find, register_all
from .spaces import UnicodeText

__all__ = [
    "AgentEnv",
    "EnvCheckError",
    "EnvEntry",
    "EnvSpec",
    "Snapshot",
    "Task",
    "TaskSet",
    "UnicodeText",
    "check_agent_env",
    "entries",
    "find",
    "register_all",
]
