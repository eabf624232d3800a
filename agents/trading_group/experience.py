"""Self-reflection: what an agent of the desk is told of its own last days, with what the market made of them.

Only what had been realised by the close of the day is in it: a forecast over h days is judged after h days, a decision
after one. The digest is made by rule, so that it costs no call and can be read back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .labels import LabelConfig, decision_reward, realised
from .risk import Style
from .roles import Decision, Forecast, Role
from .signals import Trend
from .view import View


@dataclass(frozen=True)
class Day:
    """What the desk knew and did on one day."""

    price: float
    """The close."""
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


def forecast_cases(days: Sequence[Day], view: View, last: int, labels: LabelConfig) -> Iterator[Case]:
    """Forecasts of the `last` days up to today whose horizon is over by today's close."""
    for age in range(last, labels.horizon - 1, -1):
        if age <= len(days):
            day = days[-age]
            price = view.price if age == labels.horizon else days[labels.horizon - age].price
            pct = price / day.price - 1.0
            right = day.forecast.trend == realised(pct, labels)
            yield Case(f"{day.forecast.trend} on {day.sentiment} news", right, pct)


def decision_cases(days: Sequence[Day], view: View, last: int, labels: LabelConfig) -> Iterator[Case]:
    """Decisions of the `last` days, with the decision reward of the day after each."""
    for day, reward in _rewards(days, view, last, labels):
        yield Case(f"{day.decision} on {day.trend} forecast", reward > 0.0, reward)


def style_cases(days: Sequence[Day], view: View, last: int, labels: LabelConfig) -> Iterator[Case]:
    """Styles of the `last` days, with the account's return of the day after: caution is right when the account lost."""
    after = [*days[1:], None]
    for day, next_day in list(zip(days, after, strict=True))[-last:]:
        equity = float(view.equity[-1]) if next_day is None else next_day.equity
        gain = equity / day.equity - 1.0
        yield Case(day.style, gain <= 0.0 if day.style == "conservative" else gain >= 0.0, gain)


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


def _rewards(days: Sequence[Day], view: View, last: int, labels: LabelConfig) -> list[tuple[Day, float]]:
    """The last days, each with the decision reward of the day after it."""
    found = []
    for age in range(min(last, len(days)), 0, -1):
        day = days[-age]
        if age == 1:
            equity, price, paid = float(view.equity[-1]), view.price, view.commission
        else:
            after = days[1 - age]
            equity, price, paid = after.equity, after.price, after.commission
        found.append((day, decision_reward(equity, day.equity, price, day.price, paid, labels)))
    return found
