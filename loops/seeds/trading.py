"""The corpus of the trading seed: an analyst plays every role of TradingGroup's desk, day after day.

The analyst has no firm belief of what moves prices, and success is not selected for: the seed can read, add up and keep
to the form, and gives reasons in about the proportions that the analyst did. What it is to trust is left to learn.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ...agents.experts.trading import TradingExpert
from ...agents.models.core import Message
from ...agents.rollout import Job, play, run_sync
from ...agents.trading_group.desk import DeskConfig, TradingGroup, chat_of_call
from ...agents.trading_group.roles import SYSTEM
from ...agents.trajectory import Trajectory
from ...envs.core import Task
from ...envs.trading import TradingEnv
from .family import Family, SeedRecipe
from .pretrain import PretrainConfig

LABELS = (
    "\nItems: ", "\nOverall: ", "Summary: good signs ", ", bad signs ", "\nOutlook: ", "Thought: I follow the news",
    "Thought: I follow the trend", "Thought: I expect a return", "Thought: The account is ", "Thought: The forecast is ",
    ", which says nothing.", "\nForecast: up ", "\nTrend: ", "\nStyle: ", "\nDecision: ", "News on ",
    "From the last report of ", " days of ", "\nRSI-14: ", "\nSMA-20: ", "\nVolatility: ", "\nLast day: ",
    "\nNews today: ", "\nNews before: ", "\nReport: ", "\nYour last ", "\nRight: ", "\nWrong: ", "Account in 10 days: ",
    "\nDrawdown: ", "\nInvested: ", "Today's forecast: ", "\nPosition: ", " of the account, ", " after the gate",
    " a breakout up", " a breakout down", " no breakout", " forecast ", " right, ", " wrong.",
)  # fmt: skip
"""What prompts and answers repeat."""


def _tasks(n: int, seed: int) -> Iterable[Task]:
    return TradingEnv.tasks("train", n, seed, bars=60)


def demonstrate(task: Task, seed: int) -> Trajectory:
    """Three months of the analyst's desk, with or without some of its parts."""
    rng = random.Random(seed)
    off = {name: rng.random() < 0.75 for name in ("reflection", "risk_management", "gate", "style")}
    desk = TradingGroup(TradingExpert(), replace(DeskConfig(temperature=1.0, max_tokens=1000), **off))
    return run_sync(play(TradingEnv(), Job(task, desk, seed, source="expert")))


def chats(shown: Trajectory) -> Sequence[Sequence[Message]]:
    """Every call of every day, as text: the analyst speaks no tokens."""
    calls = [call for step in shown.steps for call in step.calls]
    return [[*chat[:-1], replace(chat[-1], token_ids=None)] for chat in map(chat_of_call, calls)]


FAMILY = Family(
    SeedRecipe(
        family="trading",
        demonstrations=130,
        reflections=0,
        pretrain=PretrainConfig(tokens=2_400_000, batch_tokens=4096, context_weight=0.05),
    ),
    _tasks,
    demonstrate,
    lambda task, seed: None,
    units=(*SYSTEM.values(), *LABELS),
    phrases=False,
    chats=chats,
)
