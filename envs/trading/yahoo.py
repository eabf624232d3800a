"""Prices from Yahoo Finance through `yfinance`, subject to Yahoo's terms of use. Requires the extra `yahoo`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import InfraError, MissingExtraError, UsageError
from .market import Market


def download(symbols: Sequence[str], start: str, end: str, *, adjusted: bool = False, closes: str = "21:00") -> Market:
    """Download daily bars of the days that all symbols have in common.

    Yahoo adjusts even its unadjusted prices for later splits; this is undone here.

    Args:
        symbols: Yahoo's symbols of the assets.
        start: First day, ISO format.
        end: Day after the last day, ISO format.
        adjusted: Whether to adjust prices for splits and dividends. If not, accounts book both.
        closes: Time of day of the closes, UTC.

    Returns:
        The market.

    Raises:
        MissingExtraError: If `yfinance` is not installed.
        UsageError: If a symbol has no bars, or the symbols have no day in common.
        InfraError: If the download fails.
    """
    try:
        import yfinance
    except ImportError:
        raise MissingExtraError("yfinance", "yahoo") from None
    frames = {}
    for symbol in symbols:
        try:
            frame = yfinance.Ticker(symbol).history(start=start, end=end, auto_adjust=adjusted, actions=True)
        except Exception as error:
            raise InfraError(f"the download of {symbol!r} from Yahoo Finance failed: {error}") from error
        if not len(frame):
            raise UsageError(f"Yahoo Finance has no bars of {symbol!r} from {start} to {end}; check symbol and dates")
        frames[symbol] = frame
    return market_from_frames(frames, adjusted=adjusted, closes=closes)


def market_from_frames(frames: dict[str, Any], *, adjusted: bool, closes: str) -> Market:
    """Build a market from `yfinance` data frames by symbol."""
    days = {symbol: np.array([str(day)[:10] for day in frame.index], "M8[D]") for symbol, frame in frames.items()}
    common = next(iter(days.values()))
    for held in days.values():
        common = common[np.isin(common, held)]
    if not len(common):
        raise UsageError(f"{', '.join(frames)} have no day in common; pass other dates")

    def column(name: str) -> Any:
        taken = [frame[name].to_numpy(dtype=float)[np.isin(days[symbol], common)] for symbol, frame in frames.items()]
        return np.stack(taken, axis=1)

    splits = column("Stock Splits")
    splits[splits == 0] = 1.0
    # Number of shares of the last day that one share of each day has become.
    later = np.cumprod(splits[::-1], axis=0)[::-1] / splits
    factor = np.ones_like(later) if adjusted else later
    prices = {name: column(name.capitalize()) * factor for name in ("open", "high", "low", "close")}
    hours, minutes = map(int, closes.split(":"))
    times = common.astype("M8[m]") + np.timedelta64(60 * hours + minutes, "m")
    return Market(
        tuple(frames), times.astype("M8[ns]"), volume=column("Volume") / factor, splits=splits,
        dividends=column("Dividends") * factor, adjusted=adjusted, **prices,
    )  # fmt: skip
