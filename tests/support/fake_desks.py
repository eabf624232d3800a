"""Trading desks with scripted answers, and small markets with given returns."""

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
from kintsugi.envs.trading.features import HISTORY
from kintsugi.envs.trading.market_window import MarketWindow

ROLE_OF = {system: role for role, system in SYSTEM.items()}
ANSWERS = {
    "news": "Items: positive\nOverall: positive",
    "report": "Summary: growth.\nOutlook: positive",
    "forecast": "Thought: It goes up.\nForecast: up 60 down 20 side 20\nTrend: up",
    "style": "Thought: All is well.\nStyle: balanced",
    "decision": "Thought: I buy.\nDecision: buy",
}


def scripted(**answers: str | Callable[[str, int], str]) -> ScriptedModel:
    """Return a model that answers with `answers`, else `ANSWERS`: texts, or functions of prompt and call index."""
    by_role = {**ANSWERS, **answers}
    numbers: dict[str, int] = {}

    def script(messages: Any, sampling: Any) -> str:
        role = ROLE_OF[messages[0].content]
        number = numbers[role] = numbers.get(role, -1) + 1
        answer = by_role[role]
        return answer if isinstance(answer, str) else answer(messages[-1].content, number)

    return ScriptedModel(script)


def market_of(returns: list[float], texts: Mapping[int, list[tuple[str, str]]] | None = None) -> Market:
    """Return a market of one asset: `HISTORY` bars of +-1 %, then bars with these returns.

    `texts` maps a bar of the window to its items, each a kind and a text. Open, high, low and close of a bar are equal,
    so orders are filled at the next close.
    """
    quiet = [0.01 if bar % 2 else -0.01 for bar in range(HISTORY)]
    close = 100 * np.cumprod(1 + np.array([*quiet, *returns]))
    times = np.datetime64("2020-01-01T21:00", "ns") + np.arange(len(close)) * np.timedelta64(1, "D")
    items = [
        Item(times[HISTORY + bar] - np.timedelta64(1, "h"), kind, "ABC", text)
        for bar, bar_texts in sorted((texts or {}).items())
        for kind, text in bar_texts
    ]
    return Market(("ABC",), times, close, close, close, close, np.full(len(close), 1e6), items=tuple(items))


class FixedMarketEnv(TradingEnv):
    """A trading environment in which every task is the same market window."""

    def __init__(self, window: MarketWindow, **options: Any) -> None:
        super().__init__(**options)
        self._fixed_window = window

    def window_of(self, task: Task) -> MarketWindow:
        return self._fixed_window


def trading_env(market: Market, rules: Rules | None = None) -> TradingEnv:
    """Return an environment over `market` from bar `HISTORY` on. Default rules: no costs, fractional units."""
    return FixedMarketEnv(
        MarketWindow(market, HISTORY, len(market), rules or Rules(commission=0.0, spread=0.0, lot=0.0))
    )


def run_desk(
    market: Market,
    model: Any,
    config: DeskConfig | None = None,
    rules: Rules | None = None,
    desk: Callable[[LanguageModel, DeskConfig], Agent] = TradingGroup,
) -> Trajectory:
    """Return the desk's attempt on `market`."""
    agent = desk(model, config or DeskConfig(max_tokens=1000))
    task = Task("test/0", TradingEnv.env_id, "train", 0, {})
    return collect(lambda: trading_env(market, rules), [Job(task, agent, seed=0)])[0]
