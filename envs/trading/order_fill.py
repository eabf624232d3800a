"""Order filling for an account of one asset, as one fast function of plain floats."""

from __future__ import annotations

import math
from collections.abc import Callable

from .account import LOT_TOLERANCE
from .rules import Fill, Order, Rules

FillResult = tuple[float, float, float, list[Fill]]
"""Cash, units and average entry price after an order, and the fills of the order."""


def make_fill(rules: Rules) -> Callable[[float, float, float, float, Order], FillResult]:
    """Return a function that fills one order under `rules`, ignoring its stop-loss and take-profit.

    The function takes cash, units, average entry price, opening price and order. Its results equal those of `Account`
    bit for bit.
    """
    commission, fee, lot, leverage, short = rules.commission, rules.fee, rules.lot, rules.leverage, rules.short
    opening_markup, buy_factor, sell_factor = rules.opening_markup, 1 + rules.closing_markup, 1 - rules.closing_markup
    make_tuple, floor = tuple.__new__, math.floor

    def fill(cash: float, held: float, entry: float, price: float, order: Order) -> FillResult:
        asset, size, kind = order[:3]
        value = held * price
        equity, gross = cash + value, abs(value)
        fills: list[Fill] = []
        wanted = size if kind == "by_units" else size * equity / price
        if lot:
            lots = floor(abs(wanted) / lot + LOT_TOLERANCE) * lot
            wanted = lots if wanted >= 0 else -lots
        change = wanted - held if kind == "to_weight" else wanted
        if not short and held + change < 0:
            change = -held
        if change * held < 0:
            reduce = -held if abs(change) >= abs(held) else change
            fill_price = price * (buy_factor if reduce > 0 else sell_factor)
            value = reduce * fill_price
            cost = abs(value) * commission + fee
            fills.append(
                make_tuple(
                    Fill, (asset, reduce, fill_price, cost, "order", -reduce * (fill_price - entry) - cost, False)
                )
            )
            cash -= value + cost
            equity -= reduce * (fill_price - price) + cost
            gross -= abs(reduce) * price
            held, change = held + reduce, change - reduce
            if not held:
                entry = 0.0
        if change:
            side = 1.0 if change > 0 else -1.0
            fill_price = price * (1 + side * opening_markup)
            buying_power = max(leverage * (equity - fee) - gross, 0.0)
            max_units = buying_power / (price + leverage * (abs(fill_price - price) + commission * fill_price))
            if lot:
                max_units = floor(max_units / lot + LOT_TOLERANCE) * lot
            change = change if abs(change) <= max_units else side * max_units
        if change:
            value = change * fill_price
            cost = abs(value) * commission + fee
            fills.append(make_tuple(Fill, (asset, change, fill_price, cost, "order", 0.0, True)))
            cash -= value + cost
            entry = (abs(held) * entry + abs(change) * fill_price) / abs(held + change)
            held += change
        return cash, held, entry, fills

    return fill
