"""Gains by hand: by success they are those of a comparison, by another metric those of what attempts are worth."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.trajectory import Step, Trajectory
from kintsugi.errors import InfraError, UsageError
from kintsugi.loops.measuring.evaluation import compare
from kintsugi.loops.measuring.gain import gain
from loop_envs import Greenhouse
from small_runs import make_task, make_trajectory
from tiny_envs import Echo


def attempts(*rewards: tuple[float, ...], broken: tuple[int, ...] = (), sample: int = 0) -> list[Trajectory]:
    """One attempt a task, with these rewards; success where the last of them is above 1."""
    made = []
    for number, each in enumerate(rewards):
        steps = tuple(Step("o", "", "a", reward) for reward in each)
        outcome = "infra_error" if number in broken else "success" if each[-1] > 1 else "failure"
        made.append(make_trajectory(make_task(number), False, steps=steps, outcome=outcome, sample=sample))
    return made


ONE = attempts((0.5, 0.5), (1.5,), (0.5, 1.5), (1.5,))
TWO = attempts((0.5, 1.5), (0.5, 1.5), (1.5,), (1.5,))


def test_by_success_it_is_the_comparison():
    found, wanted = gain(ONE, TWO, Echo, names=("old", "new")), compare(ONE, TWO)
    assert (found.a, found.b, found.metric, found.taskset) == ("old", "new", "success", wanted.taskset)
    assert (found.mean, found.p, found.test) == (wanted.difference, wanted.p, "exact McNemar")
    assert (found.mean, found.p) == (0.25, 1.0)
    assert (found.low, found.high, found.level) == (wanted.low, wanted.high, wanted.level)
    assert (found.n, found.dropped) == (4, 0)


def test_by_another_metric_it_is_the_mean_of_the_differences_in_worth():
    """-0.75 to -0.25, 0.5 to -0.25, -0.25 to 0.5, and 0.5 to 0.5."""
    found = gain(ONE, TWO, Greenhouse)
    assert (found.metric, found.test, found.n, found.dropped) == ("return", "sign-flip by pair", 4, 0)
    assert found.mean == pytest.approx((0.5 - 0.75 + 0.75 + 0.0) / 4)
    assert found.low < found.mean < found.high
    assert found.p == 1.0, "however the differences are flipped, they come to 0.5 or more"
    better = gain(ONE, attempts((0.5, 1.5), (1.5,), (1.5,), (1.5,)), Greenhouse)
    assert (better.mean, better.p) == (pytest.approx((0.5 + 0.75) / 4), 2 / 4)


def test_pairs_are_of_one_task_and_sample_whatever_the_order():
    again = attempts((1.5,), (0.5, 0.5), (1.5,), (1.5,), sample=1)
    found = gain([*ONE, *again], [*again, *TWO][::-1], Greenhouse)
    assert found.mean == pytest.approx(gain(ONE, TWO, Greenhouse).mean / 2)
    assert found.n == 8


def test_infra_errors_are_left_out_of_both_sides():
    broken = attempts((0.5, 0.5), (1.5,), (0.5, 1.5), (1.5,), broken=(1,))
    for env, mean in ((Greenhouse, (0.5 + 0.75 + 0.0) / 3), (Echo, 1 / 3)):
        found = gain(broken, TWO, env)
        assert (found.n, found.dropped, found.mean) == (3, 1, pytest.approx(mean))
        assert gain(TWO, broken, env).mean == pytest.approx(-mean)
    with pytest.raises(InfraError, match="every one of 4 pairs"):
        gain(ONE, [replace(t, outcome="infra_error") for t in TWO], Greenhouse)


def test_other_tasks_are_refused():
    with pytest.raises(UsageError, match="they share 3"):
        gain(ONE, TWO[:3], Greenhouse)


@given(st.lists(st.tuples(st.sampled_from([0.5, 1.5]), st.sampled_from([0.5, 1.5])), min_size=1, max_size=9))
def test_the_other_way_round_it_is_the_opposite(ends):
    a, b = attempts(*((one,) for one, _ in ends)), attempts(*((two,) for _, two in ends))
    for env in (Echo, Greenhouse):
        there, back = gain(a, b, env), gain(b, a, env)
        assert there.mean == -back.mean
        assert there.p == pytest.approx(back.p)
        assert there.mean == pytest.approx(sum((two > 1) - (one > 1) for one, two in ends) / len(ends))
