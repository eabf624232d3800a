"""Thousands of accounts in one market at once: the rules of `Rules`, a bar at a time, in numpy.

Every number is what `Account` would give for each of them alone, bit for bit: the operations are the same, in the same
order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .account import ROUNDING, Bar
from .market import Floats
from .rules import Rules

Mask = NDArray[np.bool_]
Rows = NDArray[Any]
"""Numbers of accounts."""


class Fleet:
    """N accounts under the same rules, each with its own orders. Arrays of positions are (A, N)."""

    def __init__(self, rules: Rules, count: int, closes: Any) -> None:
        """`count` accounts of `rules.cash` at a close where the assets cost `closes`."""
        assets = len(closes)
        self.rules = rules
        self.marks = closes
        self.cash = np.full(count, float(rules.cash))
        self.equity = self.cash.copy()
        """(N,) cash and positions at the last close."""
        self.units = np.zeros((assets, count))
        self.entry = np.zeros((assets, count))
        self.stop = np.full((assets, count), np.nan)
        self.take = np.full((assets, count), np.nan)
        self.liquidating = np.zeros(count, dtype=bool)
        self.ruined = np.zeros(count, dtype=bool)
        self._guarded = self._short = self._owes = False
        self.risky = self._borrows = rules.leverage > 1 or rules.maintenance >= 1
        """Whether some account could owe something, or could have in the bar that was lived through last."""
        self._opening, self._closing = rules.opening, rules.closing
        self._rates = tuple(rate / rules.bars_per_year for rate in (rules.borrow, rules.interest, rules.loan))

    def reopen(self, accounts: Mask) -> None:
        """Give these accounts a new beginning, at the last close."""
        self.cash[accounts] = self.equity[accounts] = self.rules.cash
        self.units[:, accounts] = self.entry[:, accounts] = 0.0
        self.stop[:, accounts] = self.take[:, accounts] = np.nan
        self.liquidating[accounts] = self.ruined[accounts] = False

    def advance(
        self,
        bar: Bar,
        accounts: Rows | None = None,
        weights: Floats | None = None,
        stop: Floats | None = None,
        take: Floats | None = None,
    ) -> None:
        """Live through the next bar.

        `accounts` (K,) are the numbers of those that have orders, `weights` (A, K) the weights that their positions
        shall have, NaN where there is no order; `stop` and `take` (A, K) distances from the entry, as shares of it, NaN
        where there is none. Ruined accounts do nothing.
        """
        # Who buys back in this bar what was sold short may owe more than there is, and is short no more at its close.
        self.risky = self._short or self._borrows or self._owes
        if bar.splits is not None or bar.dividends is not None:
            self._corporate(bar)
        self._accrue()
        called: Any = np.flatnonzero(self.liquidating) if self.risky else ()
        if accounts is not None and weights is not None and len(accounts):
            if self.risky:
                able = np.flatnonzero(~(self.liquidating | self.ruined)[accounts])
                accounts, weights = accounts[able], weights[:, able]
                stop, take = (None if away is None else away[:, able] for away in (stop, take))
            self._carry_out(bar, accounts, weights, stop, take)
        for asset in range(len(self.units)) if len(called) else ():
            if bar.tradable[asset]:
                self._close(asset, called, bar.open[asset], self._closing)
        if self._guarded:
            self._watch(bar)
        self._mark(bar.close)

    # -- What happens in a bar ------------------------------------------------------------------------------------

    def _corporate(self, bar: Bar) -> None:
        for asset in range(len(self.units)):
            ratio = 1.0 if bar.splits is None else bar.splits[asset]
            if ratio != 1.0:
                self.units[asset] *= ratio
                self.entry[asset] /= ratio
                self.stop[asset] /= ratio
                self.take[asset] /= ratio
            if bar.dividends is not None:
                self.cash += self.units[asset] * bar.dividends[asset]

    def _accrue(self) -> None:
        borrow, interest, loan = self._rates
        cash = self.cash
        if self._short:
            shorts = np.zeros_like(cash)
            for units, mark in zip(self.units, self.marks, strict=True):
                shorts -= np.minimum(units, 0.0) * mark
            earned = np.where(cash < 0, cash * loan, np.maximum(cash - shorts, 0.0) * interest)
            self.cash = cash + earned - shorts * borrow
        elif interest or (loan and self._owes):
            self.cash = cash + np.where(cash < 0, cash * loan, cash * interest)

    def _carry_out(self, bar: Bar, some: Rows, weights: Floats, stop: Floats | None, take: Floats | None) -> None:
        opens, assets = bar.open, range(len(self.units))
        cash, held, entry = self.cash[some], self.units[:, some], self.entry[:, some]
        equity, gross = cash, np.zeros(len(some))
        for asset in assets:
            value = held[asset] * opens[asset]
            equity = equity + value
            gross += np.abs(value)
        before, rest = equity, []
        for asset in assets:
            asked = weights[asset] == weights[asset]
            if not bar.tradable[asset] or not asked.any():
                continue
            price, size, units = opens[asset], weights[asset], held[asset]
            change = np.where(size == 0, 0.0, self._lots(size * before / price)) - units
            if not self.rules.short:
                change = np.maximum(change, -units)
            change = np.where(asked, change, 0.0)
            reduce = np.maximum(np.minimum(change, np.maximum(-units, 0.0)), np.minimum(-units, 0.0))
            if np.count_nonzero(reduce):
                cash, cost = self._paid(cash, reduce, price, self._prices(reduce, price, self._closing))
                held[asset] += reduce
                entry[asset] = np.where(held[asset] == 0, 0.0, entry[asset])
                equity = equity - cost
                gross -= np.abs(reduce) * price
                change = change - reduce
            rest.append((asset, change, asked))
        for asset, change, _ in rest:
            if np.count_nonzero(change):
                price, units = opens[asset], held[asset]
                change = self._affordable(change, price, equity, gross)
                paid = self._prices(change, price, self._opening)
                grown = np.abs(units) * entry[asset] + np.abs(change) * paid
                # Where nothing changes, the average must stay what it is to the last bit.
                np.divide(grown, np.abs(units + change), out=entry[asset], where=change != 0)
                held[asset] += change
                cash, cost = self._paid(cash, change, price, paid)
                equity = equity - cost
                gross += np.abs(change) * price
        self._settle(some, cash, held, entry)
        if stop is not None or take is not None:
            for asset, _, asked in rest:
                self._protect(asset, some, asked, stop, take)

    def _settle(self, some: Rows, cash: Floats, held: Floats, entry: Floats) -> None:
        """What these accounts have from now on, and what may happen to the fleet because of it."""
        if self._guarded:
            gone = held * self.units[:, some] <= 0
            self.stop[:, some] = np.where(gone, np.nan, self.stop[:, some])
            self.take[:, some] = np.where(gone, np.nan, self.take[:, some])
        self.cash[some], self.units[:, some], self.entry[:, some] = cash, held, entry
        self._short = self.rules.short and self.units.min() < 0
        self.risky = self.risky or self._short

    def _lots(self, units: Floats) -> Floats:
        lot = self.rules.lot
        if not lot:
            return units
        whole: Floats = np.copysign(np.floor(np.abs(units) / lot + ROUNDING) * lot, units)
        return whole

    def _affordable(self, change: Floats, price: float, equity: Floats, gross: Floats) -> Floats:
        """What the buying power leaves of changes that increase positions."""
        rules, leverage = self.rules, self.rules.leverage
        dear, cheap = price * (1 + self._opening), price * (1 - self._opening)
        long, short = (price + leverage * (abs(paid - price) + rules.commission * paid) for paid in (dear, cheap))
        power = leverage * (equity - rules.fee) - gross
        most = self._lots(np.maximum(power, 0.0) / np.where(change > 0, long, short))
        left: Floats = np.maximum(np.minimum(change, most), -most)
        return left

    @staticmethod
    def _prices(change: Floats, price: Any, beyond: float) -> Floats:
        paid: Floats = np.where(change > 0, price * (1 + beyond), price * (1 - beyond))
        return paid

    def _paid(self, cash: Floats, change: Floats, price: Any, paid: Floats) -> tuple[Floats, Floats]:
        """Cash after buying and selling, and what that costs against the plain price."""
        value = change * paid
        cost = np.abs(value) * self.rules.commission
        if self.rules.fee:
            cost += np.where(change == 0, 0.0, self.rules.fee)
        return cash - (value + cost), change * (paid - price) + cost

    def _close(self, asset: int, some: Rows, price: Any, beyond: float) -> None:
        """Give up the positions of `some` accounts."""
        change = -self.units[asset, some]
        self.cash[some], _ = self._paid(self.cash[some], change, price, self._prices(change, price, beyond))
        self.units[asset, some] = self.entry[asset, some] = 0.0
        self.stop[asset, some] = self.take[asset, some] = np.nan

    def _protect(self, asset: int, some: Rows, asked: Mask, stop: Floats | None, take: Floats | None) -> None:
        units, entry = self.units[asset, some], self.entry[asset, some]
        side = np.where(units > 0, 1.0, -1.0)
        for prices, distance, sign in ((self.stop, stop, -1.0), (self.take, take, 1.0)):
            if distance is not None:
                new = asked & (units != 0) & ~np.isnan(distance[asset])
                away = entry * (1 + sign * side * distance[asset])
                prices[asset, some] = np.where(new, away, prices[asset, some])
                self._guarded = self._guarded or bool(new.any())

    def _watch(self, bar: Bar) -> None:
        for asset in range(len(self.units)):
            if not bar.tradable[asset]:
                continue
            some = np.flatnonzero((self.units[asset] != 0) & ~(np.isnan(self.stop[asset]) & np.isnan(self.take[asset])))
            if not len(some):
                continue
            units, stop, take = self.units[asset, some], self.stop[asset, some], self.take[asset, some]
            open_, high, low, long = bar.open[asset], bar.high[asset], bar.low[asset], units > 0
            stopped = np.where(long, low <= stop, high >= stop)
            taken = np.where(long, high >= take, low <= take) & ~stopped
            if stopped.any():
                reached = np.where(long, np.minimum(open_, stop), np.maximum(open_, stop))[stopped]
                self._close(asset, some[stopped], reached, self._closing)
            if taken.any():
                reached = np.where(long, np.maximum(open_, take), np.minimum(open_, take))[taken]
                self._close(asset, some[taken], reached, 0.0)

    def _mark(self, closes: Any) -> None:
        equity = self.cash
        values = [units * close for units, close in zip(self.units, closes, strict=True)]
        for value in values:
            equity = equity + value
        self.marks, self.equity = closes, equity
        # A loan may outlive the short position, or the fee, that it is from. Rounding may leave one, too.
        self._owes = bool(self.cash.min() < 0)
        # Who owes nothing can be neither ruined nor liquidated.
        if not (self.risky or self._owes):
            return
        gross = np.zeros_like(equity)
        for value in values:
            gross += np.abs(value)
        gone = (equity <= 0) & ~self.ruined
        if gone.any():
            self.cash[gone] = equity[gone] = gross[gone] = 0.0
            self.units[:, gone] = self.entry[:, gone] = 0.0
            self.stop[:, gone] = self.take[:, gone] = np.nan
            self.ruined |= gone
        self.liquidating = equity < self.rules.maintenance * gross
