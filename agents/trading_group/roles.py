"""The five roles of the desk: system prompts, prompts, and parsing of answers.

Parsing tolerates Markdown emphasis, case, JSON and percentages, but never guesses a direction that the answer does not
state. An answer that cannot be parsed counts as unread and is replaced by the role's neutral default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar, get_args

from .risk import STYLES, Style
from .signals import GateConfig, Trend, breakout_threshold, simplified_atr
from .view import DeskView

Role = Literal["news", "report", "forecast", "style", "decision"]
ROLES: tuple[Role, ...] = get_args(Role)
Sentiment = Literal["positive", "negative", "neutral"]
SENTIMENTS: tuple[Sentiment, ...] = get_args(Sentiment)
Decision = Literal["buy", "hold", "sell"]
TRENDS: tuple[Trend, ...] = get_args(Trend)
T = TypeVar("T", bound=str)

SYSTEM: Mapping[str, str] = {
    "news": (
        "You read the news of one company for a trading desk. Say of each item whether it is positive, negative or "
        "neutral for the share in the days to come, then of all together. Answer in two lines: 'Items:' with one word "
        "an item, in their order, and 'Overall:' with one word."
    ),
    "report": (
        "You read the financial report of one company for a trading desk. Answer in two lines: 'Summary:' with what "
        "matters, and 'Outlook:' with positive, negative or neutral."
    ),
    "forecast": (
        "You forecast one share for a trading desk. Answer in three lines: 'Thought:' with your reason, 'Forecast:' "
        "with probabilities in percent such as 'up 50 down 30 side 20', and 'Trend:' with up, down or side."
    ),
    "style": (
        "You choose the style of a trading desk from how its account fares. Answer in two lines: 'Thought:' with your "
        "reason, and 'Style:' with aggressive, balanced or conservative."
    ),
    "decision": (
        "You decide for a trading desk that buys and sells one share. Answer in two lines: 'Thought:' with your "
        "reason, and 'Decision:' with buy, hold or sell."
    ),
}
"""System prompts by role."""


@dataclass(frozen=True)
class Forecast:
    """Answer of the forecast agent."""

    trend: Trend
    probabilities: dict[Trend, float] = field(default_factory=lambda: dict.fromkeys(TRENDS, 1 / 3))
    """Probability of each trend; they sum to 1."""

    def __str__(self) -> str:
        parts = (f"{trend} {100 * p:.0f}" for trend, p in self.probabilities.items())
        return f"{' '.join(parts)}, trend {self.trend}"


NEUTRAL_SENTIMENT: Sentiment = "neutral"
NEUTRAL_FORECAST = Forecast("side")
NEUTRAL_STYLE: Style = "balanced"
NEUTRAL_DECISION: Decision = "hold"
"""Defaults for answers that cannot be parsed."""


# -- Prompts ----------------------------------------------------------------------------------------------------------


def news_prompt(symbol: str, items: Sequence[str]) -> str:
    """Return the prompt of the news agent."""
    return f"News on {symbol}:" + "".join(f"\n{number}. {text}" for number, text in enumerate(items, start=1))


def report_prompt(symbol: str, passages: Sequence[str]) -> str:
    """Return the prompt of the report agent."""
    return f"From the last report of {symbol}:" + "".join(f"\n- {text}" for text in passages)


def forecast_prompt(
    view: DeskView, horizon: int, sentiments: Sequence[str], outlook: str, gate: GateConfig, experience: str
) -> str:
    """Return the prompt of the forecast agent. `sentiments` are those of the last days' news, today's first."""
    rsi, atr = view.features["rsi"], simplified_atr(view.features["volatility_20"])
    zone = "overbought" if rsi >= gate.overbought else "oversold" if rsi <= gate.oversold else "middle"
    deviation, threshold = 100.0 * view.features["sma_20"], breakout_threshold(atr)
    last_return = last_return_percent(view)
    broke = (
        "a breakout up"
        if last_return >= threshold
        else "a breakout down"
        if last_return <= -threshold
        else "no breakout"
    )
    return (
        f"The next {horizon} days of {view.symbol}."
        f"\nRSI-14: {rsi:.0f}, {zone}"
        f"\nSMA-20: {abs(deviation):.1f} % {'above' if deviation >= 0 else 'below'}"
        f"\nVolatility: {atr:.1f} %"
        f"\nLast day: {last_return:+.1f} %, {broke}"
        f"\nNews today: {sentiments[0] if sentiments else 'none'}"
        f"\nNews before: {', '.join(sentiments[1:]) or 'none'}"
        f"\nReport: {outlook}{experience}"
    )


def style_prompt(view: DeskView, equity: Sequence[float], experience: str) -> str:
    """Return the prompt of the style agent. `equity` is the equity at previous closes, oldest first."""
    known = [*equity, view.equity]
    recent = 100.0 * (view.equity / known[max(0, len(known) - 11)] - 1.0)
    drawdown = 100.0 * (1.0 - view.equity / max(known))
    return (
        f"Account in 10 days: {recent:+.1f} %, {'gaining' if recent > 0.5 else 'losing' if recent < -0.5 else 'flat'}"
        f"\nDrawdown: {drawdown:.1f} %"
        f"\nInvested: {100 * view.weight:.0f} %"
        f"\nVolatility: {simplified_atr(view.features['volatility_20']):.1f} %{experience}"
    )


def decision_prompt(
    view: DeskView, forecast: Forecast, trend: Trend, sentiment: str, outlook: str, style: str, experience: str
) -> str:
    """Return the prompt of the decision agent. `trend` is the trend after the gate."""
    gated = "" if trend == forecast.trend else f", but {trend} after the gate"
    gain = 100.0 * (view.price / view.entry - 1.0) if view.weight else 0.0
    position = f"{100 * view.weight:.0f} % of the account, {gain:+.1f} %" if view.weight else "none"
    return (
        f"Today's forecast: {forecast}{gated}"
        f"\nNews today: {sentiment}"
        f"\nReport: {outlook}"
        f"\nStyle: {style}"
        f"\nPosition: {position}{experience}"
    )


def last_return_percent(view: DeskView) -> float:
    """Return the asset's return of the last day in percent."""
    return 100.0 * view.features["return"]


# -- Answers ----------------------------------------------------------------------------------------------------------


def read_sentiment(text: str) -> Sentiment | None:
    """Parse the answer of the news agent; None if unparsable."""
    return _labelled_word(text, "overall", SENTIMENTS)


def read_outlook(text: str) -> Sentiment | None:
    """Parse the answer of the report agent; None if unparsable."""
    return _labelled_word(text, "outlook", SENTIMENTS)


def read_style(text: str) -> Style | None:
    """Parse the answer of the style agent; None if unparsable."""
    return _labelled_word(text, "style", STYLES)


def read_decision(text: str) -> Decision | None:
    """Parse the answer of the decision agent; None if unparsable."""
    return _labelled_word(text, "decision", get_args(Decision))


def read_forecast(text: str) -> Forecast | None:
    """Parse the answer of the forecast agent; None unless it has all three probabilities.

    Probabilities are normalised to sum 1. Without a `Trend:` line, the most probable trend is used.
    """
    plain = _strip_markup(text)
    listed = plain.rpartition("forecast:")[2]
    numbers: dict[Trend, float] = {}
    for trend in TRENDS:
        name = "side(?:ways)?" if trend == "side" else trend
        match = re.search(rf"(?<![a-z]){name}(?![a-z])[^0-9a-z]{{0,8}}(\d+(?:\.\d+)?)", listed)
        if match is None:
            return None
        numbers[trend] = float(match[1])
    total = sum(numbers.values())
    if not total > 0:
        return None
    probabilities = {trend: number / total for trend, number in numbers.items()}
    likeliest = max(TRENDS, key=lambda trend: probabilities[trend])
    return Forecast(_labelled_word(text, "trend", TRENDS) or likeliest, probabilities)


def answer_of(role: str, text: str) -> str | None:
    """Return the answer of any role as one word; None if unparsable."""
    if role == "forecast":
        forecast = read_forecast(text)
        return forecast.trend if forecast else None
    return {"news": read_sentiment, "report": read_outlook, "style": read_style, "decision": read_decision}[role](text)


def _labelled_word(text: str, label: str, words: Sequence[T]) -> T | None:
    """Return the word after the last `label:`; None if it is not one of `words`."""
    found = re.findall(rf"(?<![a-z]){label}\s*:\s*([a-z]+)", _strip_markup(text))
    if not found:
        return None
    answer = {"sideways": "side"}.get(found[-1], found[-1])
    return next((word for word in words if word == answer), None)


def _strip_markup(text: str) -> str:
    """Return the text in lower case and without Markdown and JSON markup."""
    return re.sub(r"[*`\"']", "", text.lower()).replace("_", " ")
