"""What attempts are worth: scores, comparisons, the gate, behaviour, recovery, backtests."""

from .evaluation import Comparison, Score, compare, score
from .gain import Gain, gain
from .measure import Measure, evaluate

__all__ = ["Comparison", "Gain", "Measure", "Score", "compare", "evaluate", "gain", "score"]
