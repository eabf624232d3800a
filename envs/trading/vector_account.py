"""Thousands of accounts in one market, processed bar by bar with numpy.

Results equal those of `Account` bit for bit, since the operations and their order are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .account import LOT_TOLERANCE, Bar
from .market import Floats
from .rules import Rules

Mask = NDArray[np.bool_]
Indices = NDArray[Any]
"""Indices of accounts."""


class VectorAccount:
    """N accounts under the same rules, each with its own orders. Position arrays have the shape (A, N) for A assets."""

    def __init__(self, rules: Rules, count: int, closes: Any) -> None:
        """Open `count` accounts with `rules.cash` at a bar with the closing prices `closes`, one per asset."""
        assets = len(closes)
        self.rules = rules
        self.marks = closes
        self.cash = np.full(count, float(rules.cash))
        self.equity = self.cash.copy()
        """(N,) Cash plus the value of all positions at the last close."""
        self.units = np.zeros((assets, count))
        self.entry = np.zeros((assets, count))
        self.stop = np.full((assets, count), np.nan)
        self.take = np.full((assets, count), np.nan)
        self.liquidating = np.zeros(count, dtype=bool)
        self.ruined = np.zeros(count, dtype=bool)
        self._has_protection = self._has_shorts = self._in_debt = False
        self.may_owe = self._may_borrow = rules.leverage > 1 or rules.maintenance >= 1
        """Whether any account may have owed cash or units in the last bar (other than by a fee of that bar), or
        `maintenance` is at least 1. Ruin and margin are checked only then, or if cash is negative at the close."""
        self._opening_markup, self._closing_markup = rules.opening_markup, rules.closing_markup
        self._rates = tuple(rate / rules.bars_per_year for rate in (rules.borrow, rules.interest, rules.loan))

    def reopen(self, accounts: Mask) -> None:
        """Reset these accounts to the initial cash and no positions."""
        self.cash[accounts] = self.equity[accounts] = self.rules.cash
        self.units[:, accounts] = self.entry[:, accounts] = 0.0
        self.stop[:, accounts] = self.take[:, accounts] = np.nan
        self.liquidating[accounts] = self.ruined[accounts] = False

    def advance(
        self,
        bar: Bar,
        accounts: Indices | None = None,
        weights: Floats | None = None,
        stop: Floats | None = None,
        take: Floats | None = None,
    ) -> None:
        """Process the next bar. Ruined accounts do not trade.

        Args:
            bar: The bar.
            accounts: (K,) Indices of the accounts with orders.
            weights: (A, K) Target weights. NaN places no order.
            stop: (A, K) Stop-loss distances from the entry price, as shares of it. NaN keeps the current stop-loss.
            take: (A, K) Take-profit distances, likewise.
        """
        # Buying back a short position in this bar can leave debts although no short position is left at the close.
        self.may_owe = self._has_shorts or self._may_borrow or self._in_debt
        if bar.splits is not None or bar.dividends is not None:
            self._apply_corporate_actions(bar)
        self._accrue_interest()
        liquidated: Any = np.flatnonzero(self.liquidating) if self.may_owe else ()
        if accounts is not None and weights is not None and len(accounts):
            if self.may_owe:
                active = np.flatnonzero(~(self.liquidating | self.ruined)[accounts])
                accounts, weights = accounts[active], weights[:, active]
                stop, take = (None if distances is None else distances[:, active] for distances in (stop, take))
            self._execute_orders(bar, accounts, weights, stop, take)
        for asset in range(len(self.units)) if len(liquidated) else ():
            if bar.tradable[asset]:
                self._close_positions(asset, liquidated, bar.open[asset], self._closing_markup)
        if self._has_protection:
            self._trigger_protection(bar)
        self._mark(bar.close)

    # -- Events of a bar ------------------------------------------------------------------------------------------

    def _apply_corporate_actions(self, bar: Bar) -> None:
        for asset in range(len(self.units)):
            ratio = 1.0 if bar.splits is None else bar.splits[asset]
            if ratio != 1.0:
                self.units[asset] *= ratio
                self.entry[asset] /= ratio
                self.stop[asset] /= ratio
                self.take[asset] /= ratio
            if bar.dividends is not None:
                self.cash += self.units[asset] * bar.dividends[asset]

    def _accrue_interest(self) -> None:
        borrow, interest, loan = self._rates
        cash = self.cash
        if self._has_shorts:
            shorts = np.zeros_like(cash)
            for units, mark in zip(self.units, self.marks, strict=True):
                shorts -= np.minimum(units, 0.0) * mark
            earned = np.where(cash < 0, cash * loan, np.maximum(cash - shorts, 0.0) * interest)
            self.cash = cash + earned - shorts * borrow
        elif interest or (loan and self._in_debt):
            self.cash = cash + np.where(cash < 0, cash * loan, cash * interest)

    def _execute_orders(
        self, bar: Bar, indices: Indices, weights: Floats, stop: Floats | None, take: Floats | None
    ) -> None:
        opens, assets = bar.open, range(len(self.units))
        cash, held, entry = self.cash[indices], self.units[:, indices], self.entry[:, indices]
        equity, gross = cash, np.zeros(len(indices))
        for asset in assets:
            value = held[asset] * opens[asset]
            equity = equity + value
            gross += np.abs(value)
        equity_at_open, increases = equity, []
        for asset in assets:
            ordered = weights[asset] == weights[asset]
            if not bar.tradable[asset] or not ordered.any():
                continue
            price, size, units = opens[asset], weights[asset], held[asset]
            change = np.where(size == 0, 0.0, self._round_to_lots(size * equity_at_open / price)) - units
            if not self.rules.short:
                change = np.maximum(change, -units)
            change = np.where(ordered, change, 0.0)
            reduce = np.maximum(np.minimum(change, np.maximum(-units, 0.0)), np.minimum(-units, 0.0))
            if np.count_nonzero(reduce):
                cash, cost = self._pay(cash, reduce, price, self._fill_prices(reduce, price, self._closing_markup))
                held[asset] += reduce
                entry[asset] = np.where(held[asset] == 0, 0.0, entry[asset])
                equity = equity - cost
                gross -= np.abs(reduce) * price
                change = change - reduce
            increases.append((asset, change, ordered))
        for asset, change, _ in increases:
            if np.count_nonzero(change):
                price, units = opens[asset], held[asset]
                change = self._affordable(change, price, equity, gross)
                fill_price = self._fill_prices(change, price, self._opening_markup)
                grown = np.abs(units) * entry[asset] + np.abs(change) * fill_price
                # Without a change the average entry price must stay bit-identical, so it is not recomputed.
                np.divide(grown, np.abs(units + change), out=entry[asset], where=change != 0)
                held[asset] += change
                cash, cost = self._pay(cash, change, price, fill_price)
                equity = equity - cost
                gross += np.abs(change) * price
        self._store_balances(indices, cash, held, entry)
        if stop is not None or take is not None:
            for asset, _, ordered in increases:
                self._set_protection(asset, indices, ordered, stop, take)

    def _store_balances(self, indices: Indices, cash: Floats, held: Floats, entry: Floats) -> None:
        """Store the new balances, drop protective orders of closed or flipped positions, and update the risk flags."""
        if self._has_protection:
            gone = held * self.units[:, indices] <= 0
            self.stop[:, indices] = np.where(gone, np.nan, self.stop[:, indices])
            self.take[:, indices] = np.where(gone, np.nan, self.take[:, indices])
        self.cash[indices], self.units[:, indices], self.entry[:, indices] = cash, held, entry
        self._has_shorts = self.rules.short and self.units.min() < 0
        self.may_owe = self.may_owe or self._has_shorts

    def _round_to_lots(self, units: Floats) -> Floats:
        lot = self.rules.lot
        if not lot:
            return units
        whole: Floats = np.copysign(np.floor(np.abs(units) / lot + LOT_TOLERANCE) * lot, units)
        return whole

    def _affordable(self, change: Floats, price: float, equity: Floats, gross: Floats) -> Floats:
        """Cut increases of positions to the buying power."""
        rules, leverage = self.rules, self.rules.leverage
        dear, cheap = price * (1 + self._opening_markup), price * (1 - self._opening_markup)
        long, short = (
            price + leverage * (abs(fill_price - price) + rules.commission * fill_price) for fill_price in (dear, cheap)
        )
        buying_power = leverage * (equity - rules.fee) - gross
        max_units = self._round_to_lots(np.maximum(buying_power, 0.0) / np.where(change > 0, long, short))
        left: Floats = np.maximum(np.minimum(change, max_units), -max_units)
        return left

    @staticmethod
    def _fill_prices(change: Floats, price: Any, markup: float) -> Floats:
        fill_price: Floats = np.where(change > 0, price * (1 + markup), price * (1 - markup))
        return fill_price

    def _pay(self, cash: Floats, change: Floats, price: Any, fill_price: Floats) -> tuple[Floats, Floats]:
        """Return the cash after these fills, and the loss of equity at `price`: commission, fee and markup."""
        value = change * fill_price
        cost = np.abs(value) * self.rules.commission
        if self.rules.fee:
            cost += np.where(change == 0, 0.0, self.rules.fee)
        return cash - (value + cost), change * (fill_price - price) + cost

    def _close_positions(self, asset: int, indices: Indices, price: Any, markup: float) -> None:
        """Close the positions of the accounts `indices` in one asset."""
        change = -self.units[asset, indices]
        self.cash[indices], _ = self._pay(self.cash[indices], change, price, self._fill_prices(change, price, markup))
        self.units[asset, indices] = self.entry[asset, indices] = 0.0
        self.stop[asset, indices] = self.take[asset, indices] = np.nan

    def _set_protection(
        self, asset: int, indices: Indices, ordered: Mask, stop: Floats | None, take: Floats | None
    ) -> None:
        units, entry = self.units[asset, indices], self.entry[asset, indices]
        side = np.where(units > 0, 1.0, -1.0)
        for prices, distance, sign in ((self.stop, stop, -1.0), (self.take, take, 1.0)):
            if distance is not None:
                new = ordered & (units != 0) & ~np.isnan(distance[asset])
                levels = entry * (1 + sign * side * distance[asset])
                prices[asset, indices] = np.where(new, levels, prices[asset, indices])
                self._has_protection = self._has_protection or bool(new.any())

    def _trigger_protection(self, bar: Bar) -> None:
        for asset in range(len(self.units)):
            if not bar.tradable[asset]:
                continue
            indices = np.flatnonzero(
                (self.units[asset] != 0) & ~(np.isnan(self.stop[asset]) & np.isnan(self.take[asset]))
            )
            if not len(indices):
                continue
            units, stop, take = self.units[asset, indices], self.stop[asset, indices], self.take[asset, indices]
            open_, high, low, long = bar.open[asset], bar.high[asset], bar.low[asset], units > 0
            stopped = np.where(long, low <= stop, high >= stop)
            taken = np.where(long, high >= take, low <= take) & ~stopped
            if stopped.any():
                reached = np.where(long, np.minimum(open_, stop), np.maximum(open_, stop))[stopped]
                self._close_positions(asset, indices[stopped], reached, self._closing_markup)
            if taken.any():
                reached = np.where(long, np.maximum(open_, take), np.minimum(open_, take))[taken]
                self._close_positions(asset, indices[taken], reached, 0.0)

    def _mark(self, closes: Any) -> None:
        equity = self.cash
        values = [units * close for units, close in zip(self.units, closes, strict=True)]
        for value in values:
            equity = equity + value
        self.marks, self.equity = closes, equity
        # A loan can outlast the short position or the fee that caused it. Rounding can cause one as well.
        self._in_debt = bool(self.cash.min() < 0)
        # With `maintenance` below 1, an account without debts can neither be ruined nor liquidated.
        if not (self.may_owe or self._in_debt):
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
