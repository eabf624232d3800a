"""`kintsugi/Trading-v0`: an account in a market that it cannot see ahead."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from ...errors import UsageError
from ..core import AgentEnv, Task, TaskSet
from .account import Account
from .actions import GRAMMAR, Refused, admissible, parse, weights_of
from .episode import Episode, score, view
from .market import Market
from .rules import Fill
from .tasks import ENV_ID, SPLITS, episode_of, task_set, train_task
from .telling import tell


class TradingEnv(AgentEnv):
    """Bars of one or several assets, an account under `Rules`, and what has been published so far.

    After the close of a bar the agent reads the observation and says what to do; orders are filled at the open of the
    next bar (`Rules` states prices, stops, margin and rounding), and the step ends at its close. Actions: `GRAMMAR` of
    `actions`. `info["admissible"]` lists a grid of sizes; any other number may be said. What is no action, or larger
    than the account, is refused: `info["invalid"]` says why, nothing is ordered, and the bar passes all the same.

    The reward of a step is the account's return over it, equity / equity before - 1. `info["score"]` is
    E / (E + B), E the account's equity and B that of who buys equal weights of all assets at the first open and holds,
    by the same rules; success is E > B at the last close. Ruin terminates the episode; the end of the data truncates
    it.

    `info` also has `bar` (number of the bar in the episode), `time` (of its close, UTC), `account` (`AccountView`),
    `fills` (of the bar, `Fill`), `notes` (asset and what became of an order that was not filled as given), `items`
    (published since the bar before) and `arrays` (the observation in numbers, `Episode.arrays`). Nothing of it depends
    on a later bar.

    Tasks: `tasks.task_set`. Rules and everything else that an episode depends on are in `Task.params`.
    """

    metadata: dict[str, Any] = {**AgentEnv.metadata, "snapshot": "exact", "turn_tokens": 64, "gate_split": "valid"}
    env_id: ClassVar[str] = ENV_ID
    metric: ClassVar[str] = "return"

    def __init__(self, *, max_steps: int = 1000, render_mode: str | None = None, news: int = 10) -> None:
        """At most `news` items are shown with a bar, the newest; 0 leaves all texts out of the observation."""
        super().__init__(max_steps=max_steps, render_mode=render_mode)
        if news < 0:
            raise UsageError(f"news is {news}; expected the number of items shown with a bar, 0 or more")
        self.news = news
        self._episode: Episode | None = None
        self._account: Account | None = None
        self._at = 0

    @classmethod
    def tasks(cls, split: str, n: int | None = None, seed: int = 0, **params: Any) -> TaskSet:
        """The first `n` tasks of a split; `tasks.task_set` says which there are and what `params` may be."""
        return task_set(split, n, seed, **params)

    @staticmethod
    def metric_value(success: bool, score: float, rewards: Sequence[float]) -> float:
        """The account's return over the whole episode: 0.1 is 10 %."""
        return math.prod(1 + reward for reward in rewards) - 1

    def default_task(self) -> Task:
        """One of the usual tasks of `train`."""
        return train_task(int(self.np_random.integers(SPLITS["train"])))

    @property
    def market(self) -> Market:
        """The whole market of the running episode; for studies, not for agents: it knows the future."""
        return self._playing()[0].market

    def episode_of(self, task: Task) -> Episode:
        """The stretch of a market that a task is about; for subclasses that bring markets of their own."""
        return episode_of(task)

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        """Open the account at the close of the first bar."""
        self._episode, self._at = self.episode_of(task), 0
        self._account = Account(self._episode.rules, self._episode.bars[0].close)
        symbols = self._episode.market.symbols
        goal = f"trade {', '.join(symbols)} and end with more than who buys and holds"
        text, info = self._shown()
        return f"{text}\nActions: {GRAMMAR}", {**info, "goal": goal}

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        """Live through one bar with the orders of `action`."""
        episode, account = self._playing()
        refused, before = "", account.equity
        try:
            orders = parse(action, account, episode.market.symbols)
        except Refused as error:
            refused, orders = str(error), []
        self._at += 1
        account.advance(episode.bars[self._at], orders)
        text, info = self._shown()
        if refused:
            text, info["invalid"] = f"Refused, nothing was ordered: {refused}\n{text}", refused
        if account.ruined or self.exhausted() or self.steps + 1 >= self.max_steps:
            info["success"] = account.equity > episode.benchmark[self._at]
        return text, account.equity / before - 1, account.ruined, info

    def exhausted(self) -> bool:
        """Whether this is the last bar."""
        episode, _ = self._playing()
        return self._at + 1 >= len(episode.bars)

    def get_state(self) -> tuple[Any, ...]:
        """The number of the bar and the account."""
        return self._at, self._playing()[1].state()

    def set_state(self, state: tuple[Any, ...]) -> None:
        """Go on from `state`, of the task that is set."""
        if self.task is None:
            raise UsageError("there is no task to restore a state of; call reset first")
        self._episode = self.episode_of(self.task)
        self._account = Account(self._episode.rules, self._episode.bars[0].close)
        self._at, account = state
        self._account.set_state(account)

    def _shown(self) -> tuple[str, dict[str, Any]]:
        episode, account = self._playing()
        weights, at = weights_of(account), self._at
        info = {
            "admissible": admissible(account, episode.market.symbols),
            "score": score(account.equity, episode.benchmark[at]),
            "bar": at,
            "time": str(episode.market.times[episode.first + at]),
            "account": view(account, weights),
            "fills": tuple(account.fills),
            "notes": tuple(account.notes),
            "items": episode.items(at),
            "arrays": episode.arrays(at, account, weights),
        }
        return tell(episode, at, account, weights, self.news), info

    def _playing(self) -> tuple[Episode, Account]:
        if self._episode is None or self._account is None:
            raise UsageError("there is no running trading episode; call reset first")
        return self._episode, self._account

    def __getstate__(self) -> dict[str, Any]:
        account = None if self._account is None else self._account.state()
        return {**self.__dict__, "_episode": None, "_account": account}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        self.__dict__.update(attributes)
        if self._account is not None:
            self.set_state((self._at, self._account))


__all__ = ["Fill", "TradingEnv"]
