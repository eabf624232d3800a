"""Success rates with intervals, and paired tests. All functions are seeded and independent of the order of their input.

The bootstrap resamples **tasks**. Several attempts at one task (samples, training seeds) form one cluster, so more
attempts at the same tasks narrow an interval only a little. The intervals do not cover the variance between training
seeds; inspect the seeds one by one as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError

LEVEL = 0.95
"""Confidence level of all intervals."""
RESAMPLES = 10_000
"""Number of bootstrap resamples."""
_MAX_CELLS = 4_000_000
"""Maximum number of array elements that a bootstrap holds in memory."""

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
    """Number of tasks: the clusters that the bootstrap resamples."""
    level: float = LEVEL
    """Confidence level, in (0, 1)."""


def rate(
    successes: Sequence[int], attempts: Sequence[int], *, seed: int, level: float = LEVEL, resamples: int = RESAMPLES
) -> Rate:
    """Return the success rate over all attempts, with a percentile bootstrap interval that resamples whole tasks.

    If all tasks have the same rate p, the bootstrap interval would have zero width. The interval is then
    [p - u p, p + u (1 - p)], where u is Wilson's upper bound for 0 successes at as many tasks.

    Args:
        successes: Number of successes at each task.
        attempts: Number of attempts at each task. Tasks without attempts are left out.
        seed: Seed of the bootstrap.
        level: Confidence level.
        resamples: Number of bootstrap resamples.

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
    won, tried = won[tried > 0], tried[tried > 0]
    interval = _bootstrap(won, tried, 0.0, seed, level, resamples)
    return Rate(float(won.sum() / tried.sum()), interval.low, interval.high, int(tried.sum()), len(tried), level)


def paired_difference(
    differences: Sequence[int], pairs: Sequence[int], *, seed: int, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """Return a percentile bootstrap interval of the mean difference over all pairs, resampling whole tasks.

    If all tasks have the same mean difference d, the bootstrap interval would have zero width. It then assumes that a
    share u of tasks, Wilson's upper bound for 0 of the seen tasks, has difference -1 or 1:
    [d - u (d + 1), d + u (1 - d)].

    Args:
        differences: For each task, the sum of (success of the second - success of the first) over its pairs.
        pairs: Number of pairs of each task. Tasks without pairs are left out.
        seed: Seed of the bootstrap.
        level: Confidence level.
        resamples: Number of bootstrap resamples.

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
    return _bootstrap(delta[paired > 0], paired[paired > 0], -1.0, seed, level, resamples)


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
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    n: int
    """Number of values."""
    level: float = LEVEL
    """Confidence level, in (0, 1)."""


def mean(values: Sequence[float], *, seed: int, level: float = LEVEL, resamples: int = RESAMPLES) -> Mean:
    """Return the mean of independent values with a percentile bootstrap interval.

    Raises `UsageError` if there are no values, or if one is not finite.
    """
    # Sorted, so that the resamples do not depend on the order of the values.
    sample: Floats = np.sort(np.asarray(values, dtype=np.float64))
    if not sample.size or not np.isfinite(sample).all():
        raise UsageError(f"got {sample.size} values to average; expected at least one, and only finite ones")
    drawn = np.random.default_rng(seed).integers(len(sample), size=(resamples, len(sample)))
    low, high = np.quantile(sample[drawn].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    value = float(sample.mean())
    return Mean(value, min(value, float(low)), max(value, float(high)), len(sample), level)


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


def _bootstrap(sums: Ints, sizes: Ints, floor: float, seed: int, level: float, resamples: int) -> Interval:
    """Return the percentile interval of sum(sums) / sum(sizes) over resampled tasks; values lie in [floor, 1].

    Tasks with equal (sum, size) are drawn together, by a multinomial over the distinct pairs. The distribution is the
    same as for single draws, and the result does not depend on the order of the tasks.
    """
    if not len(sizes):
        raise UsageError("no task has an attempt; expected at least one task with at least one attempt")
    kinds, counts = np.unique(np.stack([sums, sizes], axis=1), axis=0, return_counts=True)
    value = float(sums.sum() / sizes.sum())
    shares = kinds[:, 0] / kinds[:, 1]
    if np.ptp(shares) == 0:
        unseen = wilson(0, len(sizes), level).high
        return Interval(value - unseen * (value - floor), value + unseen * (1 - value), level)
    rng = np.random.default_rng(seed)
    chunk = max(1, _MAX_CELLS // len(kinds))
    parts = []
    for first in range(0, resamples, chunk):
        drawn = rng.multinomial(len(sizes), counts / counts.sum(), size=min(chunk, resamples - first))
        totals = drawn @ kinds
        parts.append(totals[:, 0] / totals[:, 1])
    low, high = np.quantile(np.concatenate(parts), [(1 - level) / 2, (1 + level) / 2])
    return Interval(min(value, float(low)), max(value, float(high)), level)
