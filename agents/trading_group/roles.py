"""The five agents of the desk: what each is told, what it is asked, and how its answer is read.

An answer that cannot be read counts as such, and the desk goes on with the role's neutral default. Reading is lenient
towards emphasis, case, JSON and percentages, and never guesses a direction that was not said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar, get_args

from .risk import STYLES, Style
from .signals import GateConfig, Trend, breakout_threshold, simplified_atr
from .view import View

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
"""By role."""


@dataclass(frozen=True)
class Forecast:
    """What the forecast agent said."""

    trend: Trend
    probabilities: dict[Trend, float] = field(default_factory=lambda: dict.fromkeys(TRENDS, 1 / 3))
    """Sum to 1."""

    def __str__(self) -> str:
        parts = (f"{trend} {100 * p:.0f}" for trend, p in self.probabilities.items())
        return f"{' '.join(parts)}, trend {self.trend}"


NEUTRAL_SENTIMENT: Sentiment = "neutral"
NEUTRAL_FORECAST = Forecast("side")
NEUTRAL_STYLE: Style = "balanced"
NEUTRAL_DECISION: Decision = "hold"
"""What the desk goes on with when an answer cannot be read."""


# -- Questions --------------------------------------------------------------------------------------------------------


def ask_news(symbol: str, items: Sequence[str]) -> str:
    """What the news agent is asked."""
    return f"News on {symbol}:" + "".join(f"\n{number}. {text}" for number, text in enumerate(items, start=1))


def ask_report(symbol: str, passages: Sequence[str]) -> str:
    """What the report agent is asked."""
    return f"From the last report of {symbol}:" + "".join(f"\n- {text}" for text in passages)


def ask_forecast(
    view: View, horizon: int, sentiments: Sequence[str], outlook: str, gate: GateConfig, experience: str
) -> str:
    """What the forecast agent is asked. `sentiments` are the news' of the last days, today's first."""
    strength, atr = view.features["rsi"], simplified_atr(view.features["volatility_20"])
    zone = "overbought" if strength >= gate.overbought else "oversold" if strength <= gate.oversold else "middle"
    deviation, threshold = 100.0 * view.features["sma_20"], breakout_threshold(atr)
    move = last_move(view)
    broke = "a breakout up" if move >= threshold else "a breakout down" if move <= -threshold else "no breakout"
    return (
        f"The next {horizon} days of {view.symbol}."
        f"\nRSI-14: {strength:.0f}, {zone}"
        f"\nSMA-20: {abs(deviation):.1f} % {'above' if deviation >= 0 else 'below'}"
        f"\nVolatility: {atr:.1f} %"
        f"\nLast day: {move:+.1f} %, {broke}"
        f"\nNews today: {sentiments[0] if sentiments else 'none'}"
        f"\nNews before: {', '.join(sentiments[1:]) or 'none'}"
        f"\nReport: {outlook}{experience}"
    )


def ask_style(view: View, equity: Sequence[float], experience: str) -> str:
    """What the style agent is asked. `equity` is the account's worth at the closes before, oldest first."""
    known = [*equity, view.equity]
    recent = 100.0 * (view.equity / known[max(0, len(known) - 11)] - 1.0)
    drawdown = 100.0 * (1.0 - view.equity / max(known))
    return (
        f"Account in 10 days: {recent:+.1f} %, {'gaining' if recent > 0.5 else 'losing' if recent < -0.5 else 'flat'}"
        f"\nDrawdown: {drawdown:.1f} %"
        f"\nInvested: {100 * view.weight:.0f} %"
        f"\nVolatility: {simplified_atr(view.features['volatility_20']):.1f} %{experience}"
    )


def ask_decision(
    view: View, forecast: Forecast, trend: Trend, sentiment: str, outlook: str, style: str, experience: str
) -> str:
    """What the decision agent is asked. `trend` is the forecast's after the gate."""
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


def last_move(view: View) -> float:
    """The last day's change in %."""
    return 100.0 * view.features["return"]


# -- Answers ----------------------------------------------------------------------------------------------------------


def read_sentiment(text: str) -> Sentiment | None:
    """The answer of the news agent."""
    return _word(text, "overall", SENTIMENTS)


def read_outlook(text: str) -> Sentiment | None:
    """The answer of the report agent."""
    return _word(text, "outlook", SENTIMENTS)


def read_style(text: str) -> Style | None:
    """The answer of the style agent."""
    return _word(text, "style", STYLES)


def read_decision(text: str) -> Decision | None:
    """The answer of the decision agent."""
    return _word(text, "decision", get_args(Decision))


def read_forecast(text: str) -> Forecast | None:
    """The answer of the forecast agent; probabilities are scaled to sum to 1.

    Without a `Trend:` line the trend is the most probable one. All three probabilities must be there.
    """
    said = _plain(text)
    listed = said.rpartition("forecast:")[2]
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
    return Forecast(_word(text, "trend", TRENDS) or likeliest, probabilities)


def answer_of(role: str, text: str) -> str | None:
    """An answer in a word; None when it cannot be read."""
    if role == "forecast":
        forecast = read_forecast(text)
        return forecast.trend if forecast else None
    return {"news": read_sentiment, "report": read_outlook, "style": read_style, "decision": read_decision}[role](text)


def _word(text: str, label: str, words: Sequence[T]) -> T | None:
    """The word after the last `label:`; None when what stands there is none of `words`."""
    found = re.findall(rf"(?<![a-z]){label}\s*:\s*([a-z]+)", _plain(text))
    if not found:
        return None
    said = {"sideways": "side"}.get(found[-1], found[-1])
    return next((word for word in words if word == said), None)


def _plain(text: str) -> str:
    """In lower case and without the marks of Markdown and JSON."""
    return re.sub(r"[*`\"']", "", text.lower()).replace("_", " ")
