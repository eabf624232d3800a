"""One account, bar by bar: the rules of `Rules` in plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from .rules import Fill, Order, Rules

ROUNDING = 1e-9
"""Lots are counted with this much of one to spare, so that 0.1 + 0.2 is three lots of 0.1."""


class Bar(NamedTuple):
    """One bar of all assets, as plain numbers."""

    open: Sequence[float]
    high: Sequence[float]
    low: Sequence[float]
    close: Sequence[float]
    tradable: Sequence[bool]
    splits: Sequence[float] | None = None
    dividends: Sequence[float] | None = None


class Account:
    """Cash and positions under `rules`. What happens in a bar, and in which order, is said in `Rules`."""

    __slots__ = (
        "_borrow", "_closing", "_commission", "_fee", "_guarded", "_interest", "_leverage", "_loan", "_lot",
        "_maintenance", "_opening", "_short", "cash", "entry", "equity", "fills", "gross", "liquidating", "marks",
        "notes", "ruined", "rules", "stop", "take", "units",
    )  # fmt: skip

    def __init__(self, rules: Rules, closes: Sequence[float]) -> None:
        """An account of `rules.cash`, at a close where the assets cost `closes`."""
        count = len(closes)
        self.rules = rules
        self.cash = self.equity = float(rules.cash)
        """Equity is cash and positions at the last close."""
        self.gross = 0.0
        """Sum of the absolute values of the positions at the last close."""
        self.units = [0.0] * count
        self.entry = [0.0] * count
        """Average price paid for each position; 0 without one."""
        self.stop: list[float | None] = [None] * count
        self.take: list[float | None] = [None] * count
        self.marks: Sequence[float] = tuple(closes)
        """The last closes."""
        self.liquidating = False
        """Whether everything is to be sold at the next open."""
        self.ruined = False
        self.fills: list[Fill] = []
        """Of the last bar."""
        self.notes: list[tuple[int, str]] = []
        """Asset and what became of its order in the last bar, where it was not filled as given."""
        self._guarded = False
        # Looked up at every bar, so not through properties.
        self._opening, self._closing = rules.opening, rules.closing
        self._commission, self._fee, self._lot = rules.commission, rules.fee, rules.lot
        self._leverage, self._maintenance, self._short = rules.leverage, rules.maintenance, rules.short
        self._borrow, self._interest, self._loan = (
            rate / rules.bars_per_year for rate in (rules.borrow, rules.interest, rules.loan)
        )

    def state(self) -> tuple[Any, ...]:
        """Everything that the future depends on, as an immutable value."""
        return (
            self.cash, self.equity, self.gross, tuple(self.units), tuple(self.entry), tuple(self.stop),
            tuple(self.take), tuple(self.marks), self.liquidating, self.ruined,
        )  # fmt: skip

    def set_state(self, state: tuple[Any, ...]) -> None:
        """Be what `state` says."""
        self.cash, self.equity, self.gross, units, entry, stop, take, marks, self.liquidating, self.ruined = state
        self.units, self.entry, self.stop, self.take = list(units), list(entry), list(stop), list(take)
        self.marks = marks
        self.fills, self.notes = [], []
        self._guarded = any(price is not None for price in (*stop, *take))

    def advance(self, bar: Bar, orders: Sequence[Order] = ()) -> list[Fill]:
        """Live through the next bar with these orders; returns the fills. A ruined account does nothing."""
        self.fills, self.notes = [], []
        if self.ruined:
            return self.fills
        if bar.splits is not None or bar.dividends is not None:
            self._corporate(bar)
        self._accrue()
        if self.liquidating:
            self._liquidate(bar)
        elif orders:
            self._carry_out(bar, orders)
        if self._guarded:
            self._watch(bar)
        self.mark(bar.close)
        return self.fills

    def mark(self, closes: Sequence[float]) -> None:
        """Value the account at a close; see what its broker says to that."""
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

    # -- What happens in a bar ------------------------------------------------------------------------------------

    def _corporate(self, bar: Bar) -> None:
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

    def _accrue(self) -> None:
        """Interest, borrow cost and interest on loans, on the balances of the last close."""
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
                self._trade(asset, -units, bar.open[asset], self._closing, "margin")

    def _carry_out(self, bar: Bar, orders: Sequence[Order]) -> None:
        """Fill orders at the open: first what reduces positions, then what increases them."""
        opens, units = bar.open, self.units
        equity, gross = self.cash, 0.0
        for held, price in zip(units, opens, strict=True):
            if held:
                equity += held * price
                gross += abs(held * price)
        if len(orders) > 1:
            orders = sorted(orders, key=lambda order: order.asset)
        before, increases = equity, []
        for order in orders:
            asset, price = order.asset, opens[order.asset]
            if not bar.tradable[asset]:
                self.notes.append((asset, "not traded in this bar, the order lapsed"))
                continue
            held = units[asset]
            change = self._change(order, held, price, before)
            reduce = 0.0 if change * held >= 0 else math.copysign(min(abs(change), abs(held)), change)
            if reduce:
                cost = self._trade(asset, reduce, price, self._closing, "order")
                equity -= cost
                gross -= abs(reduce) * price
            increases.append((order, change - reduce if reduce else change))
        for order, change in increases:
            if change:
                equity, gross = self._increase(order, change, opens[order.asset], equity, gross)
            if order.stop is not None or order.take is not None:
                self._protect(order)

    def _change(self, order: Order, held: float, price: float, equity: float) -> float:
        """Units to buy or sell, before the buying power is asked."""
        if order.kind == "to_weight":
            change = self._lots(order.size * equity / price) - held if order.size else -held
        elif order.kind == "by_weight":
            change = self._lots(order.size * equity / price)
        else:
            change = self._lots(order.size)
        if not self._short and held + change < 0:
            self.notes.append((order.asset, "short positions are not allowed, the order was cut at 0"))
            change = -held
        return change

    def _lots(self, units: float) -> float:
        lot = self._lot
        if not lot:
            return units
        return math.copysign(math.floor(abs(units) / lot + ROUNDING) * lot, units)

    def _increase(self, order: Order, change: float, price: float, equity: float, gross: float) -> tuple[float, float]:
        side, leverage = 1.0 if change > 0 else -1.0, self._leverage
        paid = price * (1 + side * self._opening)
        power = leverage * (equity - self._fee) - gross
        most = self._lots(max(power, 0.0) / (price + leverage * (abs(paid - price) + self._commission * paid)))
        if abs(change) > most:
            cut = f"{abs(change):g} units are more than the account can pay for, the order was cut to {most:g}"
            self.notes.append((order.asset, cut))
            change = side * most
        if change:
            equity -= self._trade(order.asset, change, price, self._opening, "order")
            gross += abs(change) * price
        return equity, gross

    def _protect(self, order: Order) -> None:
        """Set stop and take of the position that an order left."""
        asset, units, entry = order.asset, self.units[order.asset], self.entry[order.asset]
        if not units:
            return
        side = 1.0 if units > 0 else -1.0
        if order.stop is not None:
            self.stop[asset] = entry * (1 - side * order.stop) if order.relative else order.stop
            self._guarded = True
        if order.take is not None:
            self.take[asset] = entry * (1 + side * order.take) if order.relative else order.take
            self._guarded = True

    def _watch(self, bar: Bar) -> None:
        """Stop-loss and take-profit inside the bar."""
        guarded = False
        for asset, units in enumerate(self.units):
            stop, take = self.stop[asset], self.take[asset]
            if not units or (stop is None and take is None):
                continue
            open_, high, low = bar.open[asset], bar.high[asset], bar.low[asset]
            if not bar.tradable[asset]:
                guarded = True
            elif stop is not None and (low <= stop if units > 0 else high >= stop):
                reached = min(open_, stop) if units > 0 else max(open_, stop)
                self._trade(asset, -units, reached, self._closing, "stop")
            elif take is not None and (high >= take if units > 0 else low <= take):
                self._trade(asset, -units, max(open_, take) if units > 0 else min(open_, take), 0.0, "take")
            else:
                guarded = True
        self._guarded = guarded

    def _ruin(self, closes: Sequence[float]) -> None:
        for asset, units in enumerate(self.units):
            if units:
                self._trade(asset, -units, closes[asset], 0.0, "ruin")
        self.cash = self.equity = self.gross = 0.0
        self.ruined, self.liquidating = True, False

    def _trade(self, asset: int, change: float, price: float, beyond: float, why: str) -> float:
        """Buy or sell, either reducing or increasing the position; returns what it costs against the plain price."""
        held = self.units[asset]
        paid = price * (1 + beyond) if change > 0 else price * (1 - beyond)
        value = change * paid
        cost = abs(value) * self._commission + self._fee
        self.cash -= value + cost
        left = held + change
        opened = held * change >= 0
        profit = 0.0
        if opened:
            self.entry[asset] = (abs(held) * self.entry[asset] + abs(change) * paid) / abs(left)
        else:
            profit = -change * (paid - self.entry[asset]) - cost
            if not left:
                self.entry[asset] = 0.0
                self.stop[asset] = self.take[asset] = None
        self.units[asset] = left
        self.fills.append(tuple.__new__(Fill, (asset, change, paid, cost, why, profit, opened)))
        return change * (paid - price) + cost
