"""No look-ahead: replacing all later bars by noise changes no observation, reward, fill, info or feature."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kintsugi.envs import Task
from kintsugi.envs.trading import indicators
from kintsugi.envs.trading.arrays import TradingArrays, TradingVector
from kintsugi.envs.trading.backtest import backtest, orders_from_weights
from kintsugi.envs.trading.env import TradingEnv
from kintsugi.envs.trading.features import FEATURES, HISTORY, feature_table
from kintsugi.envs.trading.market import Item, Market
from kintsugi.envs.trading.market_window import MarketWindow
from kintsugi.envs.trading.rules import Rules
from kintsugi.envs.trading.simulator import SimulatorConfig, simulate
from kintsugi.envs.trading.splits import WalkForward, walk_forward, windows
from kintsugi.envs.trading.strategies import STRATEGIES, sma_cross
from kintsugi.envs.trading.tasks import task_set
from kintsugi.errors import UsageError

BARS, FIRST = 130, HISTORY
RULES = Rules(lot=0, leverage=2, maintenance=0.3, interest=0.02, slippage=0.001, fee=1.0)


def market(seed: int, assets: int = 2) -> Market:
    """Return a simulated market with splits, dividends and bars of volume 0."""
    plain = simulate(SimulatorConfig(assets=assets, bars=BARS), seed)
    rng = np.random.default_rng(seed)
    shape = plain.close.shape
    return replace(
        plain,
        splits=np.where(rng.random(shape) < 0.03, 2.0, 1.0),
        dividends=np.where(rng.random(shape) < 0.05, 0.5, 0.0),
        volume=np.where(rng.random(shape) < 0.03, 0.0, plain.volume),
    )


def with_other_future(known: Market, bar: int, seed: int) -> Market:
    """Return the market with noise after `bar`: prices, volumes, splits, dividends and items."""
    rng = np.random.default_rng(seed)
    later = np.arange(len(known))[:, None] > bar
    close = np.exp(rng.normal(3, 1, known.close.shape))
    wide = np.exp(rng.uniform(0, 0.3, (2, *close.shape)))
    noise = {
        "close": close, "open": close, "high": close * wide[0], "low": close / wide[1],
        "volume": rng.integers(0, 3, close.shape) * 1e5, "splits": rng.choice([0.5, 1, 3], close.shape),
        "dividends": rng.uniform(0, 2, close.shape),
    }  # fmt: skip
    items = [item for item in known.items if item.published <= known.times[bar]]
    ahead = known.times[bar] + np.timedelta64(1, "ns")
    items += [Item(ahead, kind, known.symbols[0], f"noise {rng.random()}") for kind in ("news", "report")]
    arrays = {name: np.where(later, values, getattr(known, name)) for name, values in noise.items()}
    # A stable sort: items of the same minute keep their order, as in the known market.
    items.sort(key=lambda item: item.published)
    times = known.times.copy()
    times[bar + 1 :] += np.timedelta64(1, "h")
    return replace(known, times=times, items=tuple(items), **arrays)


def env_outputs(market: Market, actions: list[str], until: int) -> list[Any]:
    """Return all outputs of TradingEnv and its state, up to bar `until` of the market."""
    window = MarketWindow(market, FIRST, BARS, RULES)

    class WindowEnv(TradingEnv):
        def window_of(self, task: Task) -> MarketWindow:
            return window

    env = WindowEnv()
    outputs: list[Any] = [env.reset(options={"task": task_set("train", 1, 0).tasks[0]})]
    for action in actions[: until - FIRST]:
        outputs.append(env.step(action) if not env.snapshot().finished else "ruined")
    return [*outputs, env.snapshot().state]


@settings(max_examples=12)
@given(seed=st.integers(0, 10**6), bar=st.integers(FIRST, BARS - 2))
@example(seed=7611, bar=79)  # two items of the same minute
def test_env_outputs_do_not_depend_on_the_future(seed, bar):
    known = market(seed)
    rng = np.random.default_rng(seed + 1)
    a, b = known.symbols
    pool = [
        "hold",
        "hold",
        f"buy 0.5 {a} stop 2% take 3%",
        f"sell 1 {b}",
        f"target {a} 1 {b} -0.8",
        "close",
        "nonsense",
    ]
    actions = [str(rng.choice(pool)) for _ in range(BARS)]
    first = env_outputs(known, actions, bar)
    second = env_outputs(with_other_future(known, bar, seed), actions, bar)
    whole = env_outputs(known, actions, BARS - 1)
    assert len(first) == bar - FIRST + 2
    assert data_equivalence(first, second, exact=True)
    assert data_equivalence(first[:-1], whole[: len(first) - 1], exact=True)
    assert any(step != "ruined" and step[4]["fills"] for step in whole[1:-1])


@pytest.mark.parametrize("name", FEATURES)
def test_features_have_no_look_ahead(name):
    for seed, bar in ((1, 60), (2, 90), (3, 128)):
        known = market(seed)
        before, after = (feature_table(m, (name,)) for m in (known, with_other_future(known, bar, seed)))
        assert np.array_equal(before[: bar + 1], after[: bar + 1])
        assert not np.array_equal(before[bar + 1 :], after[bar + 1 :])
        assert np.isfinite(before).all()


@pytest.mark.parametrize(
    "indicator",
    [
        lambda m: indicators.sma(m.close, 7), lambda m: indicators.std(m.close, 7),
        lambda m: indicators.ema(m.close, 7),
        lambda m: indicators.rsi(m.close, 7), lambda m: indicators.atr(m.high, m.low, m.close, 7),
        lambda m: np.stack(indicators.bollinger(m.close, 7)),
        lambda m: indicators.crossed_above(indicators.sma(m.close, 3), indicators.sma(m.close, 9)),
        *STRATEGIES.values(), lambda m: sma_cross(m, 3, 9, short=True),
    ],
)  # fmt: skip
def test_indicators_and_strategies_have_no_look_ahead(indicator):
    for seed, bar in ((1, 40), (2, 90)):
        known = market(seed)
        before, after = (indicator(m) for m in (known, with_other_future(known, bar, seed)))
        # The three Bollinger bands are stacked in front of the time axis.
        cut = (slice(None), slice(bar + 1)) if before.ndim == 3 else slice(bar + 1)
        assert np.array_equal(before[cut], after[cut], equal_nan=before.dtype != bool)


@pytest.mark.parametrize("bar", [3, 40, 100])
def test_backtests_have_no_look_ahead(bar):
    known = market(5, assets=1)
    other = with_other_future(known, bar, 5)
    orders = orders_from_weights(sma_cross(known, 3, 9, short=True))
    one, two = (backtest(m, orders, RULES) for m in (known, other))
    for name in ("equity", "cash", "units"):
        assert np.array_equal(getattr(one, name)[: bar + 1], getattr(two, name)[: bar + 1])
    assert [f for f in one.fills if f[0] <= bar] == [f for f in two.fills if f[0] <= bar]


@pytest.mark.parametrize("assets", [1, 2])
def test_array_environments_have_no_look_ahead(assets):
    known, bar = market(7, assets), FIRST + 40
    seen: list[list[Any]] = []
    for world in (known, with_other_future(known, bar, 7)):
        window = MarketWindow(world, FIRST, BARS, RULES)
        one, many = TradingArrays(window), TradingVector(2, window)
        one.reset()
        many.reset()
        rng = np.random.default_rng(0)
        seen.append([])
        for _ in range(bar - FIRST):
            action = rng.integers(0, 3, assets)
            batch = np.stack([action, action])
            seen[-1].append(one.step(int(action[0]) if assets == 1 else action))
            if seen[-1][-1][2]:
                seen[-1].append(one.reset())
            seen[-1].append(many.step(batch[:, 0] if assets == 1 else batch))
    assert data_equivalence(seen[0], seen[1], exact=True)


# -- Walk-forward -----------------------------------------------------------------------------------------------------


@given(
    bars=st.integers(30, 500), folds=st.integers(1, 6), purge=st.integers(0, 12), embargo=st.integers(0, 12),
    train=st.none() | st.integers(1, 100),
)  # fmt: skip
def test_training_bars_exclude_test_purge_and_embargo(bars, folds, purge, embargo, train):
    config = WalkForward(folds, None, train, purge, embargo)
    try:
        found = walk_forward(bars, config)
    except UsageError:
        assert bars // (folds + 1) <= purge + embargo or train is not None
        return
    assert len(found) == folds
    assert found[-1].test.stop == bars
    for number, fold in enumerate(found):
        trained = {bar for piece in fold.train for bar in piece}
        assert trained
        assert max(trained) < fold.test.start - purge
        assert train is None or max(trained) - min(trained) < train
        for before in found[:number]:
            assert not trained & set(range(before.test.stop, before.test.stop + embargo))
            assert before.test.stop <= fold.test.start


def test_windows_lie_within_the_pieces_and_are_disjoint():
    found = windows((range(3, 14), range(20, 25), range(30, 33)), 5)
    assert found == [range(3, 8), range(8, 13), range(20, 25)]
