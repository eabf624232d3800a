"""Text observations: prices, indicators, news, reports, fills and the account at one bar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .account import Account
from .features import FEATURES
from .market_window import MarketWindow

FILL_REASONS = {
    "order": "",
    "stop": " by the stop-loss",
    "take": " by the take-profit",
    "margin": " by forced liquidation",
}
FEATURE_FORMATS = {
    "rsi": "{:.0f}",
    "band": "{:.2f}",
    "volume": "{:.2f}",
    "volatility_10": "{:.2%}",
    "volatility_20": "{:.2%}",
    "atr": "{:.2%}",
}
"""Formats of features. All other features are rendered in percent with a sign."""
FEATURE_LINE = "  " + ", ".join(f"{name} {FEATURE_FORMATS.get(name, '{:+.2%}')}" for name in FEATURES)
MAX_ITEM_CHARS = 2000
"""Maximum number of characters shown of one item."""


def render_observation(window: MarketWindow, t: int, account: Account, weights: Sequence[float], max_items: int) -> str:
    """Return the observation after the close of bar `t`.

    At most `max_items` items of the bar are shown; the newest are kept. 0 shows no items and no reports.
    """
    if (t, max_items) not in window.market_texts:
        when = format_time(window.market.times[window.first + t])
        lines = [f"{when} (bar {t + 1} of {window.stop - window.first})", *_prices(window, t)]
        window.market_texts[t, max_items] = "\n".join([*lines, *_items(window, t, max_items)])
    return "\n".join([window.market_texts[t, max_items], *_fills(window, account), *_account(window, account, weights)])


def format_time(time: np.datetime64) -> str:
    """Format a UTC time to the minute, and midnight as the date alone."""
    text = str(time.astype("datetime64[m]"))
    return text.removesuffix("T00:00").replace("T", " ")


def _prices(window: MarketWindow, t: int) -> Iterator[str]:
    market, bar, row = window.market, window.bars[t], window.first + t
    for asset, symbol in enumerate(market.symbols):
        volume = market.volume[row, asset]
        traded = "unknown" if np.isnan(volume) else f"{volume:.6g}" if volume else "0 (not traded)"
        prices = ", ".join(f"{n} {getattr(bar, n)[asset]:.6g}" for n in ("open", "high", "low", "close"))
        yield f"{symbol}: {prices}, volume {traded}"
        if bar.splits is not None and bar.splits[asset] != 1:
            yield f"  split: {bar.splits[asset]:g} new shares for one"
        if bar.dividends is not None and bar.dividends[asset]:
            yield f"  dividend: {bar.dividends[asset]:.6g} a share"
        yield FEATURE_LINE.format(*window.features[t, asset].tolist())


def _items(window: MarketWindow, t: int, max_items: int) -> Iterator[str]:
    items = window.items(t)
    shown = items[max(len(items) - max_items, 0) :]
    if len(shown) < len(items):
        yield f"{len(items) - len(shown)} older items are not shown"
    for item in shown:
        text = item.text if len(item.text) <= MAX_ITEM_CHARS else f"{item.text[:MAX_ITEM_CHARS]}..."
        yield f"{item.kind} {item.symbol or 'market'} {format_time(item.published)}: {' '.join(text.split())}"
    if max_items:
        reported = {item.symbol for item in shown if item.kind == "report"}
        for symbol in window.market.symbols:
            report = None if symbol in reported else window.report(symbol, t)
            if report is not None:
                text = " ".join(report.text[:MAX_ITEM_CHARS].split())
                yield f"last report {symbol} {format_time(report.published)}: {text}"


def _fills(window: MarketWindow, account: Account) -> Iterator[str]:
    symbols = window.market.symbols
    for fill in account.fills:
        if fill.reason == "ruin":
            continue
        verb = "bought" if fill.units > 0 else "sold"
        profit = "" if fill.opened else f", profit {fill.profit:+.2f}"
        yield (
            f"{verb} {abs(fill.units):.6g} {symbols[fill.asset]} at {fill.price:.6g}{FILL_REASONS[fill.reason]}, "
            f"cost {fill.cost:.2f}{profit}"
        )
    for asset, note in account.notes:
        yield f"{symbols[asset]}: {note}"


def _account(window: MarketWindow, account: Account, weights: Sequence[float]) -> Iterator[str]:
    if account.ruined:
        yield "The account is ruined."
        return
    yield f"account: equity {account.equity:.2f}, cash {account.cash:.2f}"
    for asset, symbol in enumerate(window.market.symbols):
        units = account.units[asset]
        if units:
            stop, take = account.stop[asset], account.take[asset]
            protection = [f", {n} {p:.6g}" for n, p in (("stop", stop), ("take", take)) if p is not None]
            entry = f"weight {weights[asset]:.3f}, entry {account.entry[asset]:.6g}"
            yield f"  {symbol} {units:.6g} units, {entry}{''.join(protection)}"
    if account.liquidating:
        yield "Margin call: the broker will close all positions at the next open."
