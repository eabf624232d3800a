"""TradingGroup (arXiv 2508.17565): news, report, forecast, style and decision agents as one desk over one model.

Each day, at the close: news and report agents read; the forecast agent says where the share goes over the next days,
and a gate may overrule it; the style agent chooses how bold the desk is; the decision agent buys, holds or sells; risk
management has the last word. Forecast, style and decision agents are first told how their last days went.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from ..core import Episode, ModelAgent
from ..models.core import LanguageModel, Message, Sampling, derived_seed
from ..trajectory import Call, Step, Trajectory
from . import roles
from .experience import Case, Day, decision_cases, digest, forecast_cases, realised_by, style_cases
from .labels import LabelConfig
from .retrieval import RetrievalConfig, choose_news, choose_passages
from .risk import WITHOUT, RiskConfig, limits
from .roles import SYSTEM, Forecast, Role
from .signals import GateConfig, Trend, breakout_threshold, hybrid_gate, simplified_atr
from .view import View, view_of

T = TypeVar("T")
WORTH_TRADING = 0.05
"""A position that lacks less than this share of the account is not added to."""


@dataclass(frozen=True)
class DeskConfig:
    """What the desk consists of. Every part can be switched off."""

    reflection: bool = True
    """Forecast, style and decision agents are told of their own last days."""
    risk_management: bool = True
    """Stop-loss, take-profit and position sizes; without it purchases invest the whole account."""
    gate: bool = True
    """The hybrid gate on forecasts."""
    style: bool = True
    """The style agent; without it the style is `balanced`."""
    news: bool = True
    """The news agent; without it there is no news."""
    reports: bool = True
    """The report agent; without it the outlook is neutral."""
    days: int = 20
    """How far back agents are told of their own past."""
    news_days: int = 5
    """Days whose news the forecast agent is told of, today included."""
    temperature: float = 0.0
    """Of all agents; 0 is greedy."""
    max_tokens: int = 64
    """Of one answer."""
    labels: LabelConfig = field(default_factory=LabelConfig)
    gate_rule: GateConfig = field(default_factory=GateConfig)
    risk: RiskConfig = field(default_factory=RiskConfig)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)

    def switched(self, **parts: bool) -> DeskConfig:
        """The same desk with these parts, e.g. `reflection`, on or off."""
        values: dict[str, Any] = {**parts}
        return replace(self, **values)


class TradingGroup(ModelAgent[DeskConfig]):
    """The desk as an agent for episodes of `kintsugi/Trading-v0` that trade one asset."""

    config_type = DeskConfig
    kind = "trading-group"

    async def act(self, episode: Episode) -> Step:
        """One day of the desk; `episode.notes` gets a `Day`, and the step every call that was made."""
        view, asking = view_of(episode), _Asking(self.model, episode, self.config)
        day = await self._deliberate(view, episode.notes, asking)
        day = replace(day, action=self._action(day, view), unread=tuple(asking.unread))
        episode.notes.append(day)
        return Step(episode.observation, str(day), day.action, calls=tuple(asking.calls))

    def chats(self, attempt: Trajectory) -> list[list[Message]]:
        """Each call of each day as a chat of its own."""
        return [chat_of_call(call, trainable=step.trainable) for step in attempt.steps for call in step.calls]

    async def _deliberate(self, view: View, days: Sequence[Day], asking: _Asking) -> Day:
        config, labels = self.config, self.config.labels
        past = realised_by(days, view)

        # NEWS AND REPORT: read side by side
        sentiment, outlook = await asyncio.gather(self._sentiment(view, asking), self._outlook(view, days, asking))

        # FORECAST, and the gate on it
        told = self._experience(forecast_cases(days, past, config.days, labels))
        recent = [sentiment, *(day.sentiment for day in reversed(days[-(config.news_days - 1) :]))][: config.news_days]
        prompt = roles.ask_forecast(view, labels.horizon, recent, outlook, config.gate_rule, told)
        forecast = await asking("forecast", prompt, roles.read_forecast, roles.NEUTRAL_FORECAST)
        trend = self._gated(forecast, view)

        # STYLE
        style = roles.NEUTRAL_STYLE
        if config.style:
            told = self._experience(style_cases(days, past, config.days))
            prompt = roles.ask_style(view, [day.equity for day in days], told)
            style = await asking("style", prompt, roles.read_style, style)

        # DECISION
        told = self._experience(decision_cases(days, past, config.days, labels))
        prompt = roles.ask_decision(view, forecast, trend, sentiment, outlook, style, told)
        decision = await asking("decision", prompt, roles.read_decision, roles.NEUTRAL_DECISION)
        move = view.features["return"]
        return Day(move, view.equity, view.commission, sentiment, outlook, forecast, trend, style, decision)

    async def _sentiment(self, view: View, asking: _Asking) -> str:
        items = choose_news(view.news, self.config.retrieval) if self.config.news else []
        if not items:
            return "none"
        return await asking("news", roles.ask_news(view.symbol, items), roles.read_sentiment, roles.NEUTRAL_SENTIMENT)

    async def _outlook(self, view: View, days: Sequence[Day], asking: _Asking) -> str:
        if not (view.report and self.config.reports):
            return days[-1].outlook if days else roles.NEUTRAL_SENTIMENT
        passages = choose_passages(view.report, self.config.retrieval)
        prompt = roles.ask_report(view.symbol, passages)
        return await asking("report", prompt, roles.read_outlook, roles.NEUTRAL_SENTIMENT)

    def _gated(self, forecast: Forecast, view: View) -> Trend:
        if not self.config.gate:
            return forecast.trend
        threshold = breakout_threshold(simplified_atr(view.features["volatility_20"]))
        probability, move = forecast.probabilities[forecast.trend], roles.last_move(view)
        return hybrid_gate(forecast.trend, probability, view.features["rsi"], move, threshold, self.config.gate_rule)

    def _experience(self, cases: Iterable[Case]) -> str:
        return digest(list(cases), self.config.days) if self.config.reflection else ""

    def _action(self, day: Day, view: View) -> str:
        """What is sent to the market: the decision in the size, and with the limits, of risk management."""
        managed = self.config.risk_management
        allowed = self.config.risk.of(day.style) if managed else WITHOUT
        around = f" {limits(allowed, view.features['volatility_10'])}" if managed else ""
        if day.decision == "sell":
            return "sell all" if view.weight > 0 else "hold"
        if day.decision == "buy" and view.weight < allowed.size - WORTH_TRADING:
            return f"target {allowed.size:g}{around}"
        return f"protect{around}" if managed and view.weight > 0 else "hold"


class _Asking:
    """The calls of one turn."""

    def __init__(self, model: LanguageModel, episode: Episode, config: DeskConfig) -> None:
        self.calls: list[Call] = []
        self.unread: list[Role] = []
        self._model, self._episode, self._config = model, episode, config

    async def __call__(self, role: Role, prompt: str, read: Callable[[str], T | None], default: T) -> T:
        """Ask one agent; what cannot be read counts as unread and becomes `default`."""
        seed = derived_seed(self._episode.seed, len(self._episode.steps), role)
        sampling = Sampling(self._config.temperature, self._config.max_tokens, seed)
        said = await self._model.complete(question(role, prompt), sampling)
        self._episode.prompt_tokens += said.prompt_tokens
        self.calls.append(Call(role, prompt, said.text, said.token_ids, said.logprobs))
        found = read(said.text)
        if found is None:
            self.unread.append(role)
            return default
        return found


def question(role: str, prompt: str) -> list[Message]:
    """The chat that a role is asked in."""
    return [Message("system", SYSTEM[role]), Message("user", prompt)]


def chat_of_call(call: Call, *, trainable: bool = True) -> list[Message]:
    """A call as a chat to train on."""
    return [*question(call.role, call.prompt), Message("assistant", call.text, call.token_ids, trainable)]
