"""Trading costs, margin rules, orders and fills."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import NamedTuple

from ...errors import UsageError, unknown

ORDER_KINDS = ("to_weight", "by_weight", "by_units")
SPREAD_MODES = ("each way", "on opening")


@dataclass(frozen=True)
class Rules:
    """Costs, margin and rounding of one account. Rates are fractions (0.001 is 0.1 %).

    Amounts of money are in no particular currency.

    **Time.** An order is placed after the close of a bar and filled at the next open. Within a bar, events happen in
    this order:

    1. splits and dividends
    2. interest, loan interest and borrow cost
    3. forced liquidation if it is due, otherwise orders: first all parts that reduce positions, then all parts that
       increase them, each in the order of the assets
    4. stop-losses and take-profits
    5. valuation at the close

    **Prices.** Market orders, stop-losses and liquidations pay slippage and spread: both are added to the price of a
    purchase and subtracted from that of a sale. A take-profit is a limit order and pays neither.

    **Protective orders.** A stop-loss triggers when the bar reaches it (low <= stop of a long position, high >= stop of
    a short one). It is filled at the stop, or at the open if the bar opens beyond it, so the account bears the gap. A
    take-profit is filled at its price, or at the open if that is better. If a bar reaches both, the stop-loss is
    filled. Both are active from the bar in which the position is opened, after the orders at the open.

    **Size.** Weights are shares of the equity valued at the opening prices, before any fill. Units are rounded towards
    0 to whole lots. Increases of a position are cut to the buying power: after costs, gross exposure at the opening
    prices is at most `leverage` times equity. Without `short`, selling stops at 0 units. An asset with volume 0 in a
    bar is not traded in it: orders lapse; protective orders and liquidation wait.

    **Margin.** If equity is below `maintenance` times gross exposure at a close, all positions are closed at the next
    open, and orders for that bar are void. If equity is 0 or less at a close, the account is closed with equity 0; the
    broker bears the remaining loss.
    """

    cash: float = 100_000.0
    """Initial cash."""
    commission: float = 0.0005
    """Commission per fill, as a share of its value."""
    fee: float = 0.0
    """Fixed fee per fill. An order that flips a position makes two fills."""
    spread: float = 0.0002
    """Bid-ask spread, as a share of the price."""
    spread_paid: str = "each way"
    """`each way`: half the spread per fill. `on opening`: the whole spread when opening a position, as in
    backtesting.py."""
    slippage: float = 0.0
    """Slippage of market orders, as a share of the price."""
    borrow: float = 0.01
    """Borrow cost per year, on the value of short positions at the last close."""
    interest: float = 0.0
    """Interest per year on cash above the value of short positions; the broker keeps short-sale proceeds."""
    loan: float = 0.05
    """Loan interest per year, charged on negative cash."""
    leverage: float = 1.0
    """Maximum ratio of gross exposure to equity when a position is increased."""
    maintenance: float = 0.25
    """Minimum ratio of equity to gross exposure at a close; below it, all positions are liquidated."""
    short: bool = True
    """Whether short positions are allowed."""
    lot: float = 1.0
    """Lot size: units are multiples of it; 0 allows any fraction."""
    bars_per_year: float = 252.0
    """Number of bars per year, used to convert yearly rates to rates per bar."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name not in ("spread_paid", "short") and not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{each.name} is {value!r}; expected a finite number of at least 0")
        for name in ("cash", "leverage", "bars_per_year"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} is {getattr(self, name)}; expected a number above 0")
        if self.spread_paid not in SPREAD_MODES:
            raise unknown("spread_paid", self.spread_paid, SPREAD_MODES)
        if self.spread + self.slippage + self.commission >= 1:
            raise UsageError(
                f"spread {self.spread}, slippage {self.slippage} and commission {self.commission} add up to 1 or more; "
                "expected fractions with a sum below 1, such as 0.001 for 0.1 %"
            )
        if self.maintenance * self.leverage >= 1:
            raise UsageError(
                f"maintenance is {self.maintenance} and leverage {self.leverage}, so a position of full size would be "
                "liquidated at once; expected a product below 1"
            )

    @property
    def opening_markup(self) -> float:
        """Cost of a market order that opens or increases a position: spread and slippage, as a share of the price."""
        return self.slippage + (self.spread if self.spread_paid == "on opening" else self.spread / 2)

    @property
    def closing_markup(self) -> float:
        """Cost of a market order that reduces a position: spread and slippage, as a share of the price."""
        return self.slippage + (0.0 if self.spread_paid == "on opening" else self.spread / 2)


class Order(NamedTuple):
    """An order for one asset, filled at the next open."""

    asset: int
    """Column of the asset in the market."""
    size: float
    """`to_weight`: target weight of the position. `by_weight`: share of equity to buy (positive) or sell (negative).
    `by_units`: units to buy (positive) or sell (negative)."""
    kind: str = "to_weight"
    """`to_weight`, `by_weight` or `by_units`: the meaning of `size`."""
    stop: float | None = None
    """New stop-loss of the position; None keeps the current one."""
    take: float | None = None
    """New take-profit of the position; None keeps the current one."""
    relative: bool = False
    """True: `stop` and `take` are distances from the average entry price, as shares of it. False: they are prices."""


class Fill(NamedTuple):
    """One executed order, or part of one."""

    asset: int
    units: float
    """Units bought (positive) or sold (negative)."""
    price: float
    """Price per unit, including spread and slippage."""
    cost: float
    """Commission and fee in money."""
    reason: str
    """`order`, `stop` (stop-loss), `take` (take-profit), `margin` (forced liquidation) or `ruin` (equity 0 or less)."""
    profit: float
    """Realised profit of a reducing fill against the average entry price, after its cost; 0 for other fills."""
    opened: bool
    """Whether the fill opened or increased the position."""
