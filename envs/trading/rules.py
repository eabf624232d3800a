"""What trading costs and what a broker allows."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import NamedTuple

from ...errors import UsageError, unknown

ORDER_KINDS = ("to_weight", "by_weight", "by_units")
SPREADS = ("each way", "on opening")


@dataclass(frozen=True)
class Rules:
    """Costs, margin and rounding of one account. Rates are shares (0.001 is 0.1 %); money has no unit.

    **Time.** An order is given after the close of a bar and filled at the open of the next. In a bar this happens in
    turn: splits and dividends; interest and borrow cost of the night; forced liquidation, or else orders, those parts
    first that reduce a position, each in order of assets; stops; valuation at the close.

    **Prices.** Market orders, stops and liquidations are filled at the price below, plus (when buying) or minus (when
    selling) slippage and spread. A take-profit is a limit order and is filled without either.

    **Stops.** A stop-loss is hit when the bar reaches it (low <= stop of a long position, high >= stop of a short one)
    and is filled at the stop, or at the open when the bar opens beyond it: the gap is the account's loss. A take-profit
    is filled at its price, or at the open when that is better. Where one bar reaches both, the stop counts. Both watch
    from the bar on that opened the position. Orders at the open come before them.

    **Size.** Weights are shares of the equity at the opens before any fill. Units are rounded towards 0 to whole lots.
    What increases a position is cut to the buying power: after its costs, gross exposure at the opens is at most
    `leverage` times equity. Without `short`, selling stops at 0. Nothing is traded in a bar of volume 0: orders lapse,
    stops wait, and so does liquidation.

    **Margin.** When equity is below `maintenance` times gross exposure at a close, everything is sold at the next open,
    and orders for that bar are void. When equity is 0 or less at a close, the account is closed at 0: the broker bears
    the rest.
    """

    cash: float = 100_000.0
    """What the account begins with."""
    commission: float = 0.0005
    """Share of the value of every fill."""
    fee: float = 0.0
    """Money for every fill; an order that turns a position around is two fills."""
    spread: float = 0.0002
    """Between bid and ask, as a share of the price."""
    spread_paid: str = "each way"
    """`each way`: half of it at every fill. `on opening`: all of it when a position is opened, none when it is closed,
    as backtesting.py has it."""
    slippage: float = 0.0
    """Share of the price by which a market order moves it."""
    borrow: float = 0.01
    """A year, on the value of short positions at the last close."""
    interest: float = 0.0
    """A year, paid on cash beyond the value of short positions (what their sale brought in stays with the broker)."""
    loan: float = 0.05
    """A year, charged on cash below 0."""
    leverage: float = 1.0
    """Gross exposure allowed for one of equity when a position is increased."""
    maintenance: float = 0.25
    """Equity that must remain for one of gross exposure."""
    short: bool = True
    """Whether positions may be below 0."""
    lot: float = 1.0
    """Units are multiples of this; 0 for any fraction."""
    bars_per_year: float = 252.0
    """Turns the yearly rates into those of a bar."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name not in ("spread_paid", "short") and not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{each.name} is {value!r}; expected a number of 0 or more")
        for name in ("cash", "leverage", "bars_per_year"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} is {getattr(self, name)}; expected more than 0")
        if self.spread_paid not in SPREADS:
            raise unknown("way of paying the spread", self.spread_paid, SPREADS)
        if self.spread + self.slippage + self.commission >= 1:
            raise UsageError(
                f"spread {self.spread}, slippage {self.slippage} and commission {self.commission} add up to 1 or more; "
                "they are shares: write 0.001 for 0.1 %"
            )
        if self.maintenance * self.leverage >= 1:
            raise UsageError(
                f"maintenance {self.maintenance} with leverage {self.leverage}: a position of full size would be "
                "liquidated at once; expected a product below 1"
            )

    @property
    def opening(self) -> float:
        """Share of the price that a market order pays beyond it when it opens or increases a position."""
        return self.slippage + (self.spread if self.spread_paid == "on opening" else self.spread / 2)

    @property
    def closing(self) -> float:
        """The same when it reduces one."""
        return self.slippage + (0.0 if self.spread_paid == "on opening" else self.spread / 2)


class Order(NamedTuple):
    """What is to be done with one asset at the next open."""

    asset: int
    """Its column in the market."""
    size: float
    """`to_weight`: the weight that the position shall have. `by_weight`: a share of equity to buy (above 0) or to sell
    (below 0). `by_units`: the same in units."""
    kind: str = "to_weight"
    stop: float | None = None
    """Stop-loss of the position from then on; None keeps the one that it has."""
    take: float | None = None
    """Take-profit, likewise."""
    relative: bool = False
    """Whether `stop` and `take` are distances from the average entry price, as shares of it, or prices."""


class Fill(NamedTuple):
    """A trade that happened."""

    asset: int
    units: float
    """Above 0 bought, below 0 sold."""
    price: float
    """With spread and slippage."""
    cost: float
    """Commission and fee."""
    why: str
    """`order`, `stop`, `take`, `margin` (forced liquidation) or `ruin`."""
    profit: float
    """What a reducing fill realised against the average entry price, after its own cost; 0 when it increases."""
    opened: bool
    """Whether it opened or increased the position."""
