"""The data that the desk sees on one day."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...envs.trading.features import FEATURES
from ...errors import UsageError
from ..core import Episode

FIRST_REPORT = re.compile(r"^last report \S+ [^:]*:\d\d: (.*)$", re.MULTILINE)
"""Matches a report in the first observation that was published before the window."""


@dataclass(frozen=True)
class DeskView:
    """Asset, account, news and report at the close of one bar."""

    symbol: str
    price: float
    """Closing price."""
    features: dict[str, float]
    """Values of `FEATURES` by name."""
    equity: float
    """Equity of the account at the close."""
    weight: float
    """Value of the position / equity; 0 without a position."""
    entry: float
    """Average entry price of the position; 0 without a position."""
    commission: float
    """Commission and fees paid since the previous close."""
    news: tuple[str, ...]
    """News published since the previous close."""
    report: str
    """Newest report since the previous close; at the first bar also an earlier one; empty without a new report."""


def view_of(episode: Episode) -> DeskView:
    """Return the view of an episode's last bar. Raises `UsageError` for other environments and for several assets."""
    info = episode.info
    if "arrays" not in info or len(info["account"].weights) != 1:
        raise UsageError(
            f"the desk cannot trade task {episode.task.id!r} of {episode.task.env_id}; expected a task of "
            "kintsugi/Trading-v0 with one asset; pass tasks with assets=1"
        )
    account, items = info["account"], info["items"]
    reports = [item.text for item in items if item.kind == "report"]
    if not reports and not episode.steps:
        reports = FIRST_REPORT.findall(episode.observation)
    return DeskView(
        symbol=episode.goal.removeprefix("trade ").partition(" ")[0],
        price=float(info["arrays"]["bars"][0, 3]),
        features=dict(zip(FEATURES, map(float, info["arrays"]["features"][0]), strict=True)),
        equity=account.equity,
        weight=account.weights[0],
        entry=account.entry[0],
        commission=sum(fill.cost for fill in info["fills"]),
        news=tuple(item.text for item in items if item.kind == "news"),
        report=reports[-1] if reports else "",
    )
