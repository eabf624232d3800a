"""What an account does in a bar, checked by hand; many accounts at once and whole backtests do the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kintsugi.envs.trading.account import Account, Bar
from kintsugi.envs.trading.backtest import backtest, backtest_many, decisions, undisturbed
from kintsugi.envs.trading.episode import Episode
from kintsugi.envs.trading.fleet import Fleet
from kintsugi.envs.trading.market import Market
from kintsugi.envs.trading.metrics import baselines, measure, of_curve
from kintsugi.envs.trading.rules import Order, Rules
from kintsugi.envs.trading.simulator import SimulatorConfig, simulate
from kintsugi.envs.trading.strategies import STRATEGIES, sma_cross
from kintsugi.errors import UsageError

FREE = Rules(cash=1000, commission=0, spread=0, borrow=0, loan=0, maintenance=0)


def bar(open_: float, high: float, low: float, close: float, **more: object) -> Bar:
    return Bar([open_], [high], [low], [close], [True], **more)


def flat(price: float, **more: object) -> Bar:
    return bar(price, price, price, price, **more)


def held(rules: Rules, weight: float, *bars: Bar, **guards: object) -> Account:
    """An account that asks for a weight after a close of 100, and then lives through the bars."""
    account = Account(rules, [100.0])
    for number, each in enumerate(bars):
        account.advance(each, [Order(0, weight, **guards)] if number == 0 else ())
    return account


def test_an_order_is_filled_at_the_next_open_with_its_costs():
    rules = replace(FREE, commission=0.01, fee=2.0, spread=0.02, slippage=0.01)
    account = held(rules, 0.5, bar(50, 60, 40, 55))
    assert account.units == [10.0]
    fill = account.fills[0]
    assert fill.price == pytest.approx(50 * 1.02)
    assert fill.cost == pytest.approx(0.01 * 510 + 2)
    assert account.cash == pytest.approx(1000 - 510 - 7.1)
    assert account.equity == pytest.approx(1000 - 510 - 7.1 + 550)
    account.advance(flat(60), [Order(0, 0.0)])
    assert account.fills[0].price == pytest.approx(60 * 0.98)
    assert account.fills[0].profit == pytest.approx(10 * (58.8 - 51) - 0.01 * 588 - 2)


def test_an_order_larger_than_the_account_is_cut_to_whole_lots_and_said():
    account = held(replace(FREE, commission=0.1), 3.0, flat(300))
    assert account.units == [3.0]
    assert account.cash == pytest.approx(10)
    assert account.notes == [(0, "10 units are more than the account can pay for, the order was cut to 3")]
    assert held(replace(FREE, lot=0), 0.5, flat(300)).units == [500 / 300]
    assert held(replace(FREE, short=False), -1.0, flat(300)).units == [0.0]
    assert held(replace(FREE, leverage=2), 2.0, flat(100)).units == [20.0]


@pytest.mark.parametrize(
    ("weight", "day", "guards", "left"),
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
def test_stop_and_take_inside_the_bar_with_gaps_and_both(weight, day, guards, left):
    account = held(FREE, weight, flat(100), day, **guards)
    assert account.equity == pytest.approx(left)
    relative = {name: abs(price / 100 - 1) for name, price in guards.items()}
    assert held(FREE, weight, flat(100), day, relative=True, **relative).equity == pytest.approx(left)
    same_bar = held(FREE, weight, day._replace(open=[100.0]), **guards)
    assert (same_bar.units == [0.0]) == any(fill.why in ("stop", "take") for fill in same_bar.fills)


def test_interest_borrow_cost_and_loans_of_a_night():
    rules = replace(FREE, interest=0.252, borrow=0.504, loan=0.756, leverage=2, bars_per_year=252)
    assert held(rules, 0.0, flat(100)).cash == pytest.approx(1000 * 1.001)
    short = held(rules, -0.5, flat(100), flat(100))
    # After the first night 1001 are left, so 5 units; then interest on 1501 - 500, and the loan of 5 shares.
    assert short.cash == pytest.approx(1501 + 1.001 - 500 * 0.002)
    lent = held(rules, 2.0, flat(100), flat(100))
    assert lent.cash == pytest.approx((1001 - 2000) * 1.003)


def test_a_margin_call_sells_at_the_next_open_and_ruin_ends_at_zero():
    rules = replace(FREE, leverage=4, maintenance=0.1)
    account = held(rules, 4.0, flat(100), flat(90))
    assert account.equity == 600
    assert not account.liquidating
    account.advance(flat(80))
    assert account.liquidating
    assert account.equity == pytest.approx(200)
    account.advance(flat(82), [Order(0, 4.0)])
    assert [fill.why for fill in account.fills] == ["margin"]
    assert account.units == [0.0]
    assert account.equity == pytest.approx(280)
    ruined = held(rules, -4.0, flat(100), flat(130), flat(10))
    assert ruined.ruined
    assert (ruined.equity, ruined.cash, ruined.units) == (0.0, 0.0, [0.0])


def test_nothing_is_traded_in_a_bar_without_volume():
    closed = flat(50)._replace(tradable=[False])
    account = held(FREE, 1.0, closed)
    assert account.units == [0.0]
    assert account.notes == [(0, "not traded in this bar, the order lapsed")]
    stopped = held(FREE, 1.0, flat(100), closed, stop=95)
    assert stopped.units == [10.0]
    stopped.advance(flat(60))
    assert stopped.fills[0].price == 60


def test_splits_and_dividends_change_no_worth():
    account = held(FREE, 1.0, flat(100), flat(48, splits=[2.0], dividends=[2.0]), stop=90)
    assert account.units == [20.0]
    assert (account.entry, account.stop) == ([50.0], [45.0])
    assert account.equity == 1000


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"commission": -0.1}, "commission is -0.1"),
        ({"cash": 0}, "cash is 0; expected more than 0"),
        ({"spread_paid": "never"}, "unknown way of paying the spread 'never'"),
        ({"commission": 0.6, "slippage": 0.5}, "add up to 1 or more"),
        ({"leverage": 5}, "would be liquidated at once"),
        ({"borrow": float("nan")}, "borrow is nan"),
    ],
)
def test_rules_that_cannot_be(changes, why):
    with pytest.raises(UsageError, match=why):
        Rules(**changes)


# -- Accounts at once, and whole backtests ---------------------------------------------------------------------------

RULES = st.builds(
    Rules,
    cash=st.sampled_from([1000.0, 1e5]), commission=st.sampled_from([0.0, 0.002]), fee=st.sampled_from([0.0, 1.5]),
    spread=st.sampled_from([0.0, 0.001]), spread_paid=st.sampled_from(["each way", "on opening"]),
    slippage=st.sampled_from([0.0, 0.003]), borrow=st.sampled_from([0.0, 0.3]), interest=st.sampled_from([0.0, 0.1]),
    loan=st.sampled_from([0.0, 0.2]), leverage=st.sampled_from([0.5, 1.0, 3.0]),
    maintenance=st.sampled_from([0.0, 0.3]), short=st.booleans(), lot=st.sampled_from([0.0, 1.0, 0.1]),
)  # fmt: skip


def eventful(seed: int, assets: int, bars: int = 60) -> Market:
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
    guards = [np.where(rng.random(shape) < 0.4, rng.uniform(0.002, 0.05, shape), np.nan) for _ in range(2)]
    return (weights, *guards)


def orders_of(weights: np.ndarray, stop: np.ndarray, take: np.ndarray) -> list[Order]:
    def known(value: float) -> float | None:
        return None if np.isnan(value) else float(value)

    rows = zip(weights.tolist(), stop.tolist(), take.tolist(), strict=True)
    return [
        Order(asset, weight, "to_weight", known(s), known(t), True)
        for asset, (weight, s, t) in enumerate(rows)
        if weight == weight
    ]


# A split ruins an account that buys back what it was short of, the last one that was short.
@example(replace(FREE, cash=1000.0, short=True, leverage=1.0, spread_paid="each way", lot=0.0), 52901, 1)
@given(RULES, st.integers(0, 10**6), st.integers(1, 3))
def test_many_accounts_at_once_are_bit_for_bit_what_each_is_alone(rules, seed, assets):
    count, rng = 7, np.random.default_rng(seed)
    rows = Episode(eventful(seed, assets), 0, 60, rules).bars
    alone, fleet = [Account(rules, rows[0].close) for _ in range(count)], Fleet(rules, count, rows[0].close)
    for row in rows[1:]:
        weights, stop, take = random_orders(rng, (assets, count), rules.leverage)
        for number, account in enumerate(alone):
            account.advance(row, orders_of(weights[:, number], stop[:, number], take[:, number]))
        fleet.advance(row, np.arange(count), weights, stop, take)
        for name in ("equity", "cash", "ruined", "liquidating"):
            assert [getattr(account, name) for account in alone] == getattr(fleet, name).tolist()
        for name in ("units", "entry"):
            assert np.array([getattr(account, name) for account in alone]).T.tolist() == getattr(fleet, name).tolist()


@settings(max_examples=60)
@given(RULES, st.integers(0, 10**6), st.integers(1, 2))
def test_a_backtest_is_bit_for_bit_an_account_that_lives_through_every_bar(rules, seed, assets):
    market, rng = eventful(seed, assets), np.random.default_rng(seed)
    given_ = {}
    for number in np.flatnonzero(rng.random(60) < 0.15).tolist():
        given_[number] = orders_of(*random_orders(rng, (assets,), rules.leverage))
    account = Account(rules, market.close[0].tolist())
    curve, cash, fills = [account.equity], [account.cash], []
    for number, row in enumerate(Episode(market, 0, 60, rules).bars[1:], start=1):
        fills += [(number, fill) for fill in account.advance(row, given_.get(number - 1, ()))]
        curve.append(account.equity)
        cash.append(account.cash)
    result = backtest(market, given_, rules)
    assert result.fills == tuple(fills)
    assert result.cash.tolist() == cash
    assert result.equity.tolist() == curve


def test_a_loan_that_outlives_the_short_position_ruins_a_fleet_as_it_does_an_account():
    """What was bought stays, what was sold short is bought back beyond the cash there is, and then the rest falls."""
    rules = replace(FREE, fee=1)
    closes = [[100.0, 100.0], [100.0, 260.0], [10.0, 260.0], [10.0, 260.0]]
    wishes = [[0.5, -0.45], [np.nan, 0.0], [np.nan, np.nan], [np.nan, np.nan]]
    alone, fleet = Account(rules, [100.0, 100.0]), Fleet(rules, 1, [100.0, 100.0])
    seen = []
    for close, wish in zip(closes, wishes, strict=True):
        day = Bar(close, close, close, close, [True, True])
        alone.advance(day, [Order(asset, weight) for asset, weight in enumerate(wish) if weight == weight])
        fleet.advance(day, np.arange(1), np.array(wish)[:, None])
        for name in ("cash", "equity", "liquidating", "ruined"):
            assert getattr(fleet, name)[0] == getattr(alone, name), (name, close)
        seen.append((alone.ruined, alone.liquidating))
    assert seen[-1][0]


@given(RULES, st.integers(0, 10**6), st.sampled_from(["to_weight", "by_weight", "by_units"]))
def test_a_backtest_that_only_orders_disturb_is_bit_for_bit_an_account_too(rules, seed, kind):
    market, rng = simulate(SimulatorConfig(assets=1, bars=60, silent=True), seed), np.random.default_rng(seed)
    market = replace(market, volume=np.where(rng.random((60, 1)) < 0.1, 0.0, market.volume))
    sizes = random_orders(rng, (60,), rules.leverage)[0] * (10 if kind == "by_units" else 1)
    orders = {bar: [Order(0, float(size), kind)] for bar, size in enumerate(sizes) if size == size}
    account = Account(rules, market.close[0].tolist())
    curve, fills, shorts, owes, called = [account.equity], [], False, False, False
    for number, row in enumerate(Episode(market, 0, 60, rules).bars[1:], start=1):
        fills += [(number, fill) for fill in account.advance(row, orders.get(number - 1, ()))]
        curve.append(account.equity)
        shorts, owes = shorts or account.units[0] < 0, owes or account.cash < 0
        called = called or account.ruined or account.liquidating
    found = undisturbed(market, orders, rules)
    disturbed = called or rules.interest or (shorts and rules.borrow) or (owes and rules.loan)
    assert (found is None) == bool(disturbed)
    for result in (found, backtest(market, orders, rules)):
        if result:
            assert result.equity.tolist() == curve
            assert result.fills == tuple(fills)


def test_what_else_may_disturb_a_backtest():
    market = simulate(SimulatorConfig(assets=1, bars=60, silent=True), 3)
    assert undisturbed(market, {0: [Order(0, 1.0)]}, FREE)
    for orders in ({0: [Order(0, 1.0, stop=1.0)]}, {0: [Order(0, 0.5, take=1e9)]}, {0: [Order(0, 1.0)] * 2}):
        assert undisturbed(market, orders, FREE) is None
    with_splits = replace(market, splits=np.ones((60, 1)))
    assert undisturbed(with_splits, {0: [Order(0, 1.0)]}, FREE) is None


def test_a_grid_is_its_strategies_one_by_one():
    market = simulate(SimulatorConfig(assets=1, bars=300, silent=True), 4)
    found = [sma_cross(market, fast, slow)[:, 0] for fast, slow in ((3, 10), (5, 20), (10, 40))]
    curves = backtest_many(market, np.stack(found, axis=1))
    for number, weights in enumerate(found):
        assert np.array_equal(curves[:, number], backtest(market, decisions(weights)).equity)
    with pytest.raises(UsageError, match=r"expected \(T, K\) for one asset"):
        backtest_many(market, found[0])
    with pytest.raises(UsageError, match="decisions are given at bars 0 to 300; there are 0 to 299"):
        backtest(market, {0: [], 300: []})


# -- Figures ----------------------------------------------------------------------------------------------------------


def test_the_figures_of_a_curve_by_their_definitions():
    curve = np.array([100.0, 110, 99, 108.9, 98.01, 107.811, 118.5921])
    found = of_curve(curve, bars_per_year=12, risk_free=0.0)
    returns = np.array([0.1, -0.1, 0.1, -0.1, 0.1, 0.1])
    assert found.cumulative_return == pytest.approx(0.185921)
    assert found.annual_return == pytest.approx(1.185921**2 - 1)
    assert found.annual_volatility == pytest.approx(returns.std(ddof=1) * 12**0.5)
    assert found.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1) * 12**0.5)
    assert found.max_drawdown == pytest.approx(1 - 98.01 / 110)
    assert found.calmar == pytest.approx(found.annual_return / found.max_drawdown)
    # Two losses of the same size have no spread.
    assert found.sortino == 0
    other = of_curve(np.cumprod([100, 1.1, 0.9, 1.2, 0.8, 1.1, 1.0]), bars_per_year=12)
    assert other.sortino == pytest.approx((0.1 / 6) / np.std([-0.1, -0.2], ddof=1) * 12**0.5)
    with pytest.raises(UsageError, match="expected at least 2"):
        of_curve(curve[:1])


def test_turnover_exposure_and_hit_rate_of_a_backtest():
    price = np.array([100.0, 100, 110, 110, 99, 99])
    days = np.datetime64("2024-01-01") + np.arange(6)
    market = Market(("A",), days, price, price, price, price, np.ones(6))
    result = backtest(market, decisions(np.array([1, 0, 1, 0, np.nan, np.nan])), FREE)
    assert result.equity.tolist() == [1000, 1000, 1100, 1100, 990, 990]
    found = measure(result, market)
    assert found.hit_rate == 0.5
    assert found.exposure == pytest.approx(2 / 6)
    traded = 1000 + 1100 + 1100 + 990
    assert found.turnover == pytest.approx(traded / result.equity.mean() * 252 / 5)


def test_the_baselines_run_on_the_same_bars_with_the_same_costs():
    market = simulate(SimulatorConfig(assets=2, bars=300, silent=True), 2)
    found = baselines(market, FREE)
    assert list(found) == list(STRATEGIES)
    whole = backtest(market, {0: [Order(0, 0.5), Order(1, 0.5)]}, FREE).equity
    assert found["buy and hold"].cumulative_return == whole[-1] / whole[0] - 1
    assert len({figures.cumulative_return for figures in found.values()}) == len(STRATEGIES)
    assert (
        baselines(market, Rules(commission=0.01))["momentum 20"].cumulative_return
        < found["momentum 20"].cumulative_return
    )
