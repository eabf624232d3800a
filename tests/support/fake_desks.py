"""Desks over scripted answers, and markets whose future can be exchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from kintsugi.agents.core import Agent
from kintsugi.agents.models import LanguageModel, ScriptedModel
from kintsugi.agents.rollout import Job, collect
from kintsugi.agents.trading_group import DeskConfig, TradingGroup
from kintsugi.agents.trading_group.roles import SYSTEM
from kintsugi.agents.trajectory import Trajectory
from kintsugi.envs import Task
from kintsugi.envs.trading import Item, Market, Rules, TradingEnv
from kintsugi.envs.trading.episode import Episode
from kintsugi.envs.trading.features import HISTORY

ROLE_OF = {system: role for role, system in SYSTEM.items()}
ANSWERS = {
    "news": "Items: positive\nOverall: positive",
    "report": "Summary: growth.\nOutlook: positive",
    "forecast": "Thought: It goes up.\nForecast: up 60 down 20 side 20\nTrend: up",
    "style": "Thought: All is well.\nStyle: balanced",
    "decision": "Thought: I buy.\nDecision: buy",
}


def scripted(**answers: str | Callable[[str, int], str]) -> ScriptedModel:
    """Says `ANSWERS`, or what is given for a role: a text, or a function of the prompt and of the call's number."""
    said = {**ANSWERS, **answers}
    numbers: dict[str, int] = {}

    def script(messages: Any, sampling: Any) -> str:
        role = ROLE_OF[messages[0].content]
        number = numbers[role] = numbers.get(role, -1) + 1
        answer = said[role]
        return answer if isinstance(answer, str) else answer(messages[-1].content, number)

    return ScriptedModel(script)


def market_of(moves: list[float], texts: Mapping[int, list[tuple[str, str]]] | None = None) -> Market:
    """A market of one asset: `HISTORY` quiet bars and then bars with these returns.

    `texts` gives a bar of the episode its items, each kind and text. Bars have no reach: open, high, low and close are
    one price, so that orders are filled at the next close.
    """
    quiet = [0.01 if bar % 2 else -0.01 for bar in range(HISTORY)]
    close = 100 * np.cumprod(1 + np.array([*quiet, *moves]))
    times = np.datetime64("2020-01-01T21:00", "ns") + np.arange(len(close)) * np.timedelta64(1, "D")
    items = [
        Item(times[HISTORY + bar] - np.timedelta64(1, "h"), kind, "ABC", text)
        for bar, said in sorted((texts or {}).items())
        for kind, text in said
    ]
    return Market(("ABC",), times, close, close, close, close, np.full(len(close), 1e6), items=tuple(items))


class OwnMarket(TradingEnv):
    """Every task is the same stretch of a market."""

    def __init__(self, stretch: Episode, **options: Any) -> None:
        super().__init__(**options)
        self._stretch = stretch

    def episode_of(self, task: Task) -> Episode:
        return self._stretch


def trading_in(market: Market, rules: Rules | None = None) -> TradingEnv:
    """The world of `market` from bar `HISTORY` to its end; free of charge unless `rules` say otherwise."""
    return OwnMarket(Episode(market, HISTORY, len(market), rules or Rules(commission=0.0, spread=0.0, lot=0.0)))


def trade_in(
    market: Market,
    model: Any,
    config: DeskConfig | None = None,
    rules: Rules | None = None,
    desk: Callable[[LanguageModel, DeskConfig], Agent] = TradingGroup,
) -> Trajectory:
    """The desk's backtest in the world of `market`."""
    agent = desk(model, config or DeskConfig(max_tokens=1000))
    task = Task("test/0", TradingEnv.env_id, "train", 0, {})
    return collect(lambda: trading_in(market, rules), [Job(task, agent, seed=0)])[0]
