"""Measuring agents: scores, paired comparisons, the gate, behaviour, recovery and backtests."""

from .evaluation import Comparison, Score, compare, score
from .gain import Gain, metric_gain
from .measure import Measure, evaluate

__all__ = ["Comparison", "Gain", "Measure", "Score", "compare", "evaluate", "metric_gain", "score"]
