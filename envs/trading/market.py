"""What a trading world is made of: bars of one or several assets, and texts with the time when they were published."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError, unknown
from ..core import canonical_json

Floats = NDArray[np.float64]
KINDS = ("news", "report")
PRICES = ("open", "high", "low", "close")
BLOCK = 1 << 18
"""Bars that are checked or hashed at once, so that a market on disk never has to fit into memory."""
TOLERANCE = 1e-6
"""Open and close may lie outside of low and high by this share of the price: adjusted and rounded prices do."""


@dataclass(frozen=True, order=True)
class Item:
    """A text, and when it became public. Sorts by that time."""

    published: np.datetime64
    """UTC; kept in nanoseconds."""
    kind: str
    """`news` or `report`."""
    symbol: str
    """The asset that it is about; empty for the market as a whole."""
    text: str

    def __post_init__(self) -> None:
        published = np.datetime64(self.published).astype("datetime64[ns]")
        if np.isnat(published):
            raise UsageError(f"an item ({self.text[:60]!r}) has no publication time; give it one")
        if self.kind not in KINDS:
            raise unknown("kind of item", self.kind, KINDS)
        object.__setattr__(self, "published", published)


@dataclass(frozen=True, eq=False)
class Market:
    """T bars of A assets, and the items published about them. Checked when made; its arrays cannot be written to.

    A bar of volume 0 has a price but no trade: what is held is valued at it, and no order is filled and no stop hit.
    A volume of NaN is one that is not known, and the bar is traded.
    """

    symbols: tuple[str, ...]
    """Names of the assets; without spaces, and none twice."""
    times: NDArray[np.datetime64]
    """(T,) nanoseconds in UTC, strictly increasing: when each bar is over and the next decision is taken. An item is
    shown with the first bar whose time is not before its publication."""
    open: Floats
    """(T, A), above 0, like the other prices."""
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    """(T, A), 0 or more, NaN where it is not known."""
    items: tuple[Item, ...] = ()
    """In order of publication. Those after the last bar are kept and never shown."""
    splits: Floats | None = None
    """(T, A): new shares for one old one, before the open of the bar; 1 where nothing happens. None: there are none."""
    dividends: Floats | None = None
    """(T, A): cash for each share held at the close before, in shares after the split; 0 where nothing happens."""
    adjusted: bool = False
    """Whether prices, and volumes, were divided by later splits and dividends. Then `splits` and `dividends` only
    inform; otherwise accounts get them. The level of adjusted prices knows the future, their returns do not."""

    def __post_init__(self) -> None:
        set_ = functools.partial(object.__setattr__, self)
        set_("symbols", tuple(self.symbols))
        set_("items", tuple(self.items))
        set_("times", _sealed(np.asarray(self.times).astype("datetime64[ns]", copy=False)))
        for name in (*PRICES, "volume", "splits", "dividends"):
            values = getattr(self, name)
            if values is not None:
                values = np.asanyarray(values, dtype=np.float64)
                set_(name, _sealed(values[:, None] if values.ndim == 1 else values))
        check(self)

    def __len__(self) -> int:
        """T, the number of bars."""
        return len(self.times)

    @property
    def assets(self) -> int:
        """A, the number of assets."""
        return len(self.symbols)

    @functools.cached_property
    def hash(self) -> str:
        """12 hexadecimal digits (48 bits of SHA-256) of everything the market says; the same on every machine."""
        texts = [[str(item.published), item.symbol, item.kind, item.text] for item in self.items]
        digest = hashlib.sha256(canonical_json([self.symbols, len(self), self.adjusted, texts]).encode())
        for name in ("times", *PRICES, "volume", "splits", "dividends"):
            values = getattr(self, name)
            digest.update(f"{name} {values is not None}".encode())
            for block in () if values is None else _blocks(len(self)):
                part = values[block].view(np.int64) if name == "times" else values[block]
                digest.update(np.ascontiguousarray(part, dtype="<i8" if name == "times" else "<f8").tobytes())
        return digest.hexdigest()[:12]

    @functools.cached_property
    def shown_at(self) -> NDArray[np.int64]:
        """For each item the bar that it is first shown with, the first whose time is not before its publication; T when
        there is none.
        """
        published = np.array([item.published for item in self.items], dtype="datetime64[ns]")
        return np.searchsorted(self.times, published, side="left").astype(np.int64)

    def items_at(self, bar: int, bars: int = 1) -> tuple[Item, ...]:
        """The items first shown with `bar` or the `bars - 1` before it; with bar 0, all that were published before."""
        first = 0 if bar - bars < 0 else int(np.searchsorted(self.shown_at, bar - bars + 1, side="left"))
        return self.items[first : int(np.searchsorted(self.shown_at, bar, side="right"))]

    def index(self, symbol: str) -> int:
        """The column of an asset; raises `UsageError` with the nearest names when there is none."""
        try:
            return self.symbols.index(symbol)
        except ValueError:
            raise unknown("symbol", symbol, self.symbols) from None

    def window(self, first: int, stop: int, symbols: tuple[str, ...] | None = None) -> Market:
        """Bars `first` to `stop` - 1, of all assets or those named; items are those published up to the last of them.

        Nothing is copied where all assets are kept. Raises `UsageError` for bars or symbols that there are not.
        """
        if not 0 <= first < stop <= len(self):
            raise UsageError(f"bars {first} to {stop} were asked for; expected a part of 0 to {len(self)}")
        named = self.symbols if symbols is None else symbols
        columns: Any = slice(None) if symbols is None else [self.index(symbol) for symbol in symbols]
        arrays = {
            name: None if (values := getattr(self, name)) is None else values[first:stop][:, columns]
            for name in (*PRICES, "volume", "splits", "dividends")
        }
        known = self.items[: int(np.searchsorted(self.shown_at, stop, side="left"))]
        items = tuple(item for item in known if not item.symbol or item.symbol in named)
        return Market(named, self.times[first:stop], items=items, adjusted=self.adjusted, **arrays)  # type: ignore[arg-type]


def check(market: Market) -> None:
    """Raise `UsageError` for the first thing that is wrong with a market, with asset, time and value."""
    symbols, times = market.symbols, market.times
    if not symbols or len(set(symbols)) != len(symbols) or any(not s or s.split() != [s] for s in symbols):
        raise UsageError(f"the symbols are {symbols!r}; expected at least one, none twice, none empty or with spaces")
    if times.ndim != 1 or not len(times):
        raise UsageError(f"times has the shape {times.shape}; expected (T,) of at least 1 bar")
    for name in (*PRICES, "volume", "splits", "dividends"):
        values = getattr(market, name)
        if values is not None and values.shape != (len(times), len(symbols)):
            raise UsageError(
                f"{name} has the shape {values.shape}; expected {(len(times), len(symbols))}: "
                "a row a bar, a column a symbol"
            )
    for block in _blocks(len(times)):
        _check_times(times[max(block.start - 1, 0) : block.stop], max(block.start - 1, 0))
        _check_bars(market, block)
    for before, item in zip((None, *market.items), market.items, strict=False):
        if item.symbol and item.symbol not in symbols:
            raise unknown(f"symbol (of the item published {item.published})", item.symbol, symbols)
        if before is not None and item.published < before.published:
            raise UsageError(
                f"an item published {item.published} follows one of {before.published}; sort items by publication"
            )


def _check_times(times: NDArray[np.datetime64], first: int) -> None:
    if np.isnat(times).any():
        raise UsageError(f"bar {first + int(np.isnat(times).argmax())} has no time; every bar needs one")
    wrong = np.flatnonzero(times[1:] <= times[:-1])
    if len(wrong):
        before, after = times[wrong[0]], times[wrong[0] + 1]
        what = "twice" if before == after else f"after {before}"
        advice = "keep one of the two" if before == after else "sort the bars by time"
        raise UsageError(f"bar {first + int(wrong[0]) + 1} is dated {after}, {what}; {advice}")


def _check_bars(market: Market, block: slice) -> None:
    low, high = market.low[block], market.high[block]

    def require(fine: NDArray[np.bool_], name: str, expected: str) -> None:
        if not fine.all():
            bar, asset = map(int, np.argwhere(~fine)[0])
            value, when = float(getattr(market, name)[block][bar, asset]), market.times[block][bar]
            raise UsageError(
                f"{market.symbols[asset]}: {name} is {value} at {when} (bar {block.start + bar}); {expected}"
            )

    for name in PRICES:
        values = getattr(market, name)[block]
        # A comparison with NaN is false, so this refuses it too.
        require((values > 0) & (values < np.inf), name, "expected a finite price above 0; mend or drop the bar")
    require(high >= low, "high", "it is below the bar's low; mend or drop the bar")
    for name in ("open", "close"):
        values = getattr(market, name)[block]
        inside = (values <= high * (1 + TOLERANCE)) & (values >= low * (1 - TOLERANCE))
        require(inside, name, "it is not between the bar's low and high; mend or drop the bar")
    volume = market.volume[block]
    require(~((volume < 0) | np.isinf(volume)), "volume", "expected 0 or more, or NaN where it is not known")
    if market.splits is not None:
        splits = market.splits[block]
        require((splits > 0) & (splits < np.inf), "splits", "expected new shares for one old one: 1 for no split")
    if market.dividends is not None:
        paid = market.dividends[block]
        require((paid >= 0) & (paid < np.inf), "dividends", "expected 0 or more in cash a share")


def _blocks(length: int) -> Iterator[slice]:
    return (slice(first, min(first + BLOCK, length)) for first in range(0, length, BLOCK))


def _sealed(values: NDArray[Any]) -> NDArray[Any]:
    """A view that cannot be written to."""
    view = values.view()
    view.flags.writeable = False
    return view
