"""Success rates with intervals, and paired tests: numpy and scipy, seeded, blind to the order of their input.

The unit that is drawn is the **task**. Several attempts at one task (samples, training seeds) are one cluster, so more
attempts narrow an interval only as far as they say something new about tasks. What varies between training seeds
beyond that is not in the interval: look at the seeds one by one as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError

LEVEL = 0.95
"""How often the intervals should hold the truth."""
RESAMPLES = 10_000
"""Bootstrap draws."""
_CELLS = 4_000_000
"""Numbers that a bootstrap holds in memory at once."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """What the truth is likely to lie between."""

    low: float
    high: float
    level: float = LEVEL


@dataclass(frozen=True)
class Rate:
    """A success rate and how sure it is."""

    value: float
    """Successes / attempts, in [0, 1]."""
    low: float
    """Lower end of the interval, in [0, value]."""
    high: float
    """Upper end of the interval, in [value, 1]."""
    n: int
    """Attempts that count."""
    tasks: int
    """Tasks that they were made at: the clusters that the bootstrap draws."""
    level: float = LEVEL


def rate(
    successes: Sequence[int], attempts: Sequence[int], *, seed: int, level: float = LEVEL, resamples: int = RESAMPLES
) -> Rate:
    """The success rate over all attempts, with the percentile bootstrap interval of whole tasks drawn again.

    `successes[i]` of the `attempts[i]` at task i succeeded; tasks without attempts are left out. Where all tasks agree
    there is nothing to draw again: the interval then is Wilson's, with tasks as the sample. Raises `UsageError` when
    there is no attempt at all, or when a task has more successes than attempts.
    """
    won, tried = _counts("successes", successes), _counts("attempts", attempts)
    if won.shape != tried.shape or (won < 0).any() or (won > tried).any():
        raise UsageError(
            f"successes {won.tolist()[:8]} and attempts {tried.tolist()[:8]} do not fit: "
            "expected 0 <= successes <= attempts for each task"
        )
    won, tried = won[tried > 0], tried[tried > 0]
    interval = _bootstrap(won, tried, 0.0, seed, level, resamples)
    return Rate(float(won.sum() / tried.sum()), interval.low, interval.high, int(tried.sum()), len(tried), level)


def paired_difference(
    differences: Sequence[int], pairs: Sequence[int], *, seed: int, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """Interval of the mean difference over all pairs, in [-1, 1], by a percentile bootstrap of whole tasks.

    `differences[i]` is the sum over the `pairs[i]` pairs of task i of (success of the second - success of the first).
    Where all tasks differ alike, the interval covers what the share of tasks not seen could do (Wilson). Raises
    `UsageError` when there is no pair.
    """
    delta, paired = _counts("differences", differences), _counts("pairs", pairs)
    if delta.shape != paired.shape or (np.abs(delta) > paired).any():
        raise UsageError(
            f"differences {delta.tolist()[:8]} and pairs {paired.tolist()[:8]} do not fit: "
            "expected |difference| <= pairs for each task"
        )
    return _bootstrap(delta[paired > 0], paired[paired > 0], -1.0, seed, level, resamples)


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Wilson's score interval for `successes` of `n` independent attempts; `UsageError` when that is no rate."""
    if not 0 <= successes <= n or n == 0:
        raise UsageError(f"{successes} successes in {n} attempts is no rate; expected 0 <= successes <= attempts > 0")
    from scipy import stats

    found = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    return Interval(max(0.0, float(found.low)), min(1.0, float(found.high)), level)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided McNemar test: the p-value of these discordant pairs if both were equally good.

    Pairs must be independent: one a task. 1.0 when no pair is discordant.
    """
    from scipy import stats

    total = only_first + only_second
    return float(stats.binomtest(only_first, total).pvalue) if total else 1.0


def sign_flip(differences: Sequence[int]) -> float:
    """Exact two-sided sign-flip test: the share of the 2^n ways to swap first and second within whole tasks that end
    in a total difference at least as large as the one seen.

    `differences[i]` is the sum of the pair differences of task i. With one pair a task it is the exact McNemar test.
    Nothing is sampled: the distribution of the total is convolved from one binomial for each size of difference.
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
    """A mean of real numbers and how sure it is."""

    value: float
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    n: int
    level: float = LEVEL


def mean(values: Sequence[float], *, seed: int, level: float = LEVEL, resamples: int = RESAMPLES) -> Mean:
    """The mean of independent `values` with a percentile bootstrap interval; `UsageError` without any."""
    # Sorted, so that the order of the values cannot matter to what is drawn.
    sample: Floats = np.sort(np.asarray(values, dtype=np.float64))
    if not sample.size or not np.isfinite(sample).all():
        raise UsageError(f"the mean of {sample.size} values was asked for; expected one or more, all of them finite")
    drawn = np.random.default_rng(seed).integers(len(sample), size=(resamples, len(sample)))
    low, high = np.quantile(sample[drawn].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    value = float(sample.mean())
    return Mean(value, min(value, float(low)), max(value, float(high)), len(sample), level)


def sign_flip_mean(differences: Sequence[float], *, seed: int, flips: int = 100_000) -> float:
    """Two-sided sign-flip test that paired `differences` have the mean 0: how many of the ways to swap first and second
    end at least as far from 0.

    Exact up to 16 pairs; beyond, `flips` ways are drawn and the one seen counts among them.
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
        raise UsageError(f"{name} is {values!r:.80}; expected a flat sequence of whole numbers, one a task")
    return array.astype(np.int64)


def _bootstrap(sums: Ints, sizes: Ints, floor: float, seed: int, level: float, resamples: int) -> Interval:
    """Percentile interval of sum(sums) / sum(sizes) when tasks are drawn with replacement; values lie in [floor, 1].

    Tasks that look alike are drawn together, by a multinomial over the kinds of task: the same distribution, and the
    order of the tasks cannot matter.
    """
    if not len(sizes):
        raise UsageError("no attempt counts, so there is no rate; expected at least one task with one attempt")
    kinds, counts = np.unique(np.stack([sums, sizes], axis=1), axis=0, return_counts=True)
    value = float(sums.sum() / sizes.sum())
    shares = kinds[:, 0] / kinds[:, 1]
    if np.ptp(shares) == 0:
        unseen = wilson(0, len(sizes), level).high
        return Interval(value - unseen * (value - floor), value + unseen * (1 - value), level)
    rng = np.random.default_rng(seed)
    chunk = max(1, _CELLS // len(kinds))
    parts = []
    for first in range(0, resamples, chunk):
        drawn = rng.multinomial(len(sizes), counts / counts.sum(), size=min(chunk, resamples - first))
        totals = drawn @ kinds
        parts.append(totals[:, 0] / totals[:, 1])
    low, high = np.quantile(np.concatenate(parts), [(1 - level) / 2, (1 + level) / 2])
    return Interval(min(value, float(low)), max(value, float(high)), level)
