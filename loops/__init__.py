"""The mending: one loop a file, and what the loops share."""

from .learning.lessons import Lessons
from .registry import Loop, LoopConfig
from .run import Attempts, Practice, Run, job
from .runs.stages import Stage

__all__ = ["Attempts", "Lessons", "Loop", "LoopConfig", "Practice", "Run", "Stage", "job"]
