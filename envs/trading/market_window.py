"""A window of a market that one episode covers. All values at a bar depend only on the bars up to it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .account import Account, Bar
from .features import FEATURES, HISTORY, feature_table
from .market import Floats, Item, Market
from .rules import Order, Rules


@dataclass(frozen=True)
class AccountView:
    """Read-only view of an account after a close. Tuples have one value per asset."""

    equity: float
    """Cash plus the value of all positions at the last close."""
    cash: float
    weights: tuple[float, ...]
    """Value of each position as a share of equity; negative for short positions."""
    units: tuple[float, ...]
    entry: tuple[float, ...]
    """Average entry price of each position; 0 without a position."""
    stop: tuple[float | None, ...]
    take: tuple[float | None, ...]
    liquidating: bool
    """Whether the broker closes all positions at the next open."""


@dataclass(frozen=True, eq=False)
class MarketWindow:
    """Bars `first` to `stop` - 1 of a market. The first orders are placed after the close of bar `first`."""

    market: Market
    first: int
    stop: int
    rules: Rules

    @functools.cached_property
    def features(self) -> Floats:
        """(bars, A, F) Values of `FEATURES`. They use at most `HISTORY` bars before the window."""
        begin = max(self.first - HISTORY, 0)
        return feature_table(self.market.window(begin, self.stop))[self.first - begin :]

    @functools.cached_property
    def prices(self) -> Floats:
        """(bars, A, 5) Open, high, low, close and volume. An unknown volume is 0."""
        part = slice(self.first, self.stop)
        named = [getattr(self.market, name)[part] for name in ("open", "high", "low", "close", "volume")]
        stacked: Floats = np.nan_to_num(np.stack(named, axis=2))
        return stacked

    @functools.cached_property
    def market_texts(self) -> dict[tuple[int, int], str]:
        """Cache of rendered market texts, by bar and maximum number of items. All attempts on the window share it."""
        return {}

    @functools.cached_property
    def bars(self) -> tuple[Bar, ...]:
        """The bars as plain floats."""
        part = slice(self.first, self.stop)
        market = self.market
        prices = (getattr(market, name)[part].tolist() for name in ("open", "high", "low", "close"))
        traded = (market.volume[part] != 0).tolist()
        splits: Any = self._event_rows(market.splits, 1.0)
        dividends: Any = self._event_rows(market.dividends, 0.0)
        return tuple(map(Bar, *prices, traded, splits, dividends))

    def _event_rows(self, values: Floats | None, neutral: float) -> Sequence[list[float] | None]:
        """Return the rows of splits or dividends; None for bars without any, and for adjusted prices."""
        if values is None or self.market.adjusted:
            return [None] * (self.stop - self.first)
        rows = values[self.first : self.stop]
        return [
            row if has_event else None
            for row, has_event in zip(rows.tolist(), (rows != neutral).any(axis=1), strict=True)
        ]

    @functools.cached_property
    def benchmark(self) -> tuple[float, ...]:
        """Equity of buy-and-hold at each close: equal weights of all assets from the first open, same rules."""
        account = Account(self.rules, self.bars[0].close)
        share = min(1.0, self.rules.leverage) / self.market.assets
        orders = [Order(asset, share) for asset in range(self.market.assets)]
        curve = [account.equity]
        for bar in self.bars[1:]:
            account.advance(bar, orders if len(curve) == 1 else ())
            curve.append(account.equity)
        return tuple(curve)

    def items(self, t: int) -> tuple[Item, ...]:
        """Return the items published after bar `t` - 1 of the window and up to bar `t`."""
        return self.market.items_at(self.first + t)

    @functools.cached_property
    def _reports(self) -> dict[str, tuple[list[int], list[Item]]]:
        found: dict[str, tuple[list[int], list[Item]]] = {symbol: ([], []) for symbol in self.market.symbols}
        for bar, item in zip(self.market.shown_at.tolist(), self.market.items, strict=True):
            if item.kind == "report" and item.symbol:
                found[item.symbol][0].append(bar)
                found[item.symbol][1].append(item)
        return found

    def report(self, symbol: str, t: int) -> Item | None:
        """Return the newest report about an asset at bar `t`, or None without one."""
        bars, items = self._reports[symbol]
        number = int(np.searchsorted(bars, self.first + t, side="right"))
        return items[number - 1] if number else None

    def arrays(self, t: int, account: Account, weights: Sequence[float]) -> dict[str, Any]:
        """Return the observation of bar `t` as arrays.

        Returns:
            `bars` (A, 5): open, high, low, close and volume; `features` (A, F); `weights` (A,); and `account` (2,):
            equity as a share of the initial cash, and cash as a share of equity.
        """
        share = account.cash / account.equity if account.equity > 0 else 0.0
        return {
            "bars": self.prices[t].copy(),
            "features": self.features[t].copy(),
            "weights": np.array(weights),
            "account": np.array([account.equity / self.rules.cash, share]),
        }


def account_view(account: Account, weights: tuple[float, ...]) -> AccountView:
    """Return a view of the account that later bars do not change."""
    return AccountView(
        account.equity, account.cash, weights, tuple(account.units), tuple(account.entry), tuple(account.stop),
        tuple(account.take), account.liquidating,
    )  # fmt: skip


def score(equity: float, benchmark: float) -> float:
    """Return equity / (equity + benchmark), in [0, 1]: 0.5 at the benchmark, 0 without equity."""
    return equity / (equity + benchmark) if equity > 0 else 0.0


def names() -> tuple[str, ...]:
    """Return the names of the features, in the order of the arrays."""
    return tuple(FEATURES)
