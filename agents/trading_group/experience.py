"""Self-reflection: a digest of an agent's recent answers and their realised outcomes.

The digest uses only outcomes realised by the day's close: a forecast over h days is judged after h days, a decision
after one day. It is written by rule, so it needs no model call and can be parsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .labels import LabelConfig, RealisedSeries, realised_trend
from .risk import Style
from .roles import Decision, Forecast, Role
from .signals import Trend
from .view import DeskView


@dataclass(frozen=True)
class Day:
    """Inputs and answers of the desk on one day."""

    asset_return: float
    """The asset's return since the previous close, including dividends."""
    equity: float
    """Equity of the account at the close."""
    commission: float
    """Commission and fees paid since the previous close."""
    sentiment: str
    """Sentiment of the day's news; `none` without news."""
    outlook: str
    """Outlook of the last report."""
    forecast: Forecast
    trend: Trend
    """Trend of the forecast after the gate."""
    style: Style
    decision: Decision
    """Answer of the decision agent, before risk management."""
    action: str = ""
    """Action sent to the environment."""
    unread: tuple[Role, ...] = ()
    """Roles whose answers could not be parsed."""

    def __str__(self) -> str:
        gated = "" if self.trend == self.forecast.trend else f", {self.trend} after the gate"
        return f"News {self.sentiment}; forecast {self.forecast}{gated}; {self.style}; {self.decision}"


@dataclass(frozen=True)
class Case:
    """One judged answer of an agent."""

    label: str
    """The answer and its context, such as `buy on up forecast`."""
    success: bool
    outcome: float
    """Realised return or reward, as a fraction."""


def realised_by(days: Sequence[Day], view: DeskView) -> RealisedSeries:
    """Return the realised series of all days up to the close of `view`."""
    return RealisedSeries(
        [*(day.asset_return for day in days), view.features["return"]],
        [*(day.equity for day in days), view.equity],
        [*(day.commission for day in days), view.commission],
    )


def forecast_cases(days: Sequence[Day], realised: RealisedSeries, max_days: int, labels: LabelConfig) -> Iterator[Case]:
    """Yield the forecasts of the last `max_days` days whose horizon is over."""
    for t in range(max(0, len(days) - max_days), len(days)):
        pct = realised.return_ahead(t, labels.horizon)
        if pct is not None:
            trend = days[t].forecast.trend
            news = "no" if days[t].sentiment == "none" else days[t].sentiment
            yield Case(f"{trend} on {news} news", trend == realised_trend(pct, labels), pct)


def decision_cases(days: Sequence[Day], realised: RealisedSeries, max_days: int, labels: LabelConfig) -> Iterator[Case]:
    """Yield the decisions of the last `max_days` days with their decision rewards."""
    for t in range(max(0, len(days) - max_days), len(days)):
        reward = realised.reward(t, labels)
        if reward is not None:
            yield Case(f"{days[t].decision} on {days[t].trend} forecast", reward > 0.0, reward)


def style_cases(days: Sequence[Day], realised: RealisedSeries, max_days: int) -> Iterator[Case]:
    """Yield the styles of the last `max_days` days with the account's return on the following day.

    `conservative` is right if the account lost, the other styles if it gained. Days without a change are skipped.
    """
    for t in range(max(0, len(days) - max_days), len(days)):
        account_return = realised.account_return(t)
        if account_return:
            yield Case(days[t].style, (account_return < 0.0) == (days[t].style == "conservative"), account_return)


def digest(cases: Sequence[Case], max_days: int, groups: int = 3) -> str:
    """Render the digest that is appended to a prompt; empty without cases.

    It lists the `groups` most frequent labels of successes and of failures, with their count and mean outcome.
    """
    if not cases:
        return ""
    lines = [
        f"\nYour last {max_days} days: {sum(c.success for c in cases)} right, {sum(not c.success for c in cases)} "
        "wrong."
    ]
    for title, success in (("Right", True), ("Wrong", False)):
        outcomes: dict[str, list[float]] = {}
        for case in cases:
            if case.success == success:
                outcomes.setdefault(case.label, []).append(case.outcome)
        frequent = sorted(outcomes, key=lambda label: (-len(outcomes[label]), label))[:groups]
        parts = (
            f"{label} {len(outcomes_of_label)} ({100 * sum(outcomes_of_label) / len(outcomes_of_label):+.1f} %)"
            for label in frequent
            if (outcomes_of_label := outcomes[label])
        )
        lines.append(f"\n{title}: {', '.join(parts) or 'none'}")
    return "".join(lines)
