"""Prices from Yahoo Finance through `yfinance`, for those who may use them; needs the extra `yahoo` and a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import InfraError, MissingExtraError, UsageError
from .market import Market


def download(symbols: Sequence[str], start: str, end: str, *, adjusted: bool = False, closes: str = "21:00") -> Market:
    """Daily bars of the days that all symbols have, from `start` up to but not including `end` (ISO dates).

    Prices are as they were and come with splits and dividends, or `adjusted` for both. Yahoo divides even unadjusted
    prices by later splits; they are multiplied back here. `closes` is when a bar is over, in UTC. Raises `UsageError`
    for symbols without bars and `InfraError` when Yahoo cannot be asked.
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
            raise InfraError(f"Yahoo Finance could not be asked for {symbol!r}: {error}") from error
        if not len(frame):
            raise UsageError(f"Yahoo Finance has no bars of {symbol!r} from {start} to {end}; look at symbol and dates")
        frames[symbol] = frame
    return market_of(frames, adjusted=adjusted, closes=closes)


def market_of(frames: dict[str, Any], *, adjusted: bool, closes: str) -> Market:
    """The market of `yfinance` frames, by symbol."""
    days = {symbol: np.array([str(day)[:10] for day in frame.index], "M8[D]") for symbol, frame in frames.items()}
    common = next(iter(days.values()))
    for held in days.values():
        common = common[np.isin(common, held)]
    if not len(common):
        raise UsageError(f"{', '.join(frames)} have no day in common; ask for other dates")

    def column(name: str) -> Any:
        taken = [frame[name].to_numpy(dtype=float)[np.isin(days[symbol], common)] for symbol, frame in frames.items()]
        return np.stack(taken, axis=1)

    splits = column("Stock Splits")
    splits[splits == 0] = 1.0
    # Of the shares of the last day, how many is one of each day.
    later = np.cumprod(splits[::-1], axis=0)[::-1] / splits
    factor = np.ones_like(later) if adjusted else later
    prices = {name: column(name.capitalize()) * factor for name in ("open", "high", "low", "close")}
    hours, minutes = map(int, closes.split(":"))
    times = common.astype("M8[m]") + np.timedelta64(60 * hours + minutes, "m")
    return Market(
        tuple(frames), times.astype("M8[ns]"), volume=column("Volume") / factor, splits=splits,
        dividends=column("Dividends") * factor, adjusted=adjusted, **prices,
    )  # fmt: skip
