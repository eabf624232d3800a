"""`kintsugi/Trading-v0`: one account in a market, with text observations and text actions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from ...errors import UsageError
from ..core import AgentEnv, Task, TaskSet
from .account import Account
from .actions import GRAMMAR, ActionRefused, admissible_actions, parse_orders, weights_of
from .market import Market
from .market_window import MarketWindow, account_view, score
from .rendering import render_observation
from .rules import Fill
from .tasks import ENV_ID, SPLITS, task_set, train_task, window_of


class TradingEnv(AgentEnv):
    """Trade one or several assets with one account, given prices, indicators, news and reports.

    A step covers one bar. The agent reads the observation after a close and answers with orders. They are filled at the
    next open, and the step ends at that bar's close. `Rules` documents fills, stops, margin and rounding.

    Actions follow `actions.GRAMMAR`. `info["admissible"]` lists a grid of order sizes; other sizes are accepted as
    well. Text that is not an action, and orders that exceed the buying power, are refused: `info["invalid"]` gives the
    reason, no order is placed, and the bar is processed.

    The reward of a step is the account's return over the bar. `info["score"]` is E / (E + B), where E is the account's
    equity and B the equity of buy-and-hold: equal weights of all assets from the first open, under the same rules. An
    episode is a success if E > B at the last close. Ruin terminates an episode; the end of the data truncates it.

    Further entries of `info`; none depends on later bars:

    - `bar`: index of the bar in the window
    - `time`: time of the bar's close, UTC
    - `account`: an `AccountView`
    - `fills`: the bar's `Fill`s
    - `notes`: asset and explanation for each order that was cut or not filled
    - `items`: news and reports published since the previous bar
    - `arrays`: the observation as arrays, see `MarketWindow.arrays`

    `tasks.task_set` documents the tasks. `Task.params` holds the rules and everything else that an episode depends on.
    """

    metadata: dict[str, Any] = {**AgentEnv.metadata, "snapshot": "exact", "turn_tokens": 64, "gate_split": "valid"}
    env_id: ClassVar[str] = ENV_ID
    metric: ClassVar[str] = "return"

    def __init__(self, *, max_steps: int = 1000, render_mode: str | None = None, news: int = 10) -> None:
        """Create the environment.

        Args:
            max_steps: Steps after which an episode is truncated.
            render_mode: As in Gymnasium.
            news: Maximum number of items shown with a bar; the newest are kept. 0 shows no news and no reports.

        Raises:
            UsageError: If `news` is negative.
        """
        super().__init__(max_steps=max_steps, render_mode=render_mode)
        if news < 0:
            raise UsageError(f"news is {news}; expected the maximum number of items shown with a bar, 0 or more")
        self.news = news
        self._window: MarketWindow | None = None
        self._account: Account | None = None
        self._t = 0

    @classmethod
    def tasks(cls, split: str, n: int | None = None, seed: int = 0, **params: Any) -> TaskSet:
        """Return the first `n` tasks of a split. `tasks.task_set` documents splits and parameters."""
        return task_set(split, n, seed, **params)

    @staticmethod
    def metric_value(success: bool, score: float, rewards: Sequence[float]) -> float:
        """Return the account's return over the whole episode: 0.1 is 10 %."""
        return math.prod(1 + reward for reward in rewards) - 1

    def default_task(self) -> Task:
        """Return a random task among the simulated tasks of `train`."""
        return train_task(int(self.np_random.integers(SPLITS["train"])))

    @property
    def market(self) -> Market:
        """The complete market of the running episode, including later bars. For analysis, not for agents."""
        return self._running()[0].market

    def window_of(self, task: Task) -> MarketWindow:
        """Return the market window of a task. Subclasses override this to provide their own markets.

        Args:
            task: The task to play. Equal tasks must give equal windows.
        """
        return window_of(task)

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        """Open the account at the close of the first bar."""
        self._window, self._t = self.window_of(task), 0
        self._account = Account(self._window.rules, self._window.bars[0].close)
        symbols = self._window.market.symbols
        goal = f"trade {', '.join(symbols)} and end with more than who buys and holds"
        text, info = self._observe()
        return f"{text}\nActions: {GRAMMAR}", {**info, "goal": goal}

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        """Process one bar with the orders of `action`."""
        window, account = self._running()
        refused, before = "", account.equity
        try:
            orders = parse_orders(action, account, window.market.symbols)
        except ActionRefused as error:
            refused, orders = str(error), []
        self._t += 1
        account.advance(window.bars[self._t], orders)
        text, info = self._observe()
        if refused:
            text, info["invalid"] = f"Refused, nothing was ordered: {refused}\n{text}", refused
        if account.ruined or self.exhausted() or self.steps + 1 >= self.max_steps:
            info["success"] = account.equity > window.benchmark[self._t]
        return text, account.equity / before - 1, account.ruined, info

    def exhausted(self) -> bool:
        """Return whether this is the last bar."""
        window, _ = self._running()
        return self._t + 1 >= len(window.bars)

    def get_state(self) -> tuple[Any, ...]:
        """Return the index of the bar and the state of the account."""
        return self._t, self._running()[1].state()

    def set_state(self, state: tuple[Any, ...]) -> None:
        """Restore `state` of the current task."""
        if self.task is None:
            raise UsageError("there is no task whose state could be restored; call reset first")
        self._window = self.window_of(self.task)
        self._account = Account(self._window.rules, self._window.bars[0].close)
        self._t, account = state
        self._account.set_state(account)

    def _observe(self) -> tuple[str, dict[str, Any]]:
        window, account = self._running()
        weights, t = weights_of(account), self._t
        info = {
            "admissible": admissible_actions(account, window.market.symbols),
            "score": score(account.equity, window.benchmark[t]),
            "bar": t,
            "time": str(window.market.times[window.first + t]),
            "account": account_view(account, weights),
            "fills": tuple(account.fills),
            "notes": tuple(account.notes),
            "items": window.items(t),
            "arrays": window.arrays(t, account, weights),
        }
        return render_observation(window, t, account, weights, self.news), info

    def _running(self) -> tuple[MarketWindow, Account]:
        if self._window is None or self._account is None:
            raise UsageError("there is no running trading episode; call reset first")
        return self._window, self._account

    def __getstate__(self) -> dict[str, Any]:
        account = None if self._account is None else self._account.state()
        return {**self.__dict__, "_window": None, "_account": account}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        self.__dict__.update(attributes)
        if self._account is not None:
            self.set_state((self._t, self._account))


__all__ = ["Fill", "TradingEnv"]
