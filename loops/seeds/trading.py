"""The corpus of the trading seed: an analyst plays every role of TradingGroup's desk, day after day.

The analyst has no firm belief of what moves prices, and success is not selected for: the seed can read, add up and keep
to the form, and gives reasons in about the proportions that the analyst did. What it is to trust is left to learn.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence

from ...agents.experts.trading import TradingExpert
from ...agents.models.core import Message
from ...agents.rollout import Job, play, run_sync
from ...agents.trading_group.desk import DeskConfig, TradingGroup, chat_of_call
from ...agents.trading_group.roles import SYSTEM
from ...agents.trajectory import Trajectory
from ...envs.core import Task
from ...envs.trading import TradingEnv
from ...envs.trading.wording import WORDINGS
from .config import PretrainConfig
from .family import Family, SeedRecipe

LABELS = (
    "\nItems: ", "\nOverall: ", "Summary: good signs ", ", bad signs ", "\nOutlook: ", "Thought: I follow the news",
    "Thought: I follow the trend", "Thought: I expect a return", "Thought: The account is ",
    "Thought: The forecast is ", ", which says nothing.", "\nForecast: up ", "\nTrend: ", "\nStyle: ", "\nDecision: ",
    "News on ", "From the last report of ", " days of ", "\nRSI-14: ", "\nSMA-20: ", "\nVolatility: ", "\nLast day: ",
    "\nNews today: ", "\nNews before: ", "\nReport: ", "\nYour last ", "\nRight: ", "\nWrong: ",
    "Account in 10 days: ", "\nDrawdown: ", "\nInvested: ", "Today's forecast: ", "\nPosition: ", " of the account, ",
    " after the gate", " a breakout up", " a breakout down", " no breakout", " forecast ", " right, ", " wrong.",
)  # fmt: skip
"""What prompts and answers repeat."""

READINGS: dict[str, int] = {"news": 4, "report": 4, "forecast": 1, "style": 1, "decision": 1}
"""How often each call is in the corpus, by role."""
_WORDS = WORDINGS["train"]
_NAMES = re.compile("|".join([*(_WORDS.company(n)[1] for n in range(_WORDS.companies)), *_WORDS.products]))
_INTRODUCED = re.compile(r"^(\d+\.) [^:\n]*:", re.MULTILINE)
_SYLLABLES = tuple(
    a + b for a in "bcdfghjklmnprstvwz" for b in ("a", "e", "i", "o", "u", "an", "er", "il", "ost", "um")
)


def _tasks(n: int, seed: int) -> Iterable[Task]:
    return TradingEnv.tasks("train", n, seed, bars=60)


def demonstrate(task: Task, seed: int) -> Trajectory:
    """Three months of the analyst's desk, with or without some of its parts."""
    rng = random.Random(seed)
    parts = {name: rng.random() < 0.75 for name in ("reflection", "risk_management", "gate", "style")}
    desk = TradingGroup(TradingExpert(), DeskConfig(temperature=1.0, max_tokens=1000).switched(**parts))
    return run_sync(play(TradingEnv(), Job(task, desk, seed, source="expert")))


def chats(shown: Trajectory) -> Sequence[Sequence[Message]]:
    """Every call of every day, as text: the analyst speaks no tokens.

    What is read, news and reports, comes `READINGS` times, of companies and products that nobody has heard of but for
    the first time: the answer is in what is said of them.
    """
    rng, found = random.Random(shown.seed), []
    for call in (call for step in shown.steps for call in step.calls):
        system, asked, said = chat_of_call(call)
        for number in range(READINGS[call.role]):
            prompt = _renamed(asked.content, rng) if number else asked.content
            found.append([system, Message("user", prompt), Message("assistant", said.content)])
    return found


def _renamed(text: str, rng: random.Random) -> str:
    """With made-up words for the names of companies and products, and now and then for how news is introduced."""
    known: dict[str, str] = {}

    def renamed(match: re.Match[str]) -> str:
        name = match.group()
        new = "".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(1, 3)))
        return known.setdefault(name, new.capitalize() if name[0].isupper() else new)

    text = _NAMES.sub(renamed, text)
    return _INTRODUCED.sub(lambda match: f"{match[1]} {_introduction(rng)}:" if rng.random() < 0.3 else match[0], text)


def _introduction(rng: random.Random) -> str:
    return " ".join("".join(rng.choice(_SYLLABLES) for _ in range(2)) for _ in range(rng.randint(1, 4)))


FAMILY = Family(
    SeedRecipe(
        family="trading",
        demonstrations=150,
        reflections=0,
        pretrain=PretrainConfig(tokens=4_500_000, batch_tokens=4096, context_weight=0.05),
    ),
    _tasks,
    demonstrate,
    lambda task, seed: None,
    units=(*SYSTEM.values(), *LABELS),
    phrases=False,
    chats=chats,
)
