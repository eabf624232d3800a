"""Markets: bars of one or several assets, and texts with their publication times."""

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
ITEM_KINDS = ("news", "report")
PRICES = ("open", "high", "low", "close")
BLOCK_BARS = 1 << 18
"""Number of bars checked or hashed at once, so that a market on disk need not fit into memory."""
TOLERANCE = 1e-6
"""Relative tolerance for open and close outside of [low, high], which adjusting and rounding can cause."""

YEARS = range(1678, 2262)
"""Years that times in nanoseconds can hold in full. numpy turns other years into wrong ones without an error."""
SMALLEST, LARGEST = 1e-50, 1e50
"""Bounds of prices, volumes and dividends, so that sums, products and quotients of a few are finite."""
LARGEST_SPLIT = 1e6
"""Maximum number of new shares per old share in a split, or of old shares per new one."""


def nanoseconds(times: Any) -> NDArray[np.datetime64]:
    """Return a time, or an array of them, in nanoseconds; raise `UsageError` for a year that these cannot hold."""
    found = np.asarray(times)
    if found.dtype.kind in "OSU":
        try:
            found = found.astype("datetime64")
        except ValueError as error:
            raise UsageError(f"a time cannot be read ({error}); expected numpy datetimes or ISO 8601") from None
    if found.dtype.kind == "M" and found.dtype != np.dtype("datetime64[ns]"):
        years = found.astype("datetime64[Y]").astype(np.int64) + 1970
        outside = ~np.isnat(found) & ((years < YEARS[0]) | (years > YEARS[-1]))
        if outside.any():
            raise UsageError(f"a time is {found[outside].flat[0]}; expected a year from {YEARS[0]} to {YEARS[-1]}")
    return found.astype("datetime64[ns]", copy=False)


@dataclass(frozen=True, order=True)
class Item:
    """A published text. Items sort by publication time."""

    published: np.datetime64
    """Publication time, UTC, in nanoseconds."""
    kind: str
    """`news` or `report`."""
    symbol: str
    """Symbol of the asset that the text is about; empty for the whole market."""
    text: str

    def __post_init__(self) -> None:
        published = nanoseconds(self.published)[()]
        if np.isnat(published):
            raise UsageError(f"an item ({self.text[:60]!r}) has no publication time; set `published`")
        if self.kind not in ITEM_KINDS:
            raise unknown("kind of item", self.kind, ITEM_KINDS)
        object.__setattr__(self, "published", published)


@dataclass(frozen=True, eq=False)
class Market:
    """T bars of A assets, and the items published about them. Validated on construction; arrays are read-only.

    In a bar of volume 0, positions are valued at its prices, but no order is filled and no stop triggers. NaN is an
    unknown volume; such bars are traded.
    """

    symbols: tuple[str, ...]
    """Names of the assets: distinct, not empty, without spaces."""
    times: NDArray[np.datetime64]
    """(T,) Time of each close, UTC, in nanoseconds, strictly increasing. An item is first shown with the first bar
    whose time is not before the item's publication."""
    open: Floats
    """(T, A) Opening prices. All prices are from `SMALLEST` to `LARGEST`."""
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    """(T, A) Volumes, at least 0; NaN if unknown."""
    items: tuple[Item, ...] = ()
    """News and reports in order of publication. Items after the last bar are kept but never shown."""
    splits: Floats | None = None
    """(T, A) New shares per old share, applied before the bar's open; 1 without a split. None: no splits."""
    dividends: Floats | None = None
    """(T, A) Cash per share held at the previous close, counted in shares after the split; 0 without a dividend."""
    adjusted: bool = False
    """Whether prices and volumes are adjusted for later splits and dividends. If so, accounts do not book `splits` and
    `dividends`. Levels of adjusted prices contain information about the future; their returns do not."""

    def __post_init__(self) -> None:
        set_field = functools.partial(object.__setattr__, self)
        set_field("symbols", tuple(self.symbols))
        set_field("items", tuple(self.items))
        set_field("times", _read_only(nanoseconds(self.times)))
        for name in (*PRICES, "volume", "splits", "dividends"):
            values = getattr(self, name)
            if values is not None:
                values = np.asanyarray(values, dtype=np.float64)
                set_field(name, _read_only(values[:, None] if values.ndim == 1 else values))
        check_market(self)

    def __len__(self) -> int:
        """Return the number of bars, T."""
        return len(self.times)

    @property
    def assets(self) -> int:
        """The number of assets, A."""
        return len(self.symbols)

    @functools.cached_property
    def hash(self) -> str:
        """Content hash: 12 hexadecimal digits of SHA-256, the same on every machine."""
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
        """Index of the bar with which each item is first shown, (items,); T for items after the last bar."""
        published = np.array([item.published for item in self.items], dtype="datetime64[ns]")
        return np.searchsorted(self.times, published, side="left").astype(np.int64)

    def items_at(self, bar: int, bars: int = 1) -> tuple[Item, ...]:
        """Return the items first shown with the last `bars` bars up to `bar`. Bar 0 shows all earlier items.

        Args:
            bar: Index of the last bar.
            bars: Number of bars, `bar` included.

        Returns:
            The items in order of publication.
        """
        first = 0 if bar - bars < 0 else int(np.searchsorted(self.shown_at, bar - bars + 1, side="left"))
        return self.items[first : int(np.searchsorted(self.shown_at, bar, side="right"))]

    def index(self, symbol: str) -> int:
        """Return the column of an asset.

        Args:
            symbol: One of `symbols`.

        Raises:
            UsageError: If the symbol is unknown. The message suggests similar ones.
        """
        try:
            return self.symbols.index(symbol)
        except ValueError:
            raise unknown("symbol", symbol, self.symbols) from None

    def window(self, first: int, stop: int, symbols: tuple[str, ...] | None = None) -> Market:
        """Return bars `first` to `stop` - 1 as a market, with the items published up to the last of them.

        Args:
            first: Index of the first bar.
            stop: Index after the last bar.
            symbols: Assets to keep. Default: all, which copies no data.

        Returns:
            The market of these bars and assets.

        Raises:
            UsageError: If the market lacks these bars or symbols.
        """
        if not 0 <= first < stop <= len(self):
            raise UsageError(f"the window is bars {first} to {stop}; expected a nonempty part of 0 to {len(self)}")
        named = self.symbols if symbols is None else symbols
        columns: Any = slice(None) if symbols is None else [self.index(symbol) for symbol in symbols]
        arrays = {
            name: None if (values := getattr(self, name)) is None else values[first:stop][:, columns]
            for name in (*PRICES, "volume", "splits", "dividends")
        }
        known = self.items[: int(np.searchsorted(self.shown_at, stop, side="left"))]
        items = tuple(item for item in known if not item.symbol or item.symbol in named)
        return Market(named, self.times[first:stop], items=items, adjusted=self.adjusted, **arrays)  # type: ignore[arg-type]


def check_market(market: Market) -> None:
    """Raise `UsageError` for the first error in a market, with asset, time and value."""
    symbols, times = market.symbols, market.times
    if not symbols or len(set(symbols)) != len(symbols) or any(not s or s.split() != [s] for s in symbols):
        raise UsageError(f"the symbols are {symbols!r}; expected at least one, all distinct, none empty or with spaces")
    if times.ndim != 1 or not len(times):
        raise UsageError(f"times has the shape {times.shape}; expected (T,) with T at least 1")
    for name in (*PRICES, "volume", "splits", "dividends"):
        values = getattr(market, name)
        if values is not None and values.shape != (len(times), len(symbols)):
            raise UsageError(
                f"{name} has the shape {values.shape}; expected {(len(times), len(symbols))}, "
                "one row per bar and one column per symbol"
            )
    for block in _blocks(len(times)):
        _check_times(times[max(block.start - 1, 0) : block.stop], max(block.start - 1, 0))
        _check_bars(market, block)
    for before, item in zip((None, *market.items), market.items, strict=False):
        if item.symbol and item.symbol not in symbols:
            raise unknown("symbol", item.symbol, symbols, f"the item published {item.published}")
        if before is not None and item.published < before.published:
            raise UsageError(
                f"an item published {item.published} follows one of {before.published}; sort items by publication"
            )


def _check_times(times: NDArray[np.datetime64], first: int) -> None:
    if np.isnat(times).any():
        raise UsageError(f"bar {first + int(np.isnat(times).argmax())} has no time; expected a time for every bar")
    wrong = np.flatnonzero(times[1:] <= times[:-1])
    if len(wrong):
        before, after = times[wrong[0]], times[wrong[0] + 1]
        what = "twice" if before == after else f"after {before}"
        advice = "keep one of the two" if before == after else "sort the bars by time"
        raise UsageError(f"bar {first + int(wrong[0]) + 1} is dated {after}, {what}; {advice}")


def _check_bars(market: Market, block: slice) -> None:
    low, high = market.low[block], market.high[block]

    def require(valid: NDArray[np.bool_], name: str, expected: str) -> None:
        if not valid.all():
            bar, asset = map(int, np.argwhere(~valid)[0])
            value, when = float(getattr(market, name)[block][bar, asset]), market.times[block][bar]
            raise UsageError(
                f"{market.symbols[asset]}: {name} is {value} at {when} (bar {block.start + bar}); {expected}"
            )

    for name in PRICES:
        values = getattr(market, name)[block]
        # Comparisons with NaN are false, so NaN is refused as well.
        usual = (values >= SMALLEST) & (values <= LARGEST)
        require(usual, name, f"expected a finite price above 0, from {SMALLEST} to {LARGEST}; correct or drop the bar")
    require(high >= low, "high", "it is below the bar's low; correct or drop the bar")
    for name in ("open", "close"):
        values = getattr(market, name)[block]
        inside = (values <= high * (1 + TOLERANCE)) & (values >= low * (1 - TOLERANCE))
        require(inside, name, "it is not between the bar's low and high; correct or drop the bar")
    volume = market.volume[block]
    require(~((volume < 0) | (volume > LARGEST)), "volume", f"expected 0 to {LARGEST}, or NaN if unknown")
    if market.splits is not None:
        splits = market.splits[block]
        usual = (splits >= 1 / LARGEST_SPLIT) & (splits <= LARGEST_SPLIT)
        require(
            usual, "splits", f"expected new shares per old share, 1 for no split, at most {LARGEST_SPLIT:,.0f} to 1"
        )
    if market.dividends is not None:
        paid = market.dividends[block]
        require((paid >= 0) & (paid <= LARGEST), "dividends", f"expected cash per share, 0 to {LARGEST}")


def _blocks(length: int) -> Iterator[slice]:
    return (slice(first, min(first + BLOCK_BARS, length)) for first in range(0, length, BLOCK_BARS))


def _read_only(values: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view."""
    view = values.view()
    view.flags.writeable = False
    return view
