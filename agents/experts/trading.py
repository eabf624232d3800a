"""An analyst for TradingGroup's desk: plays every role by reading the prompt, and nothing but the prompt.

It reads texts of the simulator's `train` split without error. As a forecaster it has no firm belief: it follows the
news, follows the trend, or expects a return, drawn anew each time, and says which. Which of these pays it does not
know; told how its own forecasts went, it leans towards what was right. What a desk learns from the market is which
reasons to trust.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...envs.trading.wording import WORDINGS
from ..models.core import Message, Sampling
from ..models.scripted import ScriptedModel
from ..trading_group.roles import SENTIMENTS, SYSTEM

SIGNS = {"positive": 1, "negative": -1}
_ROLE_OF = {system: role for role, system in SYSTEM.items()}


@dataclass(frozen=True)
class Temper:
    """How an analyst thinks; probabilities of its reasons, before experience."""

    trend: float = 0.375
    """Of following the trend: up when the price is above its mean."""
    news: float = 0.375
    """Of following the news of the last days."""
    contrary: float = 0.25
    """Of expecting a return to the mean."""
    whim: float = 0.1
    """Probability of a style or a decision that is drawn and not derived."""
    leaning: float = 2.0
    """How much likelier the news are followed when that was right more often than wrong, and less likely otherwise."""


class TradingExpert(ScriptedModel):
    """A `LanguageModel` whose answers are a function of the prompt and of `Sampling.seed`."""

    def __init__(self, temper: Temper | None = None) -> None:
        super().__init__(self._answer, version="trading-expert")
        self.temper = temper or Temper()

    def _answer(self, messages: Sequence[Message], sampling: Sampling) -> str:
        role = _ROLE_OF[messages[0].content]
        prompt, rng = messages[-1].content, random.Random(sampling.seed)
        if role == "news":
            return answer_news(prompt)
        if role == "report":
            return answer_report(prompt)
        if role == "forecast":
            return answer_forecast(prompt, rng, self.temper)
        if role == "style":
            return answer_style(prompt, rng, self.temper)
        return answer_decision(prompt, rng, self.temper)


def answer_news(prompt: str) -> str:
    """Each item by what it says, and the sign of their sum."""
    directions = [direction_of(line, "news") for line in prompt.split("\n")[1:]]
    return f"Items: {', '.join(map(_sentiment, directions))}\nOverall: {_sentiment(sum(directions))}"


def answer_report(prompt: str) -> str:
    """Good and bad sentences, each counted once."""
    sentences = {sentence.strip(" -") for sentence in re.findall(r"[^.\n]+\.", prompt)}
    directions = [direction_of(sentence, "reports") for sentence in sorted(sentences)]
    good, bad = directions.count(1), directions.count(-1)
    return f"Summary: good signs {good}, bad signs {bad}.\nOutlook: {_sentiment(good - bad)}"


def answer_forecast(prompt: str, rng: random.Random, temper: Temper) -> str:
    """One of three reasons, and probabilities that grow with the strength of what it points to."""
    news, trend = _news_signal(prompt), _trend_signal(prompt)
    right, wrong = _followed(prompt)
    lean = temper.leaning if right > wrong else 1 / temper.leaning if wrong > right else 1.0
    reasons = {"the news": temper.news * lean, "the trend": temper.trend, "a return": temper.contrary}
    reason = rng.choices(list(reasons), list(reasons.values()))[0]
    signal = {"the news": news, "the trend": trend, "a return": -trend}[reason]
    said = "I expect a return" if reason == "a return" else f"I follow {reason}"
    if abs(signal) < 0.25:
        return f"Thought: {said}, which says nothing.\nForecast: up 30 down 30 side 40\nTrend: side"
    way, other = ("up", "down") if signal > 0 else ("down", "up")
    likely = 50 if abs(signal) < 1 else 60 if abs(signal) < 2 else 70
    numbers = {way: likely, other: (100 - likely) // 2, "side": (100 - likely) // 2}
    listed = " ".join(f"{name} {numbers[name]}" for name in ("up", "down", "side"))
    return f"Thought: {said}: {way}.\nForecast: {listed}\nTrend: {way}"


def answer_style(prompt: str, rng: random.Random, temper: Temper) -> str:
    """Bold while the account gains, careful while it loses; bold styles that were mostly wrong are given up."""
    match = re.search(r"Account in 10 days: [^,]*, (\w+)", prompt)
    fares = match[1] if match else "flat"
    style = {"gaining": "aggressive", "losing": "conservative"}.get(fares, "balanced")
    if style == "aggressive" and _count(prompt, "Wrong", "aggressive") > _count(prompt, "Right", "aggressive"):
        style = "balanced"
    if rng.random() < temper.whim:
        style = rng.choice(("aggressive", "balanced", "conservative"))
    return f"Thought: The account is {fares}.\nStyle: {style}"


def answer_decision(prompt: str, rng: random.Random, temper: Temper) -> str:
    """Buy on up, sell on down."""
    match = re.search(r"trend (\w+)(?:, but (\w+) after the gate)?", prompt)
    trend = (match[2] or match[1]) if match else "side"
    decision = {"up": "buy", "down": "sell"}.get(trend, "hold")
    if rng.random() < temper.whim:
        decision = rng.choice(("buy", "hold", "sell"))
    return f"Thought: The forecast is {trend}.\nDecision: {decision}"


def direction_of(text: str, kind: str, split: str = "train") -> int:
    """What a text of a split says: 1 good, -1 bad, 0 neither. `kind` is `news` or `reports`."""
    for direction in (1, -1):
        if _pattern(kind, split, direction).search(text):
            return direction
    return 0


@functools.cache
def _pattern(kind: str, split: str, direction: int) -> re.Pattern[str]:
    said: tuple[str, ...] = getattr(WORDINGS[split], kind)[direction]
    return re.compile("|".join(re.escape(text).replace(re.escape("{product}"), "[a-z]+") for text in said))


def _sentiment(direction: int) -> str:
    return SENTIMENTS[0] if direction > 0 else SENTIMENTS[1] if direction < 0 else SENTIMENTS[2]


def _news_signal(prompt: str) -> float:
    """Today's news and that of the days before, which fades; and half as much the report."""
    today = re.search(r"News today: (\w+)", prompt)
    before = re.search(r"News before: ([\w, ]+)", prompt)
    report = re.search(r"Report: (\w+)", prompt)
    days = [*(today.groups() if today else ()), *(before[1].split(", ") if before else ())]
    signal = sum(0.8**age * SIGNS.get(said, 0) for age, said in enumerate(days))
    return signal + 0.5 * SIGNS.get(report[1] if report else "", 0)


def _trend_signal(prompt: str) -> float:
    """Distance from the mean in steps of 3 %."""
    match = re.search(r"SMA-20: ([\d.]+) % (above|below)", prompt)
    return float(match[1]) / 3 * (1 if match[2] == "above" else -1) if match else 0.0


def _followed(prompt: str) -> tuple[int, int]:
    """How often following the news was right and wrong, as far as the experience says."""
    ways = ("up on positive news", "down on negative news")
    right, wrong = (sum(_count(prompt, title, way) for way in ways) for title in ("Right", "Wrong"))
    return right, wrong


def _count(prompt: str, title: str, label: str) -> int:
    match = re.search(rf"^{title}: .*?{re.escape(label)} (\d+)", prompt, re.MULTILINE)
    return int(match[1]) if match else 0
