"""Self-reflection: what an agent of the desk is told of its own last days, with what the market made of them.

Only what had been realised by the close of the day is in it: a forecast over h days is judged after h days, a decision
after one. The digest is made by rule, so that it costs no call and can be read back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .labels import LabelConfig, Realised, realised
from .risk import Style
from .roles import Decision, Forecast, Role
from .signals import Trend
from .view import View


@dataclass(frozen=True)
class Day:
    """What the desk knew and did on one day."""

    move: float
    """The asset's return from the close before, with dividends."""
    equity: float
    """The account's worth at the close."""
    commission: float
    """Paid since the close before."""
    sentiment: str
    """Of the day's news; `none` without any."""
    outlook: str
    forecast: Forecast
    trend: Trend
    """The forecast's after the gate."""
    style: Style
    decision: Decision
    """The decision agent's, whatever risk management made of it."""
    action: str = ""
    """What was sent to the market."""
    unread: tuple[Role, ...] = ()
    """Agents whose answers could not be read."""

    def __str__(self) -> str:
        gated = "" if self.trend == self.forecast.trend else f", {self.trend} after the gate"
        return f"News {self.sentiment}; forecast {self.forecast}{gated}; {self.style}; {self.decision}"


@dataclass(frozen=True)
class Case:
    """One thing that an agent said, and what became of it."""

    label: str
    success: bool
    outcome: float
    """Realised, as a fraction."""


def realised_by(days: Sequence[Day], view: View) -> Realised:
    """What had happened by the close that `view` shows, the days before it included."""
    return Realised(
        [*(day.move for day in days), view.features["return"]],
        [*(day.equity for day in days), view.equity],
        [*(day.commission for day in days), view.commission],
    )


def forecast_cases(days: Sequence[Day], past: Realised, last: int, labels: LabelConfig) -> Iterator[Case]:
    """Forecasts of the `last` days whose horizon is over."""
    for at in range(max(0, len(days) - last), len(days)):
        pct = past.ahead(at, labels.horizon)
        if pct is not None:
            trend = days[at].forecast.trend
            news = "no" if days[at].sentiment == "none" else days[at].sentiment
            yield Case(f"{trend} on {news} news", trend == realised(pct, labels), pct)


def decision_cases(days: Sequence[Day], past: Realised, last: int, labels: LabelConfig) -> Iterator[Case]:
    """Decisions of the `last` days, with the decision reward of the day after each."""
    for at in range(max(0, len(days) - last), len(days)):
        reward = past.reward(at, labels)
        if reward is not None:
            yield Case(f"{days[at].decision} on {days[at].trend} forecast", reward > 0.0, reward)


def style_cases(days: Sequence[Day], past: Realised, last: int) -> Iterator[Case]:
    """Styles of the `last` days, with the account's return of the day after: caution is right when the account lost.

    Days on which the account stood still say nothing of its style.
    """
    for at in range(max(0, len(days) - last), len(days)):
        gain = past.gain(at)
        if gain:
            yield Case(days[at].style, (gain < 0.0) == (days[at].style == "conservative"), gain)


def digest(cases: Sequence[Case], last: int, groups: int = 3) -> str:
    """The experience summary as lines that follow a question; empty without a case.

    Successes and failures by what was said, the most frequent `groups` of each, with their number and mean outcome.
    """
    if not cases:
        return ""
    lines = [
        f"\nYour last {last} days: {sum(c.success for c in cases)} right, {sum(not c.success for c in cases)} wrong."
    ]
    for title, success in (("Right", True), ("Wrong", False)):
        outcomes: dict[str, list[float]] = {}
        for case in cases:
            if case.success == success:
                outcomes.setdefault(case.label, []).append(case.outcome)
        most = sorted(outcomes, key=lambda label: (-len(outcomes[label]), label))[:groups]
        said = (
            f"{label} {len(found)} ({100 * sum(found) / len(found):+.1f} %)"
            for label in most
            if (found := outcomes[label])
        )
        lines.append(f"\n{title}: {', '.join(said) or 'none'}")
    return "".join(lines)
