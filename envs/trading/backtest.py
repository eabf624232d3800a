"""Backtests of one strategy over millions of bars, or of thousands of strategies over the same bars.

`backtest` processes only the bars with events one by one, and the bars between them as arrays. Its results equal those
of `Account` bar by bar. `backtest_many` uses a `VectorAccount`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import UsageError
from .account import Account, Bar
from .market import Floats, Market
from .order_fill import make_fill
from .rules import Fill, Order, Rules
from .vector_account import VectorAccount

OrdersByBar = Mapping[int, Sequence[Order]]
"""Orders by the index of the bar after whose close they are placed. They are filled at the next open."""


@dataclass(frozen=True, eq=False)
class Backtest:
    """Equity, cash, positions and fills of one backtest over T bars of A assets."""

    equity: Floats
    """(T,) Equity at every close. The first value is the initial cash."""
    cash: Floats
    """(T,) Cash at every close."""
    units: Floats
    """(T, A) Units held at every close."""
    fills: tuple[tuple[int, Fill], ...]
    """Index of the bar and fill, in order of time."""


def orders_from_weights(weights: Floats) -> OrdersByBar:
    """Convert target weights into orders.

    Args:
        weights: Target weights, (T,) or (T, A). NaN places no order. Orders after the last bar have no effect.

    Returns:
        The orders by the index of the bar after whose close they are placed.
    """
    table = weights[:, None] if weights.ndim == 1 else weights
    found: dict[int, list[Order]] = {}
    bars, assets = np.nonzero(table == table)
    for bar, asset, weight in zip(bars.tolist(), assets.tolist(), table[bars, assets].tolist(), strict=True):
        found.setdefault(bar, []).append(tuple.__new__(Order, (asset, weight, "to_weight", None, None, False)))
    return found


def backtest(market: Market, orders: OrdersByBar, rules: Rules | None = None) -> Backtest:
    """Run one account over all bars of a market.

    Bars are computed one by one only at events (orders, stops, splits, dividends, liquidation) and while interest or
    borrow cost accrues. Memory use is a few arrays of T numbers.

    Args:
        market: The market.
        orders: Orders by the index of the bar after whose close they are placed.
        rules: Costs and margin rules. Default: `Rules()`.

    Returns:
        The backtest, equal bit for bit to an `Account` that processes every bar.

    Raises:
        UsageError: If an order is placed at a bar outside the market.
    """
    if orders and not 0 <= min(orders) <= max(orders) < len(market):
        raise UsageError(
            f"orders are placed at bars {min(orders)} to {max(orders)}; expected bars of 0 to {len(market) - 1}"
        )
    rules = rules or Rules()
    return orders_only_backtest(market, orders, rules) or _EventBacktest(market, orders, rules).run()


def orders_only_backtest(market: Market, orders: OrdersByBar, rules: Rules) -> Backtest | None:
    """Return the backtest of one asset if nothing but orders affects the account, else None.

    The curve is computed from the orders alone and checked afterwards. It is valid if no interest, borrow cost, split,
    dividend or protective order applies, and if the account is never ruined or due for liquidation at a close.
    """
    has_corporate_actions = not market.adjusted and (market.splits is not None or market.dividends is not None)
    if market.assets > 1 or has_corporate_actions or rules.interest:
        return None
    due = sorted(orders)
    if due and due[-1] == len(market) - 1:
        due.pop()
    t = np.array(due, dtype=np.int64) + 1
    fill, cash, held, entry = make_fill(rules), float(rules.cash), 0.0, 0.0
    cashes, units, fills = [cash], [held], []
    opens, traded = market.open[t, 0].tolist(), (market.volume[t, 0] != 0).tolist()
    for decided_at, price, tradable in zip(due, opens, traded, strict=True):
        if len(orders[decided_at]) > 1:
            return None
        for order in orders[decided_at]:
            if order[0] or order[3] is not None or order[4] is not None:
                return None
            if tradable:
                cash, held, entry, filled = fill(cash, held, entry, price, order)
                fills += [(decided_at + 1, each) for each in filled]
        if (held < 0 and rules.borrow) or (cash < 0 and rules.loan):
            return None
        cashes.append(cash)
        units.append(held)
    lengths = np.diff(t, prepend=0, append=len(market))
    result = _curves(market, np.array(cashes), np.array(units)[:, None], lengths, fills)
    gross = np.abs(result.units[:, 0] * market.close[:, 0])
    liquidated = (result.equity <= 0) | (result.equity < rules.maintenance * gross)
    return None if liquidated.any() else result


def _curves(market: Market, cash: Floats, units: Floats, lengths: Any, fills: Sequence[tuple[int, Fill]]) -> Backtest:
    """Expand balances, each valid for `lengths` bars, to the values at every close."""
    cash, units = np.repeat(cash, lengths), np.repeat(units, lengths, axis=0)
    equity = cash.copy()
    for asset in range(market.assets):
        equity += units[:, asset] * market.close[:, asset]
    return Backtest(equity, cash, units, tuple(fills))


class _EventBacktest:
    """A backtest that skips from event to event."""

    def __init__(self, market: Market, orders: OrdersByBar, rules: Rules) -> None:
        self.market, self.orders = market, orders
        self.account = Account(rules, market.close[0].tolist())
        self.accrues = bool(rules.interest), bool(rules.loan), bool(rules.borrow)
        self.maintenance = rules.maintenance
        self.starts, self.cash, self.units = [0], [self.account.cash], [tuple(self.account.units)]
        self.fills: list[tuple[int, Fill]] = []
        self.applies_corporate_actions = not market.adjusted and (
            market.splits is not None or market.dividends is not None
        )
        self.prepared_bars = {} if self.applies_corporate_actions else self._order_bars()
        self.corporate_bars = (
            self._corporate_action_bars() if self.applies_corporate_actions else np.empty(0, dtype=np.int64)
        )

    def _order_bars(self) -> dict[int, Bar]:
        """Return the bars in which orders are filled, converted in one pass."""
        market = self.market
        bars = np.array(sorted(self.orders), dtype=np.int64) + 1
        bars = bars[bars < len(market)]
        rows = (values[bars].tolist() for values in (market.open, market.high, market.low, market.close))
        traded = (market.volume[bars] != 0).tolist()
        return dict(zip(bars.tolist(), map(Bar, *rows, traded), strict=True))

    def _corporate_action_bars(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        market = self.market
        happens = np.zeros(len(market), dtype=bool)
        for values, neutral in ((market.splits, 1.0), (market.dividends, 0.0)):
            if values is not None:
                happens |= (values != neutral).any(axis=1)
        return np.flatnonzero(happens).astype(np.int64)

    def run(self) -> Backtest:
        account, bars, orders, t = self.account, len(self.market), self.orders, 0
        order_bars = iter([*sorted(orders), bars - 1])
        next_orders = next(order_bars)
        while t + 1 < bars and not account.ruined:
            t = self._next_event(t, next_orders)
            if t >= bars:
                break
            filled: Sequence[Order] = ()
            if next_orders == t - 1 and next_orders in orders:
                filled = orders[next_orders]
            if next_orders == t - 1:
                next_orders = next(order_bars, bars)
            self._process_bar(t, filled)
        lengths = np.diff([*self.starts, bars])
        return _curves(self.market, np.array(self.cash), np.array(self.units), lengths, self.fills)

    def _process_bar(self, t: int, orders: Sequence[Order]) -> None:
        account = self.account
        account.advance(self._bar(t), orders)
        if account.fills:
            self.fills += [(t, fill) for fill in account.fills]
        self.starts.append(t)
        self.cash.append(account.cash)
        self.units.append(tuple(account.units))

    def _bar(self, t: int) -> Bar:
        if t in self.prepared_bars:
            return self.prepared_bars[t]
        market = self.market
        rows = [values[t].tolist() for values in (market.open, market.high, market.low, market.close)]
        traded = [volume != 0 for volume in market.volume[t].tolist()]
        if not self.applies_corporate_actions:
            return Bar(rows[0], rows[1], rows[2], rows[3], traded)
        splits, dividends = (None if v is None else v[t].tolist() for v in (market.splits, market.dividends))
        return Bar(rows[0], rows[1], rows[2], rows[3], traded, splits, dividends)

    def _next_event(self, t: int, next_orders: int) -> int:
        """Return the first bar after `t` in which an event may happen, at most the bar after `next_orders`."""
        account = self.account
        short = min(account.units) < 0
        interest, loan, borrow = self.accrues
        if account.liquidating or (interest and account.cash > 0) or (loan and account.cash < 0) or (borrow and short):
            return t + 1
        last = min(next_orders + 1, len(self.market))
        if last <= t + 1:
            return last
        if len(self.corporate_bars) and any(account.units):
            number = int(np.searchsorted(self.corporate_bars, t, side="right"))
            last = min(last, int(self.corporate_bars[number])) if number < len(self.corporate_bars) else last
        for asset, units in enumerate(account.units):
            if units and (account.stop[asset] is not None or account.take[asset] is not None):
                last = self._first_protection_hit(asset, t + 1, last)
        if short or account.cash < 0:
            last = self._first_margin_call(t + 1, last)
        return last

    def _first_protection_hit(self, asset: int, first: int, last: int) -> int:
        """Return the first bar in which the stop-loss or take-profit of an asset is reached, else `last`."""
        stop, take, long = self.account.stop[asset], self.account.take[asset], self.account.units[asset] > 0
        high, low, traded = self.market.high[:, asset], self.market.low[:, asset], self.market.volume[:, asset]
        width = 32
        while first < last:
            part = slice(first, min(first + width, last))
            hit = np.zeros(part.stop - first, dtype=bool)
            if stop is not None:
                hit |= low[part] <= stop if long else high[part] >= stop
            if take is not None:
                hit |= high[part] >= take if long else low[part] <= take
            hit &= traded[part] != 0
            if hit.any():
                return first + int(hit.argmax())
            first, width = part.stop, width * 2
        return last

    def _first_margin_call(self, first: int, last: int) -> int:
        """Return the first bar whose close may cause ruin or liquidation, else `last`."""
        units, cash, share = self.account.units, self.account.cash, self.maintenance * (1 + 1e-9)
        width = 256
        while first < last:
            part = slice(first, min(first + width, last))
            # The tolerance covers rounding: sums are computed in another order here. `Account` then decides exactly.
            if len(units) == 1:
                margin_call = self.market.close[part, 0] * (units[0] - share * abs(units[0])) <= 1e-9 - cash
            else:
                values = self.market.close[part] * np.array(units)
                margin_call = cash + values.sum(axis=1) <= share * np.abs(values).sum(axis=1) + 1e-9
            if margin_call.any():
                return first + int(margin_call.argmax())
            first, width = part.stop, width * 2
        return last


def backtest_many(market: Market, weights: Floats, rules: Rules | None = None) -> Floats:
    """Run K strategies on one asset, each with its own account.

    Args:
        market: A market of one asset and T bars.
        weights: Target weights, (T, K). NaN places no order.
        rules: Costs and margin rules. Default: `Rules()`.

    Returns:
        Equity at every close, (T, K).

    Raises:
        UsageError: If the market has several assets or `weights` has another shape.
    """
    if market.assets != 1 or weights.shape[0] != len(market) or weights.ndim != 2:
        raise UsageError(
            f"weights have the shape {weights.shape} for {market.assets} assets; expected (T, K) for one asset, with "
            f"T = {len(market)}"
        )
    batch = VectorAccount(rules or Rules(), weights.shape[1], market.close[0].tolist())
    bars, accounts = np.nonzero(weights == weights)
    targets = weights[bars, accounts]
    cuts = np.searchsorted(bars, np.arange(len(market) + 1)).tolist()
    curve = np.empty(weights.shape)
    curve[0] = batch.equity
    rows = _bars(market)
    for t in range(1, len(market)):
        first, stop = cuts[t - 1], cuts[t]
        batch.advance(rows[t], accounts[first:stop], targets[None, first:stop])
        curve[t] = batch.equity
    return curve


def _bars(market: Market) -> list[Bar]:
    from .market_window import MarketWindow

    return list(MarketWindow(market, 0, len(market), Rules()).bars)
