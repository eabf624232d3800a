"""Backtests against backtesting.py: the same orders give the same equity at every bar."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.envs.trading.backtest import backtest
from kintsugi.envs.trading.market import Market
from kintsugi.envs.trading.rules import Order, Rules
from kintsugi.envs.trading.simulator import SimulatorConfig, simulate

pytestmark = pytest.mark.requires("backtesting")
CASH = 1e5


def market(seed: int, bars: int = 400) -> Market:
    return simulate(SimulatorConfig(assets=1, bars=bars, silent=True), seed)


def both_equity_curves(
    market: Market, seed: int, *, sides: tuple[int, ...], commission: float = 0.0, spread: float = 0.0,
    stop: float | None = None, take: float | None = None, add: bool = False,
) -> tuple[np.ndarray, np.ndarray, int]:  # fmt: skip
    """Return both equity curves and the number of closed trades. Without stop and take, orders close positions."""
    import pandas
    from backtesting import Backtest, Strategy

    rng = np.random.default_rng(seed)
    orders: dict[int, list[Order]] = {}

    class Random(Strategy):  # type: ignore[misc]
        def init(self) -> None:
            pass

        def next(self) -> None:
            bar, price = len(self.data) - 1, float(self.data.Close[-1])
            draw, side, size = rng.random(), int(rng.choice(sides)), int(rng.integers(50, 200))
            if self.position and draw < 0.15 and stop is None and take is None:
                orders[bar] = [Order(0, -self.position.size, "by_units")]
                self.position.close()
            elif (not self.position and draw < 0.4) or (add and self.position and draw < 0.3):
                prices = {}
                if stop is not None:
                    prices["sl"] = price * (1 - side * stop)
                if take is not None:
                    prices["tp"] = price * (1 + side * take)
                orders[bar] = [Order(0, side * size, "by_units", prices.get("sl"), prices.get("tp"))]
                (self.buy if side > 0 else self.sell)(size=size, **prices)

    names = ("open", "high", "low", "close", "volume")
    frame = pandas.DataFrame(
        {name.capitalize(): getattr(market, name)[:, 0] for name in names}, index=pandas.DatetimeIndex(market.times)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        test = Backtest(frame, Random, cash=CASH, commission=commission, spread=spread, margin=1 / 5)
        stats = test.run()
    rules = Rules(
        cash=CASH, commission=commission, spread=spread, spread_paid="on opening", borrow=0, loan=0, leverage=5,
        maintenance=0,
    )  # fmt: skip
    ours = backtest(market, orders, rules)
    theirs = stats["_equity_curve"]["Equity"].to_numpy()
    return ours.equity, theirs, len(stats["_trades"])


def require_equal(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours[1:], theirs[1:], rtol=0, atol=1e-9 * CASH)
    np.testing.assert_allclose(ours[1:] / theirs[1:], 1, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "case",
    [
        {"sides": (1,)},
        {"sides": (-1,)},
        {"sides": (1, -1)},
        {"sides": (1,), "commission": 0.002},
        {"sides": (-1,), "commission": 0.002},
        {"sides": (1, -1), "spread": 0.003},
        {"sides": (1, -1), "commission": 0.001, "spread": 0.002, "add": True},
        {"sides": (1,), "stop": 0.01},
        {"sides": (-1,), "take": 0.01},
        {"sides": (1, -1), "stop": 0.02, "take": 0.03},
        {"sides": (1, -1), "stop": 0.01, "take": 0.01, "commission": 0.001, "spread": 0.002},
    ],
    ids=lambda case: " ".join(f"{name}={value}" for name, value in case.items()),
)
def test_equity_equals_backtesting_py_at_every_bar(case):
    trades = 0
    for seed in range(3, 8):
        ours, theirs, closed = both_equity_curves(market(seed), seed, **case)
        require_equal(ours, theirs)
        trades += closed
    assert trades > 10


@given(st.integers(0, 10**6), st.sampled_from([(1,), (-1,), (1, -1)]), st.floats(0, 0.01), st.floats(0, 0.01))
def test_equity_equals_backtesting_py_for_any_market_and_costs(seed, sides, commission, spread):
    protection = {"stop": 0.015, "take": 0.02} if seed % 2 else {}
    ours, theirs, _ = both_equity_curves(
        market(seed, 80), seed, sides=sides, commission=commission, spread=spread, **protection
    )
    require_equal(ours, theirs)
