"""A bar in words: prices, indicators, texts, fills and the account."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .account import Account
from .episode import Episode
from .features import FEATURES

WHY = {"order": "", "stop": " by the stop-loss", "take": " by the take-profit", "margin": " by forced liquidation"}
FORMATS = {
    "rsi": "{:.0f}",
    "band": "{:.2f}",
    "volume": "{:.2f}",
    "volatility_10": "{:.2%}",
    "volatility_20": "{:.2%}",
    "atr": "{:.2%}",
}
"""Of features; the others are changes, in percent with a sign."""
TEMPLATE = "  " + ", ".join(f"{name} {FORMATS.get(name, '{:+.2%}')}" for name in FEATURES)
LONGEST = 2000
"""Characters of one item that are shown."""


def tell(episode: Episode, at: int, account: Account, weights: Sequence[float], news: int) -> str:
    """The observation of bar `at`: what is known after its close, with at most `news` items, the newest."""
    if (at, news) not in episode.told:
        when = moment(episode.market.times[episode.first + at])
        lines = [f"{when} (bar {at + 1} of {episode.stop - episode.first})", *_prices(episode, at)]
        episode.told[at, news] = "\n".join([*lines, *_items(episode, at, news)])
    return "\n".join([episode.told[at, news], *_fills(episode, account), *_account(episode, account, weights)])


def moment(time: np.datetime64) -> str:
    """A time in UTC to the minute; the day alone at midnight."""
    text = str(time.astype("datetime64[m]"))
    return text.removesuffix("T00:00").replace("T", " ")


def _prices(episode: Episode, at: int) -> Iterator[str]:
    market, bar, row = episode.market, episode.bars[at], episode.first + at
    for asset, symbol in enumerate(market.symbols):
        volume = market.volume[row, asset]
        traded = "unknown" if np.isnan(volume) else f"{volume:.6g}" if volume else "0 (not traded)"
        prices = ", ".join(f"{n} {getattr(bar, n)[asset]:.6g}" for n in ("open", "high", "low", "close"))
        yield f"{symbol}: {prices}, volume {traded}"
        if bar.splits is not None and bar.splits[asset] != 1:
            yield f"  split: {bar.splits[asset]:g} new shares for one"
        if bar.dividends is not None and bar.dividends[asset]:
            yield f"  dividend: {bar.dividends[asset]:.6g} a share"
        yield TEMPLATE.format(*episode.features[at, asset].tolist())


def _items(episode: Episode, at: int, most: int) -> Iterator[str]:
    items = episode.items(at)
    shown = items[max(len(items) - most, 0) :]
    if len(shown) < len(items):
        yield f"{len(items) - len(shown)} older items are not shown"
    for item in shown:
        text = item.text if len(item.text) <= LONGEST else f"{item.text[:LONGEST]}..."
        yield f"{item.kind} {item.symbol or 'market'} {moment(item.published)}: {' '.join(text.split())}"
    if most:
        new = {item.symbol for item in shown if item.kind == "report"}
        for symbol in episode.market.symbols:
            report = None if symbol in new else episode.report(symbol, at)
            if report is not None:
                text = " ".join(report.text[:LONGEST].split())
                yield f"last report {symbol} {moment(report.published)}: {text}"


def _fills(episode: Episode, account: Account) -> Iterator[str]:
    symbols = episode.market.symbols
    for fill in account.fills:
        if fill.why == "ruin":
            continue
        verb = "bought" if fill.units > 0 else "sold"
        gained = "" if fill.opened else f", profit {fill.profit:+.2f}"
        yield (
            f"{verb} {abs(fill.units):.6g} {symbols[fill.asset]} at {fill.price:.6g}{WHY[fill.why]}, "
            f"cost {fill.cost:.2f}{gained}"
        )
    for asset, note in account.notes:
        yield f"{symbols[asset]}: {note}"


def _account(episode: Episode, account: Account, weights: Sequence[float]) -> Iterator[str]:
    if account.ruined:
        yield "The account is ruined."
        return
    yield f"account: equity {account.equity:.2f}, cash {account.cash:.2f}"
    for asset, symbol in enumerate(episode.market.symbols):
        units = account.units[asset]
        if units:
            stop, take = account.stop[asset], account.take[asset]
            guards = [f", {n} {p:.6g}" for n, p in (("stop", stop), ("take", take)) if p is not None]
            entry = f"weight {weights[asset]:.3f}, entry {account.entry[asset]:.6g}"
            yield f"  {symbol} {units:.6g} units, {entry}{''.join(guards)}"
    if account.liquidating:
        yield "Margin call: the broker will close all positions at the next open."
