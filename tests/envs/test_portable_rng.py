"""Random numbers and what is drawn with them stay the same for good."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kintsugi.envs.core import Task, TaskSet
from kintsugi.envs.portable_rng import PortableGenerator, PortableRng
from kintsugi.envs.trading.simulator import SimulatorConfig, simulate
from scipy import stats

seeds = st.integers(0, 2**64)


def test_numbers_of_a_seed_never_change():
    rng = PortableGenerator(5)
    assert rng.random(2).tolist() == [0.8050029237453802, 0.8079407897364937]
    assert rng.normal(2).tolist() == [-1.2490463580470532, -1.0195068910252303]
    assert (rng.geometric(7.5), rng.below(10)) == (16, 7)
    assert (rng.sample(10, 3), rng.permutation(5)) == ([3, 6, 1], [4, 1, 2, 0, 3])
    assert (rng.number(), rng.uniform(2, 3, 1).tolist()) == (0.27145160453010153, [2.8796511733349224])
    texts = PortableRng("a text")
    assert (texts.below(1000), texts.between(5, 9), texts.sample("abcdef", 3)) == (494, 8, ["d", "a", "f"])


@pytest.mark.parametrize(
    ("split", "expected"), [("train", "a43e2bf7f504"), ("valid", "578fe753eab4"), ("valid_unseen", "8376a617b1be")]
)
def test_markets_of_a_seed_never_change(split, expected):
    assert simulate(SimulatorConfig(split=split, assets=3, bars=60), 11).hash == expected


def test_drawn_task_sets_never_change():
    tasks = TaskSet(Task(id=f"t/{number}", env_id="E-v0", seed=number, split="train") for number in range(300))
    assert tasks.sample(20, seed=4).hash == "dc996a017ecf"
    assert [task.seed for task in tasks.sample(4, seed=0)] == [170, 235, 269, 56]


@given(seeds, st.integers(1, 400), st.data())
@settings(max_examples=100)
def test_draws_equal_those_of_numpy(seed, n, data):
    """Task sets that were drawn with numpy's generator are drawn again."""
    k = data.draw(st.integers(0, n))
    assert PortableGenerator(seed).sample(n, k) == np.random.default_rng(seed).choice(n, k, replace=False).tolist()
    assert PortableGenerator(seed).permutation(n) == np.random.default_rng(seed).permutation(n).tolist()
    ours, numpys = PortableGenerator(seed), np.random.default_rng(seed)
    assert [ours.below(n) for _ in range(5)] == [int(numpys.integers(n)) for _ in range(5)]
    assert ours.random(3, 2).tolist() == numpys.random((3, 2)).tolist()
    assert ours.uniform(-1.5, 4, 3) == pytest.approx(numpys.uniform(-1.5, 4, 3))
    assert ours.number() == numpys.random()


def test_large_samples_equal_those_of_numpy():
    for n, k in ((20_000, 500), (20_000, 400), (10_001, 10_001)):
        assert PortableGenerator(9).sample(n, k) == np.random.default_rng(9).choice(n, k, replace=False).tolist()


def test_normal_numbers_are_nearly_normal():
    drawn = PortableGenerator(3).normal(200_000)
    assert (drawn.mean(), drawn.std()) == pytest.approx((0, 1), abs=0.01)
    # The largest difference to the normal distribution function is 0.0023.
    assert stats.kstest(drawn, "norm").statistic < 0.006


def test_geometric_numbers_have_their_distribution():
    rng = PortableGenerator(1)
    drawn = np.bincount([rng.geometric(4) for _ in range(20_000)], minlength=30)[1:20]
    expected = 20_000 * stats.geom.pmf(np.arange(1, 20), 1 / 4)
    assert stats.chisquare(drawn, expected * drawn.sum() / expected.sum()).pvalue > 0.001
