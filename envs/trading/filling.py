"""How orders become fills in an account of one asset: what `Account` does with several, as plain arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable

from .rules import Fill, Order, Rules

ROUNDING = 1e-9
"""Lots are counted with this much of one to spare, so that 0.1 + 0.2 is three lots of 0.1."""
UNTRADED = "not traded in this bar, the order lapsed"
NO_SHORT = "short positions are not allowed, the order was cut at 0"
CUT = "{:g} units are more than the account can pay for, the order was cut to {:g}"
Note = tuple[str, float, float]
"""What became of an order, and the units that its text names."""
Filled = tuple[float, float, float, list[Fill], list[Note]]
"""Cash, units and average entry price after an order, its fills and notes."""


def filling(rules: Rules) -> Callable[[float, float, float, float, Order], Filled]:
    """How an account of one asset fills an order at the open: a function of its cash, its units, their average entry
    price, the open and the order. The numbers are those of `Account` with several assets, bit for bit."""
    commission, fee, lot, leverage, short = rules.commission, rules.fee, rules.lot, rules.leverage, rules.short
    opening, dearer, cheaper = rules.opening, 1 + rules.closing, 1 - rules.closing
    new, floor = tuple.__new__, math.floor

    def fill(cash: float, held: float, entry: float, price: float, order: Order) -> Filled:
        asset, size, kind = order[0], order[1], order[2]
        value = held * price
        equity, gross = cash + value, abs(value)
        fills: list[Fill] = []
        notes: list[Note] = []
        wanted = size if kind == "by_units" else size * equity / price
        if lot:
            lots = floor(abs(wanted) / lot + ROUNDING) * lot
            wanted = lots if wanted >= 0 else -lots
        change = wanted - held if kind == "to_weight" else wanted
        if not short and held + change < 0:
            notes.append((NO_SHORT, 0.0, 0.0))
            change = -held
        if change * held < 0:
            reduce = -held if abs(change) >= abs(held) else change
            paid = price * (dearer if reduce > 0 else cheaper)
            value = reduce * paid
            cost = abs(value) * commission + fee
            cash -= value + cost
            fills.append(new(Fill, (asset, reduce, paid, cost, "order", -reduce * (paid - entry) - cost, False)))
            equity -= reduce * (paid - price) + cost
            gross -= abs(reduce) * price
            held, change = held + reduce, change - reduce
            if not held:
                entry = 0.0
        if change:
            side = 1.0 if change > 0 else -1.0
            paid = price * (1 + side * opening)
            most = max(leverage * (equity - fee) - gross, 0.0) / (
                price + leverage * (abs(paid - price) + commission * paid)
            )
            if lot:
                most = floor(most / lot + ROUNDING) * lot
            if abs(change) > most:
                notes.append((CUT, abs(change), most))
                change = side * most
            if change:
                value = change * paid
                cost = abs(value) * commission + fee
                cash -= value + cost
                left = held + change
                entry = (abs(held) * entry + abs(change) * paid) / abs(left)
                fills.append(new(Fill, (asset, change, paid, cost, "order", 0.0, True)))
                held = left
        return cash, held, entry, fills, notes

    return fill
