"""Success rates with intervals, and paired tests. All functions are deterministic and ignore the order of their input.

Intervals treat **tasks** as independent. Several attempts at one task (samples, training seeds) form one cluster, so
more attempts at the same tasks narrow an interval only a little. The intervals do not cover the variance between
training seeds; inspect the seeds one by one as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError

LEVEL = 0.95
"""Confidence level of all intervals."""
RATE_METHOD = "Wilson's, with tasks as clusters"
"""Method of the intervals of `rate`, for readers of tables."""
DIFFERENCE_METHOD = "Student's over tasks, adjusted as by Agresti and Min"
"""Method of the intervals of `paired_difference`."""
MEAN_METHOD = "Student's"
"""Method of the intervals of `mean`."""
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float
    level: float = LEVEL
    """Confidence level, in (0, 1)."""


@dataclass(frozen=True)
class Rate:
    """A success rate with its confidence interval."""

    value: float
    """Successes / attempts, in [0, 1]."""
    low: float
    """Lower end of the interval, in [0, value]."""
    high: float
    """Upper end of the interval, in [value, 1]."""
    n: int
    """Number of attempts."""
    tasks: int
    """Number of tasks, the clusters of the interval."""
    level: float = LEVEL
    """Confidence level, in (0, 1)."""


def rate(successes: Sequence[int], attempts: Sequence[int], *, level: float = LEVEL) -> Rate:
    """Return the success rate over all attempts, with an interval for tasks as clusters.

    Wilson's score interval at the effective number of attempts: as many independent attempts as would give the variance
    that is seen between tasks (L. Kish, Survey Sampling, 1965). Its quantile is Student's with one degree of freedom
    less than tasks. If all attempts succeeded or all failed, they count as one per task. One task alone says nothing
    about others, so its interval is [0, 1].

    Args:
        successes: Number of successes at each task.
        attempts: Number of attempts at each task. Tasks without attempts are left out.
        level: Confidence level.

    Returns:
        The rate and its interval, in [0, 1].

    Raises:
        UsageError: There is no attempt, or a task has more successes than attempts.
    """
    won, tried = _counts("successes", successes), _counts("attempts", attempts)
    if won.shape != tried.shape or (won < 0).any() or (won > tried).any():
        raise UsageError(
            f"successes are {won.tolist()[:8]} and attempts {tried.tolist()[:8]}; "
            "expected 0 <= successes <= attempts for each task"
        )
    won, tried = _with_attempts(won, tried)
    n, tasks = int(tried.sum()), len(tried)
    value = float(won.sum() / n)
    if tasks == 1:
        return Rate(value, 0.0, 1.0, n, tasks, level)
    variance = _cluster_variance(won, tried, np.ones(tasks), value)
    effective = tasks if value in (0.0, 1.0) else min(n, value * (1 - value) / variance) if variance else n
    q = _student(tasks - 1, level)
    centre = (value + q * q / (2 * effective)) / (1 + q * q / effective)
    half = q / (1 + q * q / effective) * math.sqrt(value * (1 - value) / effective + (q / (2 * effective)) ** 2)
    return Rate(value, min(value, max(0.0, centre - half)), max(value, min(1.0, centre + half)), n, tasks, level)


def paired_difference(differences: Sequence[int], pairs: Sequence[int], *, level: float = LEVEL) -> Interval:
    """Return an interval of the mean difference over all pairs, for tasks as clusters.

    Student's interval with the variance between tasks, after two tasks are added: half of one at which all pairs gain,
    half of one at which all lose, and one at which nothing changes (A. Agresti and Y. Min, Statistics in Medicine 24,
    2005, there for single pairs). Without them, few changes give an interval that is far too narrow. One task alone
    says nothing about others, so its interval is [-1, 1].

    Args:
        differences: For each task, the sum of (success of the second - success of the first) over its pairs.
        pairs: Number of pairs of each task. Tasks without pairs are left out.
        level: Confidence level.

    Returns:
        The interval, in [-1, 1].

    Raises:
        UsageError: There is no pair, or the difference of a task is larger than its number of pairs.
    """
    delta, paired = _counts("differences", differences), _counts("pairs", pairs)
    if delta.shape != paired.shape or (np.abs(delta) > paired).any():
        raise UsageError(
            f"differences are {delta.tolist()[:8]} and pairs {paired.tolist()[:8]}; "
            "expected |difference| <= pairs for each task"
        )
    delta, paired = _with_attempts(delta, paired)
    tasks, size = len(paired), float(paired.mean())
    if tasks == 1:
        return Interval(-1.0, 1.0, level)
    weights = np.array([*[1.0] * tasks, 0.5, 0.5, 1.0])
    sums, sizes = np.array([*delta, size, -size, 0.0]), np.array([*paired, size, size, size])
    centre = float((weights * sums).sum() / (weights * sizes).sum())
    half = _student(tasks - 1, level) * math.sqrt(_cluster_variance(sums, sizes, weights, centre))
    value = float(delta.sum() / paired.sum())
    return Interval(min(value, max(-1.0, centre - half)), max(value, min(1.0, centre + half)), level)


def _with_attempts(sums: Ints, sizes: Ints) -> tuple[Ints, Ints]:
    """Leave out the tasks without attempts. Raises `UsageError` if no task is left."""
    if not sizes.any():
        raise UsageError("no task has an attempt; expected at least one task with at least one attempt")
    sums, sizes = sums[sizes > 0], sizes[sizes > 0]
    # Sorted, so that rounding does not depend on the order of the tasks.
    order = np.lexsort((sums, sizes))
    return sums[order], sizes[order]


def _cluster_variance(sums: NDArray[Any], sizes: NDArray[Any], weights: Floats, ratio: float) -> float:
    """Return the variance of a ratio of two sums over tasks, by linearisation."""
    tasks = float(weights.sum())
    squares = float((weights * (sums - ratio * sizes) ** 2).sum())
    return tasks / (tasks - 1) * squares / float((weights * sizes).sum()) ** 2


def _student(degrees: int, level: float) -> float:
    # Much faster to import than scipy.stats.
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + level) / 2))


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Return Wilson's score interval for `successes` in `n` independent attempts.

    Raises `UsageError` unless 0 <= `successes` <= `n` and `n` > 0.
    """
    if not 0 <= successes <= n or n == 0:
        raise UsageError(f"got {successes} successes in {n} attempts; expected 0 <= successes <= attempts > 0")
    from scipy import stats

    found = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    return Interval(max(0.0, float(found.low)), min(1.0, float(found.high)), level)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the p-value of the exact two-sided McNemar test.

    The pairs must be independent: one per task.

    Args:
        only_first: Number of pairs in which only the first succeeded.
        only_second: Number of pairs in which only the second succeeded.

    Returns:
        The p-value; 1.0 without discordant pairs.
    """
    from scipy import stats

    total = only_first + only_second
    return float(stats.binomtest(only_first, total).pvalue) if total else 1.0


def mcnemar_power(n: int, difference: float, discordant: float, alpha: float = 0.05) -> float:
    """Return the probability that the exact McNemar test shows a difference.

    Args:
        n: Number of pairs.
        difference: True difference between the success rates, second minus first; at least 0.
        discordant: Share of pairs in which only one succeeds; at least `difference`.
        alpha: Largest p-value that shows a difference.

    Returns:
        The probability of a p-value below `alpha` and an observed difference of the right sign.
    """
    import numpy as np
    from scipy import stats

    if not 0 <= difference <= discordant <= 1:
        raise UsageError(
            f"difference is {difference} and discordant {discordant}; expected 0 <= difference <= discordant <= 1"
        )
    totals = np.arange(n + 1)
    # With `total` discordant pairs, at most `limit` of them may speak for the first.
    limit = np.asarray(stats.binom.ppf(alpha / 2, totals, 0.5))
    limit = limit - (stats.binom.cdf(limit, totals, 0.5) >= alpha / 2)
    for_first = (discordant - difference) / (2 * discordant) if discordant else 0.5
    shown = np.where(limit < 0, 0.0, stats.binom.cdf(limit, totals, for_first))
    return float(np.sum(stats.binom.pmf(totals, n, discordant) * shown))


def sign_flip(differences: Sequence[int]) -> float:
    """Return the p-value of the exact two-sided sign-flip test over tasks.

    The null hypothesis is that swapping first and second within a task changes nothing. The p-value is the share of the
    2^n swaps whose total difference is at least as large as the observed one. The distribution of the total is exact: a
    convolution of one binomial distribution per size of difference. With one pair per task, the test is McNemar's.

    Args:
        differences: For each task, the sum of (success of the second - success of the first) over its pairs.

    Returns:
        The p-value; 1.0 if all differences are 0.
    """
    from scipy import stats

    delta = _counts("differences", differences)
    sizes, counts = np.unique(np.abs(delta[delta != 0]), return_counts=True)
    if not len(sizes):
        return 1.0
    mass: Floats = np.ones(1)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        flips = np.zeros(2 * size * count + 1)
        flips[:: 2 * size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        mass = np.convolve(mass, flips)
    totals = np.arange(len(mass)) - len(mass) // 2
    return min(1.0, float(mass[np.abs(totals) >= abs(int(delta.sum()))].sum()))


@dataclass(frozen=True)
class Mean:
    """A mean with its confidence interval."""

    value: float
    low: float | None
    """Lower end of the interval. None if there are too few values for one."""
    high: float | None
    """Upper end of the interval, or None."""
    n: int
    """Number of values."""
    level: float = LEVEL
    """Confidence level, in (0, 1)."""


def mean(values: Sequence[float], *, level: float = LEVEL) -> Mean:
    """Return the mean of independent values with Student's interval. One value alone, or equal values, have none.

    Raises `UsageError` if there are no values, or if one is not finite.
    """
    # Sorted, so that rounding does not depend on the order of the values.
    sample: Floats = np.sort(np.asarray(values, dtype=np.float64))
    if not sample.size or not np.isfinite(sample).all():
        raise UsageError(f"got {sample.size} values to average; expected at least one, and only finite ones")
    n, value = len(sample), float(sample.mean())
    if np.ptp(sample) == 0:
        return Mean(value, None, None, n, level)
    half = _student(n - 1, level) * float(sample.std(ddof=1)) / math.sqrt(n)
    return Mean(value, value - half, value + half, n, level)


def sign_flip_mean(differences: Sequence[float], *, seed: int, flips: int = 100_000) -> float:
    """Return the two-sided p-value of the sign-flip test that paired differences have mean 0.

    The p-value is the share of sign assignments whose sum is at least as far from 0 as the observed sum. It is exact
    for up to 16 pairs. For more pairs, `flips` assignments are drawn, and the observed one is counted among them.
    """
    sample: Floats = np.sort(np.asarray(differences, dtype=np.float64))
    n, seen = len(sample), abs(float(sample.sum())) * (1 - 1e-12)
    if n <= 16:
        ways = (np.arange(1 << n)[:, None] >> np.arange(n) & 1) * 2.0 - 1.0
        return float((np.abs(ways @ sample) >= seen).mean())
    rng = np.random.default_rng(seed)
    ways = rng.integers(0, 2, size=(flips, n)) * 2.0 - 1.0
    return float((np.abs(ways @ sample) >= seen).sum() + 1) / (flips + 1)


def _counts(name: str, values: Sequence[int]) -> Ints:
    array: NDArray[Any] = np.asarray(values)
    if array.ndim != 1 or not (np.issubdtype(array.dtype, np.integer) or array.dtype == bool or not array.size):
        raise UsageError(f"{name} is {values!r:.80}; expected a flat sequence of whole numbers, one per task")
    return array.astype(np.int64)
