"""A stretch of a market to be lived through, bar by bar: what is known at each bar, and nothing of the next."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .account import Account, Bar
from .features import FEATURES, HISTORY, table
from .market import Floats, Item, Market
from .rules import Order, Rules


@dataclass(frozen=True)
class AccountView:
    """An account as its holder sees it after a close; numbers of assets in the market's order."""

    equity: float
    """Cash and positions at the last close."""
    cash: float
    weights: tuple[float, ...]
    """Value of each position as a share of equity, below 0 when short."""
    units: tuple[float, ...]
    entry: tuple[float, ...]
    """Average price paid for each position; 0 without one."""
    stop: tuple[float | None, ...]
    take: tuple[float | None, ...]
    liquidating: bool
    """Whether the broker will sell everything at the next open."""


@dataclass(frozen=True, eq=False)
class Episode:
    """Bars `first` to `stop` - 1 of a market. The first decision is taken after bar `first`."""

    market: Market
    first: int
    stop: int
    rules: Rules

    @functools.cached_property
    def features(self) -> Floats:
        """(bars, A, F) of `FEATURES`; windows reach back to at most `HISTORY` bars before the episode."""
        begin = max(self.first - HISTORY, 0)
        return table(self.market.window(begin, self.stop))[self.first - begin :]

    @functools.cached_property
    def prices(self) -> Floats:
        """(bars, A, 5) of open, high, low, close and volume, 0 where the volume is not known."""
        part = slice(self.first, self.stop)
        named = [getattr(self.market, name)[part] for name in ("open", "high", "low", "close", "volume")]
        stacked: Floats = np.nan_to_num(np.stack(named, axis=2))
        return stacked

    @functools.cached_property
    def told(self) -> dict[tuple[int, int], str]:
        """What was told of the market at a bar with so many news, so that other attempts need not tell it again."""
        return {}

    @functools.cached_property
    def bars(self) -> tuple[Bar, ...]:
        """The bars as plain numbers."""
        part = slice(self.first, self.stop)
        market = self.market
        prices = (getattr(market, name)[part].tolist() for name in ("open", "high", "low", "close"))
        traded = (market.volume[part] != 0).tolist()
        splits: Any = self._events(market.splits, 1.0)
        dividends: Any = self._events(market.dividends, 0.0)
        return tuple(map(Bar, *prices, traded, splits, dividends))

    def _events(self, values: Floats | None, nothing: float) -> Sequence[list[float] | None]:
        """Rows of splits or dividends, None where nothing happens or where prices have it already."""
        if values is None or self.market.adjusted:
            return [None] * (self.stop - self.first)
        rows = values[self.first : self.stop]
        return [row if any_ else None for row, any_ in zip(rows.tolist(), (rows != nothing).any(axis=1), strict=True)]

    @functools.cached_property
    def benchmark(self) -> tuple[float, ...]:
        """Equity at each close of who buys equal weights of all assets at the first open and holds, by the same rules.

        The value at a bar depends on the bars up to it.
        """
        account = Account(self.rules, self.bars[0].close)
        share = min(1.0, self.rules.leverage) / self.market.assets
        orders = [Order(asset, share) for asset in range(self.market.assets)]
        curve = [account.equity]
        for bar in self.bars[1:]:
            account.advance(bar, orders if len(curve) == 1 else ())
            curve.append(account.equity)
        return tuple(curve)

    def items(self, at: int) -> tuple[Item, ...]:
        """What was published since the bar before bar `at` of the episode, up to its time."""
        return self.market.items_at(self.first + at)

    @functools.cached_property
    def _reports(self) -> dict[str, tuple[list[int], list[Item]]]:
        found: dict[str, tuple[list[int], list[Item]]] = {symbol: ([], []) for symbol in self.market.symbols}
        for bar, item in zip(self.market.shown_at.tolist(), self.market.items, strict=True):
            if item.kind == "report" and item.symbol:
                found[item.symbol][0].append(bar)
                found[item.symbol][1].append(item)
        return found

    def report(self, symbol: str, at: int) -> Item | None:
        """The newest report about an asset that is public at bar `at`; None when there is none."""
        bars, items = self._reports[symbol]
        number = int(np.searchsorted(bars, self.first + at, side="right"))
        return items[number - 1] if number else None

    def arrays(self, at: int, account: Account, weights: Sequence[float]) -> dict[str, Any]:
        """What the text of bar `at` says in numbers: `bars` (A, 5) of open, high, low, close and volume, `features`
        (A, F), `weights` (A,), and `account` (2,): equity as a share of the cash at the beginning, and cash as a share
        of equity.
        """
        share = account.cash / account.equity if account.equity > 0 else 0.0
        return {
            "bars": self.prices[at].copy(),
            "features": self.features[at].copy(),
            "weights": np.array(weights),
            "account": np.array([account.equity / self.rules.cash, share]),
        }


def view(account: Account, weights: tuple[float, ...]) -> AccountView:
    """The account now; nothing that happens to it later changes the view."""
    return AccountView(
        account.equity, account.cash, weights, tuple(account.units), tuple(account.entry), tuple(account.stop),
        tuple(account.take), account.liquidating,
    )  # fmt: skip


def score(equity: float, benchmark: float) -> float:
    """Equity / (equity + benchmark), in [0, 1]: 0.5 for as much as the benchmark, 0 for nothing left."""
    return equity / (equity + benchmark) if equity > 0 else 0.0


def names() -> tuple[str, ...]:
    """Names of the features, in the order of the arrays."""
    return tuple(FEATURES)
