"""How market orders become fills in an account of one asset: what `Account` does, as one function of plain numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

from .account import ROUNDING
from .rules import Fill, Order, Rules

Filled = tuple[float, float, float, list[Fill]]
"""Cash, units and average entry price after an order, and its fills."""


def filling(rules: Rules) -> Callable[[float, float, float, float, Order], Filled]:
    """A function of cash, units, their average entry price, the open and the order, without its stop and take.

    The numbers are those of `Account`, bit for bit.
    """
    commission, fee, lot, leverage, short = rules.commission, rules.fee, rules.lot, rules.leverage, rules.short
    opening, dearer, cheaper = rules.opening, 1 + rules.closing, 1 - rules.closing
    new, floor = tuple.__new__, math.floor

    def fill(cash: float, held: float, entry: float, price: float, order: Order) -> Filled:
        asset, size, kind = order[:3]
        value = held * price
        equity, gross = cash + value, abs(value)
        fills: list[Fill] = []
        wanted = size if kind == "by_units" else size * equity / price
        if lot:
            lots = floor(abs(wanted) / lot + ROUNDING) * lot
            wanted = lots if wanted >= 0 else -lots
        change = wanted - held if kind == "to_weight" else wanted
        if not short and held + change < 0:
            change = -held
        if change * held < 0:
            reduce = -held if abs(change) >= abs(held) else change
            paid = price * (dearer if reduce > 0 else cheaper)
            value = reduce * paid
            cost = abs(value) * commission + fee
            fills.append(new(Fill, (asset, reduce, paid, cost, "order", -reduce * (paid - entry) - cost, False)))
            cash -= value + cost
            equity -= reduce * (paid - price) + cost
            gross -= abs(reduce) * price
            held, change = held + reduce, change - reduce
            if not held:
                entry = 0.0
        if change:
            side = 1.0 if change > 0 else -1.0
            paid = price * (1 + side * opening)
            power = max(leverage * (equity - fee) - gross, 0.0)
            most = power / (price + leverage * (abs(paid - price) + commission * paid))
            if lot:
                most = floor(most / lot + ROUNDING) * lot
            change = change if abs(change) <= most else side * most
        if change:
            value = change * paid
            cost = abs(value) * commission + fee
            fills.append(new(Fill, (asset, change, paid, cost, "order", 0.0, True)))
            cash -= value + cost
            entry = (abs(held) * entry + abs(change) * paid) / abs(held + change)
            held += change
        return cash, held, entry, fills

    return fill
