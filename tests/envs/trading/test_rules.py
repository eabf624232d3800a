"""Account rules checked by hand; vector accounts and backtests equal them; metrics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kintsugi.envs.trading.account import Account, Bar
from kintsugi.envs.trading.backtest import backtest, backtest_many, orders_from_weights, orders_only_backtest
from kintsugi.envs.trading.market import Market
from kintsugi.envs.trading.market_window import MarketWindow
from kintsugi.envs.trading.metrics import backtest_metrics, baselines, curve_metrics
from kintsugi.envs.trading.rules import Order, Rules
from kintsugi.envs.trading.simulator import SimulatorConfig, simulate
from kintsugi.envs.trading.strategies import STRATEGIES, sma_cross
from kintsugi.envs.trading.vector_account import VectorAccount
from kintsugi.errors import UsageError

FREE = Rules(cash=1000, commission=0, spread=0, borrow=0, loan=0, maintenance=0)


def bar(open_: float, high: float, low: float, close: float, **more: object) -> Bar:
    return Bar([open_], [high], [low], [close], [True], **more)


def flat(price: float, **more: object) -> Bar:
    return bar(price, price, price, price, **more)


def account_after(rules: Rules, weight: float, *bars: Bar, **protection: object) -> Account:
    """Return an account after these bars, which ordered `weight` at the close of 100 before them."""
    account = Account(rules, [100.0])
    for number, each in enumerate(bars):
        account.advance(each, [Order(0, weight, **protection)] if number == 0 else ())
    return account


def test_order_is_filled_at_the_next_open_with_costs():
    rules = replace(FREE, commission=0.01, fee=2.0, spread=0.02, slippage=0.01)
    account = account_after(rules, 0.5, bar(50, 60, 40, 55))
    assert account.units == [10.0]
    fill = account.fills[0]
    assert fill.price == pytest.approx(50 * 1.02)
    assert fill.cost == pytest.approx(0.01 * 510 + 2)
    assert account.cash == pytest.approx(1000 - 510 - 7.1)
    assert account.equity == pytest.approx(1000 - 510 - 7.1 + 550)
    account.advance(flat(60), [Order(0, 0.0)])
    assert account.fills[0].price == pytest.approx(60 * 0.98)
    assert account.fills[0].profit == pytest.approx(10 * (58.8 - 51) - 0.01 * 588 - 2)


def test_order_above_buying_power_is_cut_to_whole_lots_with_a_note():
    account = account_after(replace(FREE, commission=0.1), 3.0, flat(300))
    assert account.units == [3.0]
    assert account.cash == pytest.approx(10)
    assert account.notes == [(0, "10 units are more than the account can pay for, the order was cut to 3")]
    assert account_after(replace(FREE, lot=0), 0.5, flat(300)).units == [500 / 300]
    assert account_after(replace(FREE, short=False), -1.0, flat(300)).units == [0.0]
    assert account_after(replace(FREE, leverage=2), 2.0, flat(100)).units == [20.0]


@pytest.mark.parametrize(
    ("weight", "day", "protection", "equity"),
    [
        (1, bar(100, 110, 94, 105), {"stop": 95}, 950),
        (1, bar(90, 110, 89, 105), {"stop": 95}, 900),
        (1, bar(100, 112, 99, 105), {"take": 110}, 1100),
        (1, bar(115, 120, 99, 105), {"take": 110}, 1150),
        (1, bar(100, 112, 94, 105), {"stop": 95, "take": 110}, 950),
        (-1, bar(100, 106, 99, 100), {"stop": 105}, 950),
        (-1, bar(108, 109, 99, 100), {"stop": 105}, 920),
        (-1, bar(100, 101, 88, 95), {"take": 90}, 1100),
        (-1, bar(85, 101, 80, 95), {"take": 90}, 1150),
        (-1, bar(100, 106, 88, 95), {"stop": 105, "take": 90}, 950),
        (1, bar(100, 103, 96, 102), {"stop": 95, "take": 110}, 1020),
    ],
)
def test_stop_and_take_within_a_bar(weight, day, protection, equity):
    account = account_after(FREE, weight, flat(100), day, **protection)
    assert account.equity == pytest.approx(equity)
    relative = {name: abs(price / 100 - 1) for name, price in protection.items()}
    assert account_after(FREE, weight, flat(100), day, relative=True, **relative).equity == pytest.approx(equity)
    same_bar = account_after(FREE, weight, day._replace(open=[100.0]), **protection)
    assert (same_bar.units == [0.0]) == any(fill.reason in ("stop", "take") for fill in same_bar.fills)


def test_interest_borrow_cost_and_loan_interest_of_one_bar():
    rules = replace(FREE, interest=0.252, borrow=0.504, loan=0.756, leverage=2, bars_per_year=252)
    assert account_after(rules, 0.0, flat(100)).cash == pytest.approx(1000 * 1.001)
    short = account_after(rules, -0.5, flat(100), flat(100))
    # Interest makes 1001 after the first bar, so 5 units; then interest on 1501 - 500 and borrow cost on 500.
    assert short.cash == pytest.approx(1501 + 1.001 - 500 * 0.002)
    borrowed = account_after(rules, 2.0, flat(100), flat(100))
    assert borrowed.cash == pytest.approx((1001 - 2000) * 1.003)


def test_margin_call_sells_at_the_next_open_and_ruin_sets_equity_to_zero():
    rules = replace(FREE, leverage=4, maintenance=0.1)
    account = account_after(rules, 4.0, flat(100), flat(90))
    assert account.equity == 600
    assert not account.liquidating
    account.advance(flat(80))
    assert account.liquidating
    assert account.equity == pytest.approx(200)
    account.advance(flat(82), [Order(0, 4.0)])
    assert [fill.reason for fill in account.fills] == ["margin"]
    assert account.units == [0.0]
    assert account.equity == pytest.approx(280)
    ruined = account_after(rules, -4.0, flat(100), flat(130), flat(10))
    assert ruined.ruined
    assert (ruined.equity, ruined.cash, ruined.units) == (0.0, 0.0, [0.0])


def test_no_trade_in_a_bar_of_volume_zero():
    closed = flat(50)._replace(tradable=[False])
    account = account_after(FREE, 1.0, closed)
    assert account.units == [0.0]
    assert account.notes == [(0, "not traded in this bar, the order lapsed")]
    stopped = account_after(FREE, 1.0, flat(100), closed, stop=95)
    assert stopped.units == [10.0]
    stopped.advance(flat(60))
    assert stopped.fills[0].price == 60


def test_splits_and_dividends_preserve_equity():
    account = account_after(FREE, 1.0, flat(100), flat(48, splits=[2.0], dividends=[2.0]), stop=90)
    assert account.units == [20.0]
    assert (account.entry, account.stop) == ([50.0], [45.0])
    assert account.equity == 1000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"commission": -0.1}, "commission is -0.1"),
        ({"cash": 0}, "cash is 0; expected a number above 0"),
        ({"spread_paid": "never"}, "unknown spread_paid 'never'"),
        ({"commission": 0.6, "slippage": 0.5}, "add up to 1 or more"),
        ({"leverage": 5}, "would be liquidated at once"),
        ({"borrow": float("nan")}, "borrow is nan"),
    ],
)
def test_invalid_rules_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        Rules(**changes)


# -- Vector accounts and backtests -----------------------------------------------------------------------------------

RULES = st.builds(
    Rules,
    cash=st.sampled_from([1000.0, 1e5]), commission=st.sampled_from([0.0, 0.002]), fee=st.sampled_from([0.0, 1.5]),
    spread=st.sampled_from([0.0, 0.001]), spread_paid=st.sampled_from(["each way", "on opening"]),
    slippage=st.sampled_from([0.0, 0.003]), borrow=st.sampled_from([0.0, 0.3]), interest=st.sampled_from([0.0, 0.1]),
    loan=st.sampled_from([0.0, 0.2]), leverage=st.sampled_from([0.5, 1.0, 3.0]),
    maintenance=st.sampled_from([0.0, 0.3]), short=st.booleans(), lot=st.sampled_from([0.0, 1.0, 0.1]),
)  # fmt: skip


def eventful_market(seed: int, assets: int, bars: int = 60) -> Market:
    plain = simulate(SimulatorConfig(assets=assets, bars=bars, silent=True), seed)
    rng, shape = np.random.default_rng(seed), plain.close.shape
    return replace(
        plain, volume=np.where(rng.random(shape) < 0.1, 0.0, plain.volume),
        splits=np.where(rng.random(shape) < 0.02, 2.0, 1.0),
        dividends=np.where(rng.random(shape) < 0.05, 1.0, 0.0),
    )  # fmt: skip


def random_orders(rng: np.random.Generator, shape: tuple[int, ...], leverage: float) -> tuple[np.ndarray, ...]:
    weights = np.round(rng.uniform(-1.2, 1.2, shape) * leverage, 2)
    weights[rng.random(shape) < 0.2] = 0.0
    weights[rng.random(shape) < 0.6] = np.nan
    protection = [np.where(rng.random(shape) < 0.4, rng.uniform(0.002, 0.05, shape), np.nan) for _ in range(2)]
    return (weights, *protection)


def orders_of(weights: np.ndarray, stop: np.ndarray, take: np.ndarray) -> list[Order]:
    def known(value: float) -> float | None:
        return None if np.isnan(value) else float(value)

    rows = zip(weights.tolist(), stop.tolist(), take.tolist(), strict=True)
    return [
        Order(asset, weight, "to_weight", known(s), known(t), True)
        for asset, (weight, s, t) in enumerate(rows)
        if weight == weight
    ]


# In this example a split ruins an account that buys back its short position, the last one of all accounts.
@example(replace(FREE, cash=1000.0, short=True, leverage=1.0, spread_paid="each way", lot=0.0), 52901, 1)
@given(RULES, st.integers(0, 10**6), st.integers(1, 3))
def test_vector_account_equals_single_accounts_bit_for_bit(rules, seed, assets):
    count, rng = 7, np.random.default_rng(seed)
    rows = MarketWindow(eventful_market(seed, assets), 0, 60, rules).bars
    accounts, batch = [Account(rules, rows[0].close) for _ in range(count)], VectorAccount(rules, count, rows[0].close)
    for row in rows[1:]:
        weights, stop, take = random_orders(rng, (assets, count), rules.leverage)
        for number, account in enumerate(accounts):
            account.advance(row, orders_of(weights[:, number], stop[:, number], take[:, number]))
        batch.advance(row, np.arange(count), weights, stop, take)
        for name in ("equity", "cash", "ruined", "liquidating"):
            assert [getattr(account, name) for account in accounts] == getattr(batch, name).tolist()
        for name in ("units", "entry"):
            assert (
                np.array([getattr(account, name) for account in accounts]).T.tolist() == getattr(batch, name).tolist()
            )


@settings(max_examples=60)
@given(RULES, st.integers(0, 10**6), st.integers(1, 2))
def test_backtest_equals_an_account_bit_for_bit(rules, seed, assets):
    market, rng = eventful_market(seed, assets), np.random.default_rng(seed)
    orders_by_bar = {}
    for number in np.flatnonzero(rng.random(60) < 0.15).tolist():
        orders_by_bar[number] = orders_of(*random_orders(rng, (assets,), rules.leverage))
    account = Account(rules, market.close[0].tolist())
    curve, cash, fills = [account.equity], [account.cash], []
    for number, row in enumerate(MarketWindow(market, 0, 60, rules).bars[1:], start=1):
        fills += [(number, fill) for fill in account.advance(row, orders_by_bar.get(number - 1, ()))]
        curve.append(account.equity)
        cash.append(account.cash)
    result = backtest(market, orders_by_bar, rules)
    assert result.fills == tuple(fills)
    assert result.cash.tolist() == cash
    assert result.equity.tolist() == curve


def test_loan_that_outlasts_the_short_position_ruins_a_vector_account_like_an_account():
    """The short position is bought back with a loan, the long position stays, and then its price falls."""
    rules = replace(FREE, fee=1)
    closes = [[100.0, 100.0], [100.0, 260.0], [10.0, 260.0], [10.0, 260.0]]
    targets = [[0.5, -0.45], [np.nan, 0.0], [np.nan, np.nan], [np.nan, np.nan]]
    account, batch = Account(rules, [100.0, 100.0]), VectorAccount(rules, 1, [100.0, 100.0])
    seen = []
    for close, target in zip(closes, targets, strict=True):
        day = Bar(close, close, close, close, [True, True])
        account.advance(day, [Order(asset, weight) for asset, weight in enumerate(target) if weight == weight])
        batch.advance(day, np.arange(1), np.array(target)[:, None])
        for name in ("cash", "equity", "liquidating", "ruined"):
            assert getattr(batch, name)[0] == getattr(account, name), (name, close)
        seen.append((account.ruined, account.liquidating))
    assert seen[-1][0]


@given(RULES, st.integers(0, 10**6), st.sampled_from(["to_weight", "by_weight", "by_units"]))
def test_orders_only_backtest_equals_an_account_bit_for_bit(rules, seed, kind):
    market, rng = simulate(SimulatorConfig(assets=1, bars=60, silent=True), seed), np.random.default_rng(seed)
    market = replace(market, volume=np.where(rng.random((60, 1)) < 0.1, 0.0, market.volume))
    sizes = random_orders(rng, (60,), rules.leverage)[0] * (10 if kind == "by_units" else 1)
    orders = {bar: [Order(0, float(size), kind)] for bar, size in enumerate(sizes) if size == size}
    account = Account(rules, market.close[0].tolist())
    curve, fills, shorts, owes, called = [account.equity], [], False, False, False
    for number, row in enumerate(MarketWindow(market, 0, 60, rules).bars[1:], start=1):
        fills += [(number, fill) for fill in account.advance(row, orders.get(number - 1, ()))]
        curve.append(account.equity)
        shorts, owes = shorts or account.units[0] < 0, owes or account.cash < 0
        called = called or account.ruined or account.liquidating
    found = orders_only_backtest(market, orders, rules)
    not_orders_only = called or rules.interest or (shorts and rules.borrow) or (owes and rules.loan)
    assert (found is None) == bool(not_orders_only)
    for result in (found, backtest(market, orders, rules)):
        if result:
            assert result.equity.tolist() == curve
            assert result.fills == tuple(fills)


def test_orders_only_backtest_declines_stops_and_splits():
    market = simulate(SimulatorConfig(assets=1, bars=60, silent=True), 3)
    assert orders_only_backtest(market, {0: [Order(0, 1.0)]}, FREE)
    for orders in ({0: [Order(0, 1.0, stop=1.0)]}, {0: [Order(0, 0.5, take=1e9)]}, {0: [Order(0, 1.0)] * 2}):
        assert orders_only_backtest(market, orders, FREE) is None
    with_splits = replace(market, splits=np.ones((60, 1)))
    assert orders_only_backtest(with_splits, {0: [Order(0, 1.0)]}, FREE) is None


def test_backtest_many_equals_single_backtests():
    market = simulate(SimulatorConfig(assets=1, bars=300, silent=True), 4)
    found = [sma_cross(market, fast, slow)[:, 0] for fast, slow in ((3, 10), (5, 20), (10, 40))]
    curves = backtest_many(market, np.stack(found, axis=1))
    for number, weights in enumerate(found):
        assert np.array_equal(curves[:, number], backtest(market, orders_from_weights(weights)).equity)
    with pytest.raises(UsageError, match=r"expected \(T, K\) for one asset"):
        backtest_many(market, found[0])
    with pytest.raises(UsageError, match="orders are placed at bars 0 to 300; expected bars of 0 to 299"):
        backtest(market, {0: [], 300: []})


# -- Metrics ----------------------------------------------------------------------------------------------------------


def test_curve_metrics_match_their_definitions():
    curve = np.array([100.0, 110, 99, 108.9, 98.01, 107.811, 118.5921])
    found = curve_metrics(curve, bars_per_year=12, risk_free=0.0)
    returns = np.array([0.1, -0.1, 0.1, -0.1, 0.1, 0.1])
    assert found.cumulative_return == pytest.approx(0.185921)
    assert found.annual_return == pytest.approx(1.185921**2 - 1)
    assert found.annual_volatility == pytest.approx(returns.std(ddof=1) * 12**0.5)
    assert found.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1) * 12**0.5)
    assert found.max_drawdown == pytest.approx(1 - 98.01 / 110)
    assert found.calmar == pytest.approx(found.annual_return / found.max_drawdown)
    # Two equal losses have standard deviation 0.
    assert found.sortino == 0
    other = curve_metrics(np.cumprod([100, 1.1, 0.9, 1.2, 0.8, 1.1, 1.0]), bars_per_year=12)
    assert other.sortino == pytest.approx((0.1 / 6) / np.std([-0.1, -0.2], ddof=1) * 12**0.5)
    with pytest.raises(UsageError, match="expected at least 2"):
        curve_metrics(curve[:1])


def test_turnover_exposure_and_hit_rate():
    price = np.array([100.0, 100, 110, 110, 99, 99])
    days = np.datetime64("2024-01-01") + np.arange(6)
    market = Market(("A",), days, price, price, price, price, np.ones(6))
    result = backtest(market, orders_from_weights(np.array([1, 0, 1, 0, np.nan, np.nan])), FREE)
    assert result.equity.tolist() == [1000, 1000, 1100, 1100, 990, 990]
    found = backtest_metrics(result, market)
    assert found.hit_rate == 0.5
    assert found.exposure == pytest.approx(2 / 6)
    traded = 1000 + 1100 + 1100 + 990
    assert found.turnover == pytest.approx(traded / result.equity.mean() * 252 / 5)


def test_baselines_use_the_same_bars_and_costs():
    market = simulate(SimulatorConfig(assets=2, bars=300, silent=True), 2)
    found = baselines(market, FREE)
    assert list(found) == list(STRATEGIES)
    whole = backtest(market, {0: [Order(0, 0.5), Order(1, 0.5)]}, FREE).equity
    assert found["buy and hold"].cumulative_return == whole[-1] / whole[0] - 1
    assert len({metrics.cumulative_return for metrics in found.values()}) == len(STRATEGIES)
    assert (
        baselines(market, Rules(commission=0.01))["momentum 20"].cumulative_return
        < found["momentum 20"].cumulative_return
    )
