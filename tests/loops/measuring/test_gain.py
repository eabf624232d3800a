"""Gains computed by hand: for success they equal a comparison, for other metrics the mean metric difference."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.trajectory import Step, Trajectory
from kintsugi.errors import InfraError, UsageError
from kintsugi.loops.measuring.evaluation import compare
from kintsugi.loops.measuring.gain import metric_gain
from loop_envs import Greenhouse
from small_runs import make_task, make_trajectory
from tiny_envs import Echo


def attempts(*rewards: tuple[float, ...], broken: tuple[int, ...] = (), sample: int = 0) -> list[Trajectory]:
    """One attempt per task with these rewards; it succeeds if the last reward is above 1."""
    made = []
    for number, each in enumerate(rewards):
        steps = tuple(Step("o", "", "a", reward) for reward in each)
        outcome = "infra_error" if number in broken else "success" if each[-1] > 1 else "failure"
        made.append(make_trajectory(make_task(number), False, steps=steps, outcome=outcome, sample=sample))
    return made


ONE = attempts((0.5, 0.5), (1.5,), (0.5, 1.5), (1.5,))
TWO = attempts((0.5, 1.5), (0.5, 1.5), (1.5,), (1.5,))


def test_gain_in_success_equals_the_comparison():
    found, expected = metric_gain(ONE, TWO, Echo, names=("old", "new")), compare(ONE, TWO)
    assert (found.a, found.b, found.metric, found.taskset) == ("old", "new", "success", expected.taskset)
    assert (found.mean, found.p, found.test) == (expected.difference, expected.p, "exact McNemar")
    assert (found.mean, found.p) == (0.25, 1.0)
    assert (found.low, found.high, found.level) == (expected.low, expected.high, expected.level)
    assert (found.n, found.dropped) == (4, 0)


def test_gain_in_another_metric_is_the_mean_metric_difference():
    """The metric changes by 0.5, -0.75, 0.75 and 0."""
    found = metric_gain(ONE, TWO, Greenhouse)
    assert (found.metric, found.test, found.n, found.dropped) == ("return", "sign-flip by pair", 4, 0)
    assert found.mean == pytest.approx((0.5 - 0.75 + 0.75 + 0.0) / 4)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.mean < found.high
    assert found.p == 1.0, "every sign assignment gives a sum of 0.5 or more"
    better = metric_gain(ONE, attempts((0.5, 1.5), (1.5,), (1.5,), (1.5,)), Greenhouse)
    assert (better.mean, better.p) == (pytest.approx((0.5 + 0.75) / 4), 2 / 4)


def test_pairs_share_task_and_sample_in_any_order():
    again = attempts((1.5,), (0.5, 0.5), (1.5,), (1.5,), sample=1)
    found = metric_gain([*ONE, *again], [*again, *TWO][::-1], Greenhouse)
    assert found.mean == pytest.approx(metric_gain(ONE, TWO, Greenhouse).mean / 2)
    assert found.n == 8


def test_infra_failures_are_excluded_on_both_sides():
    broken = attempts((0.5, 0.5), (1.5,), (0.5, 1.5), (1.5,), broken=(1,))
    for env, mean in ((Greenhouse, (0.5 + 0.75 + 0.0) / 3), (Echo, 1 / 3)):
        found = metric_gain(broken, TWO, env)
        assert (found.n, found.dropped, found.mean) == (3, 1, pytest.approx(mean))
        assert metric_gain(TWO, broken, env).mean == pytest.approx(-mean)
    with pytest.raises(InfraError, match="ended all 4 pairs"):
        metric_gain(ONE, [replace(t, outcome="infra_error") for t in TWO], Greenhouse)


def test_different_tasks_are_refused():
    with pytest.raises(UsageError, match="which share 3"):
        metric_gain(ONE, TWO[:3], Greenhouse)


@given(st.lists(st.tuples(st.sampled_from([0.5, 1.5]), st.sampled_from([0.5, 1.5])), min_size=1, max_size=9))
def test_swapping_the_agents_negates_the_gain(ends):
    a, b = attempts(*((one,) for one, _ in ends)), attempts(*((two,) for _, two in ends))
    for env in (Echo, Greenhouse):
        forward, backward = metric_gain(a, b, env), metric_gain(b, a, env)
        assert forward.mean == -backward.mean
        assert forward.p == pytest.approx(backward.p)
        assert forward.mean == pytest.approx(sum((two > 1) - (one > 1) for one, two in ends) / len(ends))
