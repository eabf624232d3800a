"""What the desk sees on one day."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...envs.trading.features import FEATURES
from ...errors import UsageError
from ..core import Episode

FIRST_REPORT = re.compile(r"^last report \S+ [^:]*:\d\d: (.*)$", re.MULTILINE)
"""How the first observation tells of a report that was published before it."""


@dataclass(frozen=True)
class View:
    """What was known of one asset and of the account at the close of one bar."""

    symbol: str
    price: float
    """The close."""
    features: dict[str, float]
    """`FEATURES` by name."""
    equity: float
    """The account's worth at the close."""
    weight: float
    """Worth of the position / worth of the account; 0 without one."""
    entry: float
    """Mean price at which the position was entered; 0 without one."""
    commission: float
    """Paid since the close before."""
    news: tuple[str, ...]
    """Published since the close before."""
    report: str
    """Published since the close before, or before the first one; else empty."""


def view_of(episode: Episode) -> View:
    """Read an episode of `kintsugi/Trading-v0`; raises `UsageError` for another world or several assets."""
    info = episode.info
    if "arrays" not in info or len(info["account"].weights) != 1:
        raise UsageError(
            f"the desk trades one asset of kintsugi/Trading-v0; task {episode.task.id!r} is of {episode.task.env_id} "
            "or has several: ask for tasks with assets 1"
        )
    account, items = info["account"], info["items"]
    reports = [item.text for item in items if item.kind == "report"]
    if not reports and not episode.steps:
        reports = FIRST_REPORT.findall(episode.observation)
    return View(
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
