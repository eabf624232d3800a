"""A rule-based analyst that plays every role of TradingGroup's desk from the prompt alone.

It reads texts of the simulator's `train` split without error. Its forecasts follow the news, the trend, or an expected
return to the mean. It samples one of these reasons per forecast and states it, without knowing which one is profitable.
If its experience shows that following the news was right, it follows the news more often. A desk that imitates the
analyst therefore still has to learn from the market which reasons to trust.
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
class Temperament:
    """Behaviour of an analyst: relative frequencies of its reasons before experience, and noise."""

    trend: float = 0.375
    """Weight of following the trend: up if the price is above its mean."""
    news: float = 0.375
    """Weight of following the news of the last days."""
    mean_reversion: float = 0.25
    """Weight of expecting a return to the mean."""
    random_rate: float = 0.1
    """Probability of a random style, and of a random decision."""
    experience_factor: float = 2.0
    """Factor on `news` if following it was mostly right; `news` is divided by it if mostly wrong."""


class TradingExpert(ScriptedModel):
    """A `LanguageModel` whose answers depend only on the prompt and on `Sampling.seed`."""

    def __init__(self, temperament: Temperament | None = None) -> None:
        super().__init__(self._answer, version="trading-expert")
        self.temperament = temperament or Temperament()

    def _answer(self, messages: Sequence[Message], sampling: Sampling) -> str:
        role = _ROLE_OF[messages[0].content]
        prompt, rng = messages[-1].content, random.Random(sampling.seed)
        if role == "news":
            return answer_news(prompt)
        if role == "report":
            return answer_report(prompt)
        if role == "forecast":
            return answer_forecast(prompt, rng, self.temperament)
        if role == "style":
            return answer_style(prompt, rng, self.temperament)
        return answer_decision(prompt, rng, self.temperament)


def answer_news(prompt: str) -> str:
    """Answer as the news agent: the direction of each item, and the sign of their sum."""
    directions = [direction_of(line, "news") for line in prompt.split("\n")[1:]]
    return f"Items: {', '.join(map(_sentiment, directions))}\nOverall: {_sentiment(sum(directions))}"


def answer_report(prompt: str) -> str:
    """Answer as the report agent: count distinct good and bad sentences."""
    sentences = {sentence.strip(" -") for sentence in re.findall(r"[^.\n]+\.", prompt)}
    directions = [direction_of(sentence, "reports") for sentence in sorted(sentences)]
    good, bad = directions.count(1), directions.count(-1)
    return f"Summary: good signs {good}, bad signs {bad}.\nOutlook: {_sentiment(good - bad)}"


def answer_forecast(prompt: str, rng: random.Random, temperament: Temperament) -> str:
    """Answer as the forecast agent: sample one of three reasons; a stronger signal gives a higher probability."""
    news, trend = _news_signal(prompt), _trend_signal(prompt)
    right, wrong = _news_results(prompt)
    news_factor = (
        temperament.experience_factor if right > wrong else 1 / temperament.experience_factor if wrong > right else 1.0
    )
    reasons = {
        "the news": temperament.news * news_factor,
        "the trend": temperament.trend,
        "a return": temperament.mean_reversion,
    }
    reason = rng.choices(list(reasons), list(reasons.values()))[0]
    signal = {"the news": news, "the trend": trend, "a return": -trend}[reason]
    statement = "I expect a return" if reason == "a return" else f"I follow {reason}"
    if abs(signal) < 0.25:
        return f"Thought: {statement}, which says nothing.\nForecast: up 30 down 30 side 40\nTrend: side"
    way, other = ("up", "down") if signal > 0 else ("down", "up")
    likely = 50 if abs(signal) < 1 else 60 if abs(signal) < 2 else 70
    numbers = {way: likely, other: (100 - likely) // 2, "side": (100 - likely) // 2}
    listed = " ".join(f"{name} {numbers[name]}" for name in ("up", "down", "side"))
    return f"Thought: {statement}: {way}.\nForecast: {listed}\nTrend: {way}"


def answer_style(prompt: str, rng: random.Random, temperament: Temperament) -> str:
    """Answer as the style agent: aggressive after gains, unless that was mostly wrong; conservative after losses."""
    match = re.search(r"Account in 10 days: [^,]*, (\w+)", prompt)
    account_state = match[1] if match else "flat"
    style = {"gaining": "aggressive", "losing": "conservative"}.get(account_state, "balanced")
    if style == "aggressive" and _count_in_experience(prompt, "Wrong", "aggressive") > _count_in_experience(
        prompt, "Right", "aggressive"
    ):
        style = "balanced"
    if rng.random() < temperament.random_rate:
        style = rng.choice(("aggressive", "balanced", "conservative"))
    return f"Thought: The account is {account_state}.\nStyle: {style}"


def answer_decision(prompt: str, rng: random.Random, temperament: Temperament) -> str:
    """Answer as the decision agent: buy on an up forecast, sell on a down forecast."""
    match = re.search(r"trend (\w+)(?:, but (\w+) after the gate)?", prompt)
    trend = (match[2] or match[1]) if match else "side"
    decision = {"up": "buy", "down": "sell"}.get(trend, "hold")
    if rng.random() < temperament.random_rate:
        decision = rng.choice(("buy", "hold", "sell"))
    return f"Thought: The forecast is {trend}.\nDecision: {decision}"


def direction_of(text: str, kind: str, split: str = "train") -> int:
    """Return the direction of a text: 1 good, -1 bad, 0 neutral.

    Args:
        text: A text of the simulator.
        kind: `news` or `reports`.
        split: The split whose wording the text uses.
    """
    for direction in (1, -1):
        if _pattern(kind, split, direction).search(text):
            return direction
    return 0


@functools.cache
def _pattern(kind: str, split: str, direction: int) -> re.Pattern[str]:
    statements: tuple[str, ...] = getattr(WORDINGS[split], kind)[direction]
    return re.compile("|".join(re.escape(text).replace(re.escape("{product}"), "[a-z]+") for text in statements))


def _sentiment(direction: int) -> str:
    return SENTIMENTS[0] if direction > 0 else SENTIMENTS[1] if direction < 0 else SENTIMENTS[2]


def _news_signal(prompt: str) -> float:
    """Return the signal of the news, with weight 0.8 ** age in days, plus half the direction of the report."""
    today = re.search(r"News today: (\w+)", prompt)
    before = re.search(r"News before: ([\w, ]+)", prompt)
    report = re.search(r"Report: (\w+)", prompt)
    days = [*(today.groups() if today else ()), *(before[1].split(", ") if before else ())]
    signal = sum(0.8**age * SIGNS.get(sentiment, 0) for age, sentiment in enumerate(days))
    return signal + 0.5 * SIGNS.get(report[1] if report else "", 0)


def _trend_signal(prompt: str) -> float:
    """Return the distance of the price from its mean, in units of 3 %."""
    match = re.search(r"SMA-20: ([\d.]+) % (above|below)", prompt)
    return float(match[1]) / 3 * (1 if match[2] == "above" else -1) if match else 0.0


def _news_results(prompt: str) -> tuple[int, int]:
    """Return how often following the news was right and wrong, according to the experience in the prompt."""
    ways = ("up on positive news", "down on negative news")
    right, wrong = (sum(_count_in_experience(prompt, title, way) for way in ways) for title in ("Right", "Wrong"))
    return right, wrong


def _count_in_experience(prompt: str, title: str, label: str) -> int:
    match = re.search(rf"^{title}: .*?{re.escape(label)} (\d+)", prompt, re.MULTILINE)
    return int(match[1]) if match else 0
