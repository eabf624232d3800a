"""A trading account, simulated bar by bar with plain floats. `Rules` documents the rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from .rules import Fill, Order, Rules

LOT_TOLERANCE = 1e-9
"""Tolerance in lots when units are rounded down to whole lots, so that 0.1 + 0.2 counts as three lots of 0.1."""


class Bar(NamedTuple):
    """One bar of all assets. Each sequence has one value per asset."""

    open: Sequence[float]
    high: Sequence[float]
    low: Sequence[float]
    close: Sequence[float]
    tradable: Sequence[bool]
    splits: Sequence[float] | None = None
    dividends: Sequence[float] | None = None


class Account:
    """Cash and positions under `rules`. `Rules` documents what happens within a bar, and in which order."""

    __slots__ = (
        "_borrow", "_closing_markup", "_commission", "_fee", "_has_protection", "_interest", "_leverage", "_loan",
        "_lot", "_maintenance", "_opening_markup", "_short", "cash", "entry", "equity", "fills", "gross", "liquidating",
        "marks", "notes", "ruined", "rules", "stop", "take", "units",
    )  # fmt: skip

    def __init__(self, rules: Rules, closes: Sequence[float]) -> None:
        """Open an account with `rules.cash` at a bar with the closing prices `closes`, one per asset."""
        count = len(closes)
        self.rules = rules
        self.cash = self.equity = float(rules.cash)
        """`equity` is cash plus the value of all positions at the last close."""
        self.gross = 0.0
        """Sum of the absolute values of the positions at the last close."""
        self.units = [0.0] * count
        self.entry = [0.0] * count
        """Average entry price of each position; 0 without a position."""
        self.stop: list[float | None] = [None] * count
        self.take: list[float | None] = [None] * count
        self.marks: Sequence[float] = tuple(closes)
        """Last closing prices, at which positions are valued."""
        self.liquidating = False
        """Whether the broker closes all positions at the next open."""
        self.ruined = False
        self.fills: list[Fill] = []
        """Fills of the last bar."""
        self.notes: list[tuple[int, str]] = []
        """Asset and explanation for each order of the last bar that was cut or not filled."""
        self._has_protection = False
        # Copied from the rules: these are read at every bar, and property access is slow.
        self._opening_markup, self._closing_markup = rules.opening_markup, rules.closing_markup
        self._commission, self._fee, self._lot = rules.commission, rules.fee, rules.lot
        self._leverage, self._maintenance, self._short = rules.leverage, rules.maintenance, rules.short
        self._borrow, self._interest, self._loan = (
            rate / rules.bars_per_year for rate in (rules.borrow, rules.interest, rules.loan)
        )

    def state(self) -> tuple[Any, ...]:
        """Return the complete state as an immutable tuple."""
        return (
            self.cash, self.equity, self.gross, tuple(self.units), tuple(self.entry), tuple(self.stop),
            tuple(self.take), tuple(self.marks), self.liquidating, self.ruined,
        )  # fmt: skip

    def set_state(self, state: tuple[Any, ...]) -> None:
        """Restore a state that `state` returned."""
        self.cash, self.equity, self.gross, units, entry, stop, take, marks, self.liquidating, self.ruined = state
        self.units, self.entry, self.stop, self.take = list(units), list(entry), list(stop), list(take)
        self.marks = marks
        self.fills, self.notes = [], []
        self._has_protection = any(price is not None for price in (*stop, *take))

    def advance(self, bar: Bar, orders: Sequence[Order] = ()) -> list[Fill]:
        """Process the next bar with these orders and return its fills. A ruined account does not trade."""
        self.fills, self.notes = [], []
        if self.ruined:
            return self.fills
        if bar.splits is not None or bar.dividends is not None:
            self._apply_corporate_actions(bar)
        self._accrue_interest()
        if self.liquidating:
            self._liquidate(bar)
        elif orders:
            self._execute_orders(bar, orders)
        if self._has_protection:
            self._trigger_protection(bar)
        self.mark(bar.close)
        return self.fills

    def mark(self, closes: Sequence[float]) -> None:
        """Value the account at these closing prices and check for ruin and margin calls."""
        equity, gross = self.cash, 0.0
        for units, price in zip(self.units, closes, strict=True):
            if units:
                value = units * price
                equity += value
                gross += abs(value)
        self.marks = closes
        self.equity, self.gross = equity, gross
        if equity <= 0:
            self._ruin(closes)
        else:
            self.liquidating = equity < self._maintenance * gross

    # -- Events of a bar ------------------------------------------------------------------------------------------

    def _apply_corporate_actions(self, bar: Bar) -> None:
        for asset, units in enumerate(self.units):
            if not units:
                continue
            ratio = bar.splits[asset] if bar.splits is not None else 1.0
            if ratio != 1.0:
                self.units[asset] = units = units * ratio
                self.entry[asset] /= ratio
                for prices in (self.stop, self.take):
                    price = prices[asset]
                    prices[asset] = None if price is None else price / ratio
            if bar.dividends is not None:
                self.cash += units * bar.dividends[asset]

    def _accrue_interest(self) -> None:
        """Book interest, borrow cost and loan interest on the balances of the last close."""
        shorts, cash = 0.0, self.cash
        if cash >= 0 and not self._interest and min(self.units) >= 0:
            return
        for units, mark in zip(self.units, self.marks, strict=True):
            if units < 0:
                shorts -= units * mark
        if cash < 0:
            self.cash = cash + cash * self._loan - shorts * self._borrow
        elif shorts or self._interest:
            self.cash = cash + max(cash - shorts, 0.0) * self._interest - shorts * self._borrow

    def _liquidate(self, bar: Bar) -> None:
        for asset, units in enumerate(self.units):
            if units and bar.tradable[asset]:
                self._trade(asset, -units, bar.open[asset], self._closing_markup, "margin")

    def _execute_orders(self, bar: Bar, orders: Sequence[Order]) -> None:
        """Fill orders at the open. Parts that reduce positions are filled before parts that increase them."""
        opens, units = bar.open, self.units
        equity, gross = self.cash, 0.0
        for held, price in zip(units, opens, strict=True):
            if held:
                equity += held * price
                gross += abs(held * price)
        if len(orders) > 1:
            orders = sorted(orders, key=lambda order: order.asset)
        equity_at_open, increases = equity, []
        for order in orders:
            asset, price = order.asset, opens[order.asset]
            if not bar.tradable[asset]:
                self.notes.append((asset, "not traded in this bar, the order lapsed"))
                continue
            held = units[asset]
            change = self._order_units(order, held, price, equity_at_open)
            reduce = 0.0 if change * held >= 0 else math.copysign(min(abs(change), abs(held)), change)
            if reduce:
                cost = self._trade(asset, reduce, price, self._closing_markup, "order")
                equity -= cost
                gross -= abs(reduce) * price
            increases.append((order, change - reduce if reduce else change))
        for order, change in increases:
            if change:
                equity, gross = self._increase(order, change, opens[order.asset], equity, gross)
            if order.stop is not None or order.take is not None:
                self._set_protection(order)

    def _order_units(self, order: Order, held: float, price: float, equity: float) -> float:
        """Return the signed units that an order asks for, before the limit of the buying power."""
        if order.kind == "to_weight":
            change = self._round_to_lots(order.size * equity / price) - held if order.size else -held
        elif order.kind == "by_weight":
            change = self._round_to_lots(order.size * equity / price)
        else:
            change = self._round_to_lots(order.size)
        if not self._short and held + change < 0:
            self.notes.append((order.asset, "short positions are not allowed, the order was cut at 0"))
            change = -held
        return change

    def _round_to_lots(self, units: float) -> float:
        lot = self._lot
        if not lot:
            return units
        return math.copysign(math.floor(abs(units) / lot + LOT_TOLERANCE) * lot, units)

    def _increase(self, order: Order, change: float, price: float, equity: float, gross: float) -> tuple[float, float]:
        side, leverage = 1.0 if change > 0 else -1.0, self._leverage
        fill_price = price * (1 + side * self._opening_markup)
        buying_power = leverage * (equity - self._fee) - gross
        max_units = self._round_to_lots(
            max(buying_power, 0.0) / (price + leverage * (abs(fill_price - price) + self._commission * fill_price))
        )
        if abs(change) > max_units:
            cut = f"{abs(change):g} units are more than the account can pay for, the order was cut to {max_units:g}"
            self.notes.append((order.asset, cut))
            change = side * max_units
        if change:
            equity -= self._trade(order.asset, change, price, self._opening_markup, "order")
            gross += abs(change) * price
        return equity, gross

    def _set_protection(self, order: Order) -> None:
        """Set stop-loss and take-profit of the position after its order was filled."""
        asset, units, entry = order.asset, self.units[order.asset], self.entry[order.asset]
        if not units:
            return
        side = 1.0 if units > 0 else -1.0
        if order.stop is not None:
            self.stop[asset] = entry * (1 - side * order.stop) if order.relative else order.stop
            self._has_protection = True
        if order.take is not None:
            self.take[asset] = entry * (1 + side * order.take) if order.relative else order.take
            self._has_protection = True

    def _trigger_protection(self, bar: Bar) -> None:
        """Fill the stop-losses and take-profits that the bar reaches."""
        still_protected = False
        for asset, units in enumerate(self.units):
            stop, take = self.stop[asset], self.take[asset]
            if not units or (stop is None and take is None):
                continue
            open_, high, low = bar.open[asset], bar.high[asset], bar.low[asset]
            if not bar.tradable[asset]:
                still_protected = True
            elif stop is not None and (low <= stop if units > 0 else high >= stop):
                reached = min(open_, stop) if units > 0 else max(open_, stop)
                self._trade(asset, -units, reached, self._closing_markup, "stop")
            elif take is not None and (high >= take if units > 0 else low <= take):
                self._trade(asset, -units, max(open_, take) if units > 0 else min(open_, take), 0.0, "take")
            else:
                still_protected = True
        self._has_protection = still_protected

    def _ruin(self, closes: Sequence[float]) -> None:
        for asset, units in enumerate(self.units):
            if units:
                self._trade(asset, -units, closes[asset], 0.0, "ruin")
        self.cash = self.equity = self.gross = 0.0
        self.ruined, self.liquidating = True, False

    def _trade(self, asset: int, change: float, price: float, markup: float, reason: str) -> float:
        """Book one fill that either reduces or increases the position.

        Returns:
            The loss of equity at `price`: commission, fee, and the markup paid.
        """
        held = self.units[asset]
        fill_price = price * (1 + markup) if change > 0 else price * (1 - markup)
        value = change * fill_price
        cost = abs(value) * self._commission + self._fee
        self.cash -= value + cost
        left = held + change
        opened = held * change >= 0
        profit = 0.0
        if opened:
            self.entry[asset] = (abs(held) * self.entry[asset] + abs(change) * fill_price) / abs(left)
        else:
            profit = -change * (fill_price - self.entry[asset]) - cost
            if not left:
                self.entry[asset] = 0.0
                self.stop[asset] = self.take[asset] = None
        self.units[asset] = left
        self.fills.append(tuple.__new__(Fill, (asset, change, fill_price, cost, reason, profit, opened)))
        return change * (fill_price - price) + cost
