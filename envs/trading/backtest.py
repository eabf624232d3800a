"""One strategy over millions of bars, or thousands of strategies over the same bars.

`backtest` lives through the bars where something happens one by one, as `Account` does, and through those between as
arrays; the numbers are those of `Account` bar by bar. `backtest_many` takes a `Fleet`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import UsageError
from .account import Account, Bar
from .filling import filling
from .fleet import Fleet
from .market import Floats, Market
from .rules import Fill, Order, Rules

Decisions = Mapping[int, Sequence[Order]]
"""By the number of the bar after whose close they are given; filled at the open of the next."""


@dataclass(frozen=True, eq=False)
class Backtest:
    """What became of an account."""

    equity: Floats
    """(T,) at every close; the first is the cash at the beginning."""
    cash: Floats
    """(T,) at every close."""
    units: Floats
    """(T, A) at every close."""
    fills: tuple[tuple[int, Fill], ...]
    """Bar and fill, in order of time."""


def decisions(weights: Floats) -> Decisions:
    """Orders from target weights (T,) or (T, A), NaN where there is no order; those after the last bar do nothing."""
    table = weights[:, None] if weights.ndim == 1 else weights
    found: dict[int, list[Order]] = {}
    bars, assets = np.nonzero(table == table)
    for bar, asset, weight in zip(bars.tolist(), assets.tolist(), table[bars, assets].tolist(), strict=True):
        found.setdefault(bar, []).append(tuple.__new__(Order, (asset, weight, "to_weight", None, None, False)))
    return found


def backtest(market: Market, orders: Decisions, rules: Rules | None = None) -> Backtest:
    """Run an account of `rules` over all bars of a market with these decisions.

    Between two events (an order, a hit stop, a split or dividend, a liquidation) nothing is computed bar by bar, unless
    interest or borrow cost accrues. Memory is a few arrays of T numbers. Raises `UsageError` for a decision at a bar
    that there is not.
    """
    if orders and not 0 <= min(orders) <= max(orders) < len(market):
        raise UsageError(
            f"decisions are given at bars {min(orders)} to {max(orders)}; there are 0 to {len(market) - 1}"
        )
    rules = rules or Rules()
    return undisturbed(market, orders, rules) or _Run(market, orders, rules).done()


def undisturbed(market: Market, orders: Decisions, rules: Rules) -> Backtest | None:
    """The backtest of one asset when nothing but its orders happens to the account; None when something else may.

    It is computed as if so, order by order, and the whole curve is then looked at once: an account that nothing was
    paid to or charged for, and that was at no close to be liquidated or ruined, has indeed lived so.
    """
    corporate = not market.adjusted and (market.splits is not None or market.dividends is not None)
    if market.assets > 1 or corporate or rules.interest:
        return None
    due = sorted(orders)
    if due and due[-1] == len(market) - 1:
        due.pop()
    at = np.array(due, dtype=np.int64) + 1
    fill, cash, held, entry = filling(rules), float(rules.cash), 0.0, 0.0
    cashes, units, fills = [cash], [held], []
    opens, traded = market.open[at, 0].tolist(), (market.volume[at, 0] != 0).tolist()
    for given, price, open_ in zip(due, opens, traded, strict=True):
        if len(orders[given]) > 1:
            return None
        for order in orders[given]:
            if order[0] or order[3] is not None or order[4] is not None:
                return None
            if open_:
                cash, held, entry, filled = fill(cash, held, entry, price, order)
                fills += [(given + 1, each) for each in filled]
        if (held < 0 and rules.borrow) or (cash < 0 and rules.loan):
            return None
        cashes.append(cash)
        units.append(held)
    lengths = np.diff(at, prepend=0, append=len(market))
    result = _curves(market, np.array(cashes), np.array(units)[:, None], lengths, fills)
    gross = np.abs(result.units[:, 0] * market.close[:, 0])
    called = (result.equity <= 0) | (result.equity < rules.maintenance * gross)
    return None if called.any() else result


def _curves(market: Market, cash: Floats, units: Floats, lengths: Any, fills: Sequence[tuple[int, Fill]]) -> Backtest:
    """Every close, from the balances and how many bars each of them lasted."""
    cash, units = np.repeat(cash, lengths), np.repeat(units, lengths, axis=0)
    equity = cash.copy()
    for asset in range(market.assets):
        equity += units[:, asset] * market.close[:, asset]
    return Backtest(equity, cash, units, tuple(fills))


class _Run:
    def __init__(self, market: Market, orders: Decisions, rules: Rules) -> None:
        self.market, self.orders = market, orders
        self.account = Account(rules, market.close[0].tolist())
        self.accrues = bool(rules.interest), bool(rules.loan), bool(rules.borrow)
        self.maintenance = rules.maintenance
        self.starts, self.cash, self.units = [0], [self.account.cash], [tuple(self.account.units)]
        self.fills: list[tuple[int, Fill]] = []
        self.adjusts = not market.adjusted and (market.splits is not None or market.dividends is not None)
        self.due = {} if self.adjusts else self._due()
        self.corporate = self._corporate() if self.adjusts else np.empty(0, dtype=np.int64)

    def _due(self) -> dict[int, Bar]:
        """The bars in which orders are filled, read at once."""
        market = self.market
        bars = np.array(sorted(self.orders), dtype=np.int64) + 1
        bars = bars[bars < len(market)]
        rows = (values[bars].tolist() for values in (market.open, market.high, market.low, market.close))
        traded = (market.volume[bars] != 0).tolist()
        return dict(zip(bars.tolist(), map(Bar, *rows, traded), strict=True))

    def _corporate(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        market = self.market
        happens = np.zeros(len(market), dtype=bool)
        for values, nothing in ((market.splits, 1.0), (market.dividends, 0.0)):
            if values is not None:
                happens |= (values != nothing).any(axis=1)
        return np.flatnonzero(happens).astype(np.int64)

    def done(self) -> Backtest:
        account, bars, orders, at = self.account, len(self.market), self.orders, 0
        given = iter([*sorted(orders), bars - 1])
        due = next(given)
        while at + 1 < bars and not account.ruined:
            at = self._next(at, due)
            if at >= bars:
                break
            now: Sequence[Order] = ()
            if due == at - 1 and due in orders:
                now = orders[due]
            if due == at - 1:
                due = next(given, bars)
            self._live(at, now)
        lengths = np.diff([*self.starts, bars])
        return _curves(self.market, np.array(self.cash), np.array(self.units), lengths, self.fills)

    def _live(self, at: int, orders: Sequence[Order]) -> None:
        account = self.account
        account.advance(self._bar(at), orders)
        if account.fills:
            self.fills += [(at, fill) for fill in account.fills]
        self.starts.append(at)
        self.cash.append(account.cash)
        self.units.append(tuple(account.units))

    def _bar(self, at: int) -> Bar:
        if at in self.due:
            return self.due[at]
        market = self.market
        rows = [values[at].tolist() for values in (market.open, market.high, market.low, market.close)]
        traded = [volume != 0 for volume in market.volume[at].tolist()]
        if not self.adjusts:
            return Bar(rows[0], rows[1], rows[2], rows[3], traded)
        splits, dividends = (None if v is None else v[at].tolist() for v in (market.splits, market.dividends))
        return Bar(rows[0], rows[1], rows[2], rows[3], traded, splits, dividends)

    def _next(self, at: int, due: int) -> int:
        """The first bar after `at`, and up to that after the next decision, in which something may happen."""
        account = self.account
        short = min(account.units) < 0
        interest, loan, borrow = self.accrues
        if account.liquidating or (interest and account.cash > 0) or (loan and account.cash < 0) or (borrow and short):
            return at + 1
        last = min(due + 1, len(self.market))
        if last <= at + 1:
            return last
        if len(self.corporate) and any(account.units):
            number = int(np.searchsorted(self.corporate, at, side="right"))
            last = min(last, int(self.corporate[number])) if number < len(self.corporate) else last
        for asset, units in enumerate(account.units):
            if units and (account.stop[asset] is not None or account.take[asset] is not None):
                last = self._guarded(asset, at + 1, last)
        if short or account.cash < 0:
            last = self._called(at + 1, last)
        return last

    def _guarded(self, asset: int, first: int, last: int) -> int:
        """The first bar in which a stop or take of an asset is reached."""
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

    def _called(self, first: int, last: int) -> int:
        """The first bar at whose close the account could be ruined or is to be liquidated."""
        units, cash, share = self.account.units, self.account.cash, self.maintenance * (1 + 1e-9)
        width = 256
        while first < last:
            part = slice(first, min(first + width, last))
            # With a little to spare: the account itself decides, in its own order of summing.
            if len(units) == 1:
                called = self.market.close[part, 0] * (units[0] - share * abs(units[0])) <= 1e-9 - cash
            else:
                values = self.market.close[part] * np.array(units)
                called = cash + values.sum(axis=1) <= share * np.abs(values).sum(axis=1) + 1e-9
            if called.any():
                return first + int(called.argmax())
            first, width = part.stop, width * 2
        return last


def backtest_many(market: Market, weights: Floats, rules: Rules | None = None) -> Floats:
    """Equity (T, K) of K strategies on one asset; `weights` (T, K) are target weights, NaN where there is no order."""
    if market.assets != 1 or weights.shape[0] != len(market) or weights.ndim != 2:
        raise UsageError(
            f"weights have the shape {weights.shape} for {market.assets} assets; expected (T, K) for one asset, with "
            f"T = {len(market)}"
        )
    fleet = Fleet(rules or Rules(), weights.shape[1], market.close[0].tolist())
    bars, accounts = np.nonzero(weights == weights)
    targets = weights[bars, accounts]
    cuts = np.searchsorted(bars, np.arange(len(market) + 1)).tolist()
    curve = np.empty(weights.shape)
    curve[0] = fleet.equity
    rows = _rows(market)
    for at in range(1, len(market)):
        first, stop = cuts[at - 1], cuts[at]
        fleet.advance(rows[at], accounts[first:stop], targets[None, first:stop])
        curve[at] = fleet.equity
    return curve


def _rows(market: Market) -> list[Bar]:
    from .episode import Episode

    return list(Episode(market, 0, len(market), Rules()).bars)
