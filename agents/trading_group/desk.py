"""TradingGroup (arXiv 2508.17565): a desk of news, report, forecast, style and decision agents over one model.

Each day, at the close:

1. The news and report agents rate the day's texts.
2. The forecast agent predicts the trend of the next days. The hybrid gate may override it.
3. The style agent chooses the desk's risk style.
4. The decision agent chooses to buy, hold or sell.
5. Risk management sets position size, stop-loss and take-profit.

With reflection, the prompts of the forecast, style and decision agents contain a digest of their recent results.
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
from .risk import NO_RISK_MANAGEMENT, RiskConfig, limits
from .roles import SYSTEM, Forecast, Role
from .signals import GateConfig, Trend, breakout_threshold, hybrid_gate, simplified_atr
from .view import DeskView, view_of

T = TypeVar("T")
MIN_TRADE_SHARE = 0.05
"""Minimum purchase, as a share of the account. Smaller gaps to the target size are ignored."""


@dataclass(frozen=True)
class DeskConfig:
    """Settings of the desk. Each part can be switched off."""

    reflection: bool = True
    """Show forecast, style and decision agents a digest of their recent results."""
    risk_management: bool = True
    """Set stop-loss, take-profit and position sizes; without it, purchases invest the whole account."""
    gate: bool = True
    """Apply the hybrid gate to forecasts."""
    style: bool = True
    """Use the style agent; without it, the style is `balanced`."""
    news: bool = True
    """Use the news agent; without it, the desk reads no news."""
    reports: bool = True
    """Use the report agent; without it, the outlook is neutral."""
    days: int = 20
    """Days that the digest of recent results covers."""
    news_days: int = 5
    """Days of news sentiment in the forecast prompt, including today."""
    temperature: float = 0.0
    """Sampling temperature of all agents; 0 is greedy."""
    max_tokens: int = 64
    """Maximum tokens of one answer."""
    labels: LabelConfig = field(default_factory=LabelConfig)
    """Labels of forecasts and decisions, also used in the digest."""
    gate_rule: GateConfig = field(default_factory=GateConfig)
    """Thresholds of the hybrid gate."""
    risk: RiskConfig = field(default_factory=RiskConfig)
    """Risk limits by style."""
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    """Selection of news and report passages."""

    def with_parts(self, **parts: bool) -> DeskConfig:
        """Return a copy with parts of the desk switched on or off.

        Args:
            **parts: Values of boolean fields, such as `reflection=False`.
        """
        values: dict[str, Any] = {**parts}
        return replace(self, **values)


class TradingGroup(ModelAgent[DeskConfig]):
    """The desk as an agent for `kintsugi/Trading-v0` with one asset."""

    config_type = DeskConfig
    kind = "trading-group"

    async def act(self, episode: Episode) -> Step:
        """Play one day. Append a `Day` to `episode.notes`, and record every model call in the step."""
        view, ask = view_of(episode), _RoleCalls(self.model, episode, self.config)
        day = await self._run_roles(view, episode.notes, ask)
        day = replace(day, action=self._action(day, view), unread=tuple(ask.unread))
        episode.notes.append(day)
        return Step(episode.observation, str(day), day.action, calls=tuple(ask.calls))

    def chats(self, attempt: Trajectory) -> list[list[Message]]:
        """Return each call of each day as a separate chat."""
        return [chat_of_call(call, trainable=step.trainable) for step in attempt.steps for call in step.calls]

    async def _run_roles(self, view: DeskView, days: Sequence[Day], ask: _RoleCalls) -> Day:
        config, labels = self.config, self.config.labels
        realised = realised_by(days, view)

        # NEWS AND REPORT, concurrently
        sentiment, outlook = await asyncio.gather(self._sentiment(view, ask), self._outlook(view, days, ask))

        # FORECAST and hybrid gate
        experience = self._experience(forecast_cases(days, realised, config.days, labels))
        sentiments = [sentiment, *(day.sentiment for day in reversed(days[-(config.news_days - 1) :]))][
            : config.news_days
        ]
        prompt = roles.forecast_prompt(view, labels.horizon, sentiments, outlook, config.gate_rule, experience)
        forecast = await ask("forecast", prompt, roles.read_forecast, roles.NEUTRAL_FORECAST)
        trend = self._apply_gate(forecast, view)

        # STYLE
        style = roles.NEUTRAL_STYLE
        if config.style:
            experience = self._experience(style_cases(days, realised, config.days))
            prompt = roles.style_prompt(view, [day.equity for day in days], experience)
            style = await ask("style", prompt, roles.read_style, style)

        # DECISION
        experience = self._experience(decision_cases(days, realised, config.days, labels))
        prompt = roles.decision_prompt(view, forecast, trend, sentiment, outlook, style, experience)
        decision = await ask("decision", prompt, roles.read_decision, roles.NEUTRAL_DECISION)
        last_return = view.features["return"]
        return Day(last_return, view.equity, view.commission, sentiment, outlook, forecast, trend, style, decision)

    async def _sentiment(self, view: DeskView, ask: _RoleCalls) -> str:
        items = choose_news(view.news, self.config.retrieval) if self.config.news else []
        if not items:
            return "none"
        return await ask("news", roles.news_prompt(view.symbol, items), roles.read_sentiment, roles.NEUTRAL_SENTIMENT)

    async def _outlook(self, view: DeskView, days: Sequence[Day], ask: _RoleCalls) -> str:
        if not (view.report and self.config.reports):
            return days[-1].outlook if days else roles.NEUTRAL_SENTIMENT
        passages = choose_passages(view.report, self.config.retrieval)
        prompt = roles.report_prompt(view.symbol, passages)
        return await ask("report", prompt, roles.read_outlook, roles.NEUTRAL_SENTIMENT)

    def _apply_gate(self, forecast: Forecast, view: DeskView) -> Trend:
        if not self.config.gate:
            return forecast.trend
        threshold = breakout_threshold(simplified_atr(view.features["volatility_20"]))
        probability, last_return = forecast.probabilities[forecast.trend], roles.last_return_percent(view)
        return hybrid_gate(
            forecast.trend, probability, view.features["rsi"], last_return, threshold, self.config.gate_rule
        )

    def _experience(self, cases: Iterable[Case]) -> str:
        return digest(list(cases), self.config.days) if self.config.reflection else ""

    def _action(self, day: Day, view: DeskView) -> str:
        """Return the environment action: the decision with the size and limits of risk management."""
        managed = self.config.risk_management
        style_risk = self.config.risk.for_style(day.style) if managed else NO_RISK_MANAGEMENT
        protection = f" {limits(style_risk, view.features['volatility_10'])}" if managed else ""
        if day.decision == "sell":
            return "sell all" if view.weight > 0 else "hold"
        if day.decision == "buy" and view.weight < style_risk.size - MIN_TRADE_SHARE:
            return f"target {style_risk.size:g}{protection}"
        return f"protect{protection}" if managed and view.weight > 0 else "hold"


class _RoleCalls:
    """Makes and records the model calls of one day."""

    def __init__(self, model: LanguageModel, episode: Episode, config: DeskConfig) -> None:
        self.calls: list[Call] = []
        self.unread: list[Role] = []
        self._model, self._episode, self._config = model, episode, config

    async def __call__(self, role: Role, prompt: str, read: Callable[[str], T | None], default: T) -> T:
        """Call one role and parse its answer. An unparsable answer is added to `unread` and replaced by `default`."""
        seed = derived_seed(self._episode.seed, len(self._episode.steps), role)
        sampling = Sampling(self._config.temperature, self._config.max_tokens, seed)
        completion = await self._model.complete(role_chat(role, prompt), sampling)
        self._episode.prompt_tokens += completion.prompt_tokens
        self.calls.append(Call(role, prompt, completion.text, completion.token_ids, completion.logprobs))
        answer = read(completion.text)
        if answer is None:
            self.unread.append(role)
            return default
        return answer


def role_chat(role: str, prompt: str) -> list[Message]:
    """Return the chat that prompts a role."""
    return [Message("system", SYSTEM[role]), Message("user", prompt)]


def chat_of_call(call: Call, *, trainable: bool = True) -> list[Message]:
    """Return a call as a training chat."""
    return [*role_chat(call.role, call.prompt), Message("assistant", call.text, call.token_ids, trainable)]
