"""Intervals and paired tests: reference values, symmetry, bounds and coverage."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kintsugi.errors import UsageError
from kintsugi.loops.measuring.statistics import (
    mcnemar,
    mcnemar_power,
    mean,
    paired_difference,
    rate,
    sign_flip,
    sign_flip_mean,
    wilson,
)
from scipy import stats

cluster = st.integers(1, 4).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
clusters = st.lists(cluster, min_size=1, max_size=30)
differences = st.lists(st.integers(-3, 3), max_size=10)


def test_rate_reference_values():
    found = rate([1] * 60 + [0] * 90, [1] * 150)
    assert (found.value, found.n, found.tasks) == (0.4, 150, 150)
    # Wilson's score interval for 40 % of 149 attempts, with t = 1.97601 in place of 1.95996.
    assert (found.low, found.high) == pytest.approx((0.324225, 0.480886), abs=1e-5)


def test_mcnemar_reference_values():
    # 2 * P(X <= 10) for X ~ Binomial(35, 1/2).
    assert mcnemar(10, 25) == pytest.approx(0.0166738478)
    assert mcnemar(0, 6) == pytest.approx(2 / 2**6)
    assert mcnemar(0, 0) == 1.0


def test_wilson_reference_values():
    assert (wilson(15, 50).low, wilson(15, 50).high) == pytest.approx((0.1910355, 0.4375035), abs=1e-7)


def test_paired_difference_reference_values():
    found = paired_difference([1] * 25 + [-1] * 10 + [0] * 100, [1] * 135)
    assert (found.low, found.high) == pytest.approx((0.024567, 0.194411), abs=1e-5)


@given(differences)
def test_sign_flip_equals_enumeration(deltas):
    flips = itertools.product((1, -1), repeat=len(deltas))
    totals = [sum(s * d for s, d in zip(signs, deltas, strict=True)) for signs in flips]
    expected = np.mean([abs(total) >= abs(sum(deltas)) for total in totals])
    assert sign_flip(deltas) == pytest.approx(expected)


@given(st.lists(st.sampled_from([-1, 0, 1]), max_size=60))
def test_sign_flip_of_single_pairs_is_mcnemar(deltas):
    assert sign_flip(deltas) == pytest.approx(mcnemar(deltas.count(-1), deltas.count(1)))


@given(st.integers(0, 50), st.integers(0, 50))
def test_tests_are_symmetric_and_bounded(a, b):
    assert mcnemar(a, b) == pytest.approx(mcnemar(b, a))
    assert 0 < mcnemar(a, b) <= 1
    assert sign_flip([a, -b]) == pytest.approx(sign_flip([-a, b]))


@given(clusters, st.randoms())
@settings(max_examples=50)
def test_rate_is_bounded_and_independent_of_order(pairs, random):
    found = rate([s for s, _ in pairs], [n for _, n in pairs])
    assert 0 <= found.low <= found.value <= found.high <= 1
    random.shuffle(pairs)
    assert rate([s for s, _ in pairs], [n for _, n in pairs]) == found


@given(clusters)
@settings(max_examples=50)
def test_difference_is_bounded(pairs):
    deltas, sizes = [2 * s - n for s, n in pairs], [n for _, n in pairs]
    found = paired_difference(deltas, sizes)
    assert -1 <= found.low <= sum(deltas) / sum(sizes) <= found.high <= 1


def test_more_attempts_at_the_same_tasks_do_not_narrow_the_interval():
    once = rate([1] * 20 + [0] * 20, [1] * 40)
    copied = rate([8] * 20 + [0] * 20, [8] * 40)
    assert (copied.low, copied.high) == (once.low, once.high)


@pytest.mark.parametrize(("successes", "value"), [(0, 0.0), (1, 1.0)])
def test_unanimous_tasks_get_wilsons_interval_with_students_quantile(successes, value):
    found, expected = rate([successes] * 20, [1] * 20), wilson(20 * successes, 20)
    assert (found.value, found.low, found.high) == pytest.approx((value, expected.low, expected.high), abs=0.02)
    assert found.low <= expected.low
    assert found.high >= expected.high


def test_one_task_says_nothing_about_others():
    assert (rate([3], [4]).low, rate([3], [4]).high) == (0.0, 1.0)
    assert (paired_difference([3], [4]).low, paired_difference([3], [4]).high) == (-1.0, 1.0)


def test_the_interval_for_equal_agents_has_a_positive_width():
    found = paired_difference([0] * 100, [1] * 100)
    assert found.low == -found.high < -0.015


def beta(rng, mean, spread, size):
    """Draw rates of tasks. With spread 0, all are equal; with 1, all are 0 or 1."""
    if spread in (0, 1):
        return np.full(size, mean) if spread == 0 else (rng.random(size) < mean).astype(float)
    return rng.beta(mean * (1 - spread) / spread, (1 - mean) * (1 - spread) / spread, size)


TRIALS = 400


@pytest.mark.parametrize("tasks", [5, 10, 20, 100])
@pytest.mark.parametrize("attempts", [1, 4])
def test_intervals_of_rates_cover(tasks, attempts):
    rng, shares = np.random.default_rng(tasks), []
    for true, spread in itertools.product((0.02, 0.1, 0.5, 0.95), (0, 0.3, 1)):
        skills = beta(rng, true, spread, (TRIALS, tasks))
        found = [rate(row.tolist(), [attempts] * tasks) for row in rng.binomial(attempts, skills)]
        shares.append(np.mean([each.low <= true <= each.high for each in found]))
    # 0.9 leaves four standard errors for the worst of the twelve settings, whose true coverage is 0.93.
    assert min(shares) > 0.9
    assert np.mean(shares) > 0.945


@pytest.mark.parametrize("tasks", [5, 10, 20, 100])
@pytest.mark.parametrize("pairs", [1, 4])
def test_intervals_of_differences_cover(tasks, pairs):
    rng, shares = np.random.default_rng(tasks), []
    for gained, lost in ((0.01, 0.01), (0.1, 0.05), (0.3, 0.1), (0.3, 0.3), (0.9, 0.0)):
        drawn = rng.random((TRIALS, tasks, pairs))
        deltas = ((drawn < gained).astype(int) - (drawn > 1 - lost)).sum(axis=2)
        found = [paired_difference(row.tolist(), [pairs] * tasks) for row in deltas]
        shares.append(np.mean([each.low <= gained - lost <= each.high for each in found]))
    assert min(shares) > 0.9
    assert np.mean(shares) > 0.945


@pytest.mark.parametrize(
    ("successes", "attempts"),
    [([], []), ([0], [0]), ([2], [1]), ([-1], [1]), ([1, 1], [1]), ([0.5], [1]), ([[1]], [[1]])],
)
def test_invalid_counts_are_refused(successes, attempts):
    with pytest.raises(UsageError, match="expected"):
        rate(successes, attempts)


def test_impossible_differences_are_refused():
    with pytest.raises(UsageError, match=r"\|difference\| <= pairs"):
        paired_difference([2], [1])
    with pytest.raises(UsageError, match="expected 0 <= successes"):
        wilson(1, 0)


def test_a_mean_and_its_interval():
    found = mean([1.0, 2.0, 3.0, 4.0])
    assert (found.value, found.n) == (2.5, 4)
    # Student's quantile for 3 degrees of freedom is 3.18245, and the standard error is 0.645497.
    assert (found.low, found.high) == pytest.approx((2.5 - 2.054260, 2.5 + 2.054260), abs=1e-5)
    assert mean([4.0, 2.0, 1.0, 3.0]) == found
    for few in ([7.0], [7.0, 7.0]):
        assert (mean(few).value, mean(few).low, mean(few).high) == (7.0, None, None)
    for wrong in ([], [1.0, float("nan")]):
        with pytest.raises(UsageError, match="expected at least one, and only finite ones"):
            mean(wrong)


@pytest.mark.parametrize("n", [2, 5, 30])
def test_intervals_of_means_cover(n):
    rng = np.random.default_rng(n)
    ends = np.array([(found.low, found.high) for found in map(mean, rng.normal(3.0, 1.0, (1000, n)))], dtype=float)
    assert 0.93 < np.mean((ends[:, 0] <= 3.0) & (ends[:, 1] >= 3.0)) < 0.97


def test_sign_flip_mean_by_hand():
    # Of the 8 sign assignments to 1, 2 and 3, only the two with equal signs reach 6.
    assert sign_flip_mean([1.0, 2.0, 3.0], seed=0) == 2 / 8
    assert sign_flip_mean([1.0, -1.0], seed=0) == 1.0
    assert sign_flip_mean([0.0, 0.0], seed=0) == 1.0
    whole = [1, 2, 3, -1, 2, 4, 1, 1]
    assert sign_flip_mean(whole, seed=0) == pytest.approx(sign_flip(whole))


def test_sampled_sign_flips_agree_with_scipy():
    values = np.random.default_rng(1).normal(0.3, 1.0, 25)
    scipys = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=20_000, rng=0)
    assert sign_flip_mean(values, seed=0) == pytest.approx(scipys.pvalue, abs=0.01)


@pytest.mark.parametrize(
    ("n", "difference", "discordant"), [(60, 0.1, 0.2), (30, 0.0, 0.5), (5, 0.3, 0.4), (40, 0.2, 0.2), (9, 0.0, 0.0)]
)
def test_power_is_the_share_of_samples_in_which_a_difference_is_shown(n, difference, discordant):
    """Exact, by adding up all tables of a trinomial distribution."""
    first, second = (discordant - difference) / 2, (discordant + difference) / 2
    tables = [(a, b, n - a - b) for b in range(n + 1) for a in range(min(b, n - b + 1)) if mcnemar(a, b) < 0.05]
    expected = sum(stats.multinomial.pmf(table, n, [first, second, 1 - first - second]) for table in tables)
    assert mcnemar_power(n, difference, discordant) == pytest.approx(expected, abs=1e-9)


def test_impossible_differences_have_no_power():
    with pytest.raises(UsageError, match="expected 0 <= difference <= discordant <= 1"):
        mcnemar_power(10, 0.3, 0.2)
