"""Self-improvement loops: one module per loop, and the parts that they share."""

from .learning.training_data import TrainingData
from .registry import Loop, LoopConfig
from .run import Attempts, Practice, Run, job
from .runs.stages import Stage

__all__ = ["Attempts", "Loop", "LoopConfig", "Practice", "Run", "Stage", "TrainingData", "job"]
