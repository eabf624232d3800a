"""Training corpus of the trading seed policy: a rule-based analyst plays every role of TradingGroup's desk.

The analyst samples its reasons regardless of their profit, and demonstrations are not filtered by success. The seed
policy therefore learns to read texts, to combine signals and to keep the answer format. Loops teach it which reasons
to trust.
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

REPEATED_TEXTS = (
    "\nItems: ", "\nOverall: ", "Summary: good signs ", ", bad signs ", "\nOutlook: ", "Thought: I follow the news",
    "Thought: I follow the trend", "Thought: I expect a return", "Thought: The account is ",
    "Thought: The forecast is ", ", which says nothing.", "\nForecast: up ", "\nTrend: ", "\nStyle: ", "\nDecision: ",
    "News on ", "From the last report of ", " days of ", "\nRSI-14: ", "\nSMA-20: ", "\nVolatility: ", "\nLast day: ",
    "\nNews today: ", "\nNews before: ", "\nReport: ", "\nYour last ", "\nRight: ", "\nWrong: ",
    "Account in 10 days: ", "\nDrawdown: ", "\nInvested: ", "Today's forecast: ", "\nPosition: ", " of the account, ",
    " after the gate", " a breakout up", " a breakout down", " no breakout", " forecast ", " right, ", " wrong.",
)  # fmt: skip
"""Texts that prompts and answers repeat. Each becomes one token."""

COPIES: dict[str, int] = {"news": 4, "report": 4, "forecast": 1, "style": 1, "decision": 1}
"""Number of copies of each call in the corpus, by role."""
_WORDING = WORDINGS["train"]
_NAMES = re.compile("|".join([*(_WORDING.company(n)[1] for n in range(_WORDING.companies)), *_WORDING.products]))
_NEWS_INTRODUCTION = re.compile(r"^(\d+\.) [^:\n]*:", re.MULTILINE)
_SYLLABLES = tuple(
    a + b for a in "bcdfghjklmnprstvwz" for b in ("a", "e", "i", "o", "u", "an", "er", "il", "ost", "um")
)


def _tasks(n: int, seed: int) -> Iterable[Task]:
    return TradingEnv.tasks("train", n, seed, bars=60)


def demonstrate(task: Task, seed: int) -> Trajectory:
    """Return 60 bars of the analyst's desk, with a random subset of its parts."""
    rng = random.Random(seed)
    parts = {name: rng.random() < 0.75 for name in ("reflection", "risk_management", "gate", "style")}
    desk = TradingGroup(TradingExpert(), DeskConfig(temperature=1.0, max_tokens=1000).with_parts(**parts))
    return run_sync(play(TradingEnv(), Job(task, desk, seed, source="expert")))


def chats(attempt: Trajectory) -> Sequence[Sequence[Message]]:
    """Return every call of every day as a chat, without token ids.

    News and report calls are repeated (see `COPIES`). All copies but the first have random company and product names,
    since the answer does not depend on them.
    """
    rng, found = random.Random(attempt.seed), []
    for call in (call for step in attempt.steps for call in step.calls):
        system, user, assistant = chat_of_call(call)
        for number in range(COPIES[call.role]):
            prompt = _rename_entities(user.content, rng) if number else user.content
            found.append([system, Message("user", prompt), Message("assistant", assistant.content)])
    return found


def _rename_entities(text: str, rng: random.Random) -> str:
    """Replace company and product names by random words, and with probability 0.3 the introduction of a news item."""
    known: dict[str, str] = {}

    def renamed(match: re.Match[str]) -> str:
        name = match.group()
        new = "".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(1, 3)))
        return known.setdefault(name, new.capitalize() if name[0].isupper() else new)

    text = _NAMES.sub(renamed, text)
    return _NEWS_INTRODUCTION.sub(
        lambda match: f"{match[1]} {_random_words(rng)}:" if rng.random() < 0.3 else match[0], text
    )


def _random_words(rng: random.Random) -> str:
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
    single_tokens=(*SYSTEM.values(), *REPEATED_TEXTS),
    phrase_tokens=False,
    chats=chats,
)
