"""Numeric Gymnasium environments of the trading market: one account, or thousands in a vectorised environment.

An observation is one float32 vector: `FEATURES` of each asset, then the position weight of each asset, then equity as a
share of the initial cash. An action selects, for each asset, an index into `positions`, the allowed target weights.
Selecting the same index again places no order, so the position is not rebalanced.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from ...errors import UsageError
from ..core import Task
from .account import Account
from .actions import weights_of
from .env import TradingEnv
from .features import FEATURES
from .market_window import MarketWindow, score
from .order_fill import make_fill
from .rules import Order
from .tasks import train_task, window_of
from .vector_account import VectorAccount

Observation = NDArray[np.float32]
POSITIONS = (-1.0, 0.0, 1.0)


def _spaces(assets: int, positions: tuple[float, ...]) -> tuple[Any, Any]:
    if not positions or not all(np.isfinite(positions)):
        raise UsageError(
            f"positions are {positions!r}; expected finite weights, at least one; pass for example {POSITIONS}"
        )
    observed = gymnasium.spaces.Box(-np.inf, np.inf, (assets * (len(FEATURES) + 1) + 1,), np.float32)
    if assets == 1:
        return observed, gymnasium.spaces.Discrete(len(positions))
    return observed, gymnasium.spaces.MultiDiscrete([len(positions)] * assets)


def _observation_rows(window: MarketWindow) -> Observation:
    """Return the observations of all bars, (bars, features), with zeros in place of the account's values."""
    features = window.features.reshape(len(window.features), -1)
    table = np.zeros((len(features), features.shape[1] + window.market.assets + 1), np.float32)
    table[:, : features.shape[1]] = features
    return table


class TradingArrays(gymnasium.Env[Observation, Any]):
    """One account in the market window of one task, without text.

    Rewards, termination, truncation, and `score` and `success` in the info of the last step equal those of
    `kintsugi/Trading-v0`. All other infos are empty.
    """

    metadata: dict[str, Any] = {"render_modes": [], "render_fps": 1}

    def __init__(
        self,
        task: Task | MarketWindow | None = None,
        positions: tuple[float, ...] = POSITIONS,
        render_mode: str | None = None,
    ) -> None:
        """Create the environment.

        Args:
            task: A task, or a market window. Default: the first task of `train`.
            positions: Target weights that an action can select.
            render_mode: Ignored; there is nothing to render.
        """
        self.render_mode = render_mode
        self._set_window(task or train_task(0))
        assets = self._window.market.assets
        self.observation_space, self.action_space = _spaces(assets, positions)
        self._orders = [[(Order(a, float(p)),) for p in positions] for a in range(assets)]
        self._single = assets == 1

    def _set_window(self, task: Task | MarketWindow) -> None:
        if isinstance(task, Task) and task.env_id != TradingEnv.env_id:
            raise UsageError(f"task {task.id!r} belongs to {task.env_id!r}; expected {TradingEnv.env_id!r}")
        self._window = task if isinstance(task, MarketWindow) else window_of(task)
        self._bars, self._last_bar = self._window.bars, len(self._window.bars) - 1
        self._rows = list(_observation_rows(self._window))
        self._closes = [bar.close[0] for bar in self._bars]
        rules = self._window.rules
        # Under these rules, the value of a long position without a loan depends on the close alone.
        self._fast_path_possible = self._window.market.assets == 1 and rules.leverage <= 1 and not rules.interest
        self._fast_path_possible = self._fast_path_possible and rules.maintenance < 1
        self._fast_path_possible = self._fast_path_possible and all(
            bar.splits is None and bar.dividends is None for bar in self._bars
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Restart the window. `options["task"]` selects another one with the same number of assets."""
        super().reset(seed=seed)
        if options and "task" in options:
            self._set_window(options["task"])
            if self._window.market.assets != len(self._orders):
                raise UsageError(f"the task has {self._window.market.assets} assets; expected {len(self._orders)}")
        self._account = Account(self._window.rules, self._bars[0].close)
        self._fill = make_fill(self._window.rules)
        self._initial_equity = self._equity = self._account.equity
        self._cash, self._units, self._entry = self._account.cash, 0.0, 0.0
        self._t, self._on_fast_path = 0, False
        self._last_action: Any = None
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Process the next bar."""
        self._t = t = self._t + 1
        if self._on_fast_path and (action == self._last_action or self._fill_order(t, action)):
            value = self._units * self._closes[t]
            equity = self._cash + value
            row = self._rows[t].copy()
            row[-2] = value / equity
            row[-1] = equity / self._initial_equity
            if t < self._last_bar:
                before, self._equity = self._equity, equity
                return row, equity / before - 1, False, False, {}
        else:
            row, equity = self._advance_account(t, action), self._account.equity
        reward = equity / self._equity - 1
        self._equity = equity
        ruined, ended = equity <= 0, t >= self._last_bar
        info: dict[str, Any] = {}
        if ended or ruined:
            benchmark = self._window.benchmark[t]
            info = {"score": score(equity, benchmark), "success": equity > benchmark}
        return row, reward, ruined, ended and not ruined, info

    def _fill_order(self, t: int, action: Any) -> bool:
        """Fill an order on the fast path. Return False without any change if the account would leave the fast path."""
        bar = self._bars[t]
        if bar.tradable[0]:
            cash, units, entry, _ = self._fill(
                self._cash, self._units, self._entry, bar.open[0], self._orders[0][action][0]
            )
            if units < 0 or cash < 0 or not (units or cash):
                return False
            self._cash, self._units, self._entry = cash, units, entry
        self._last_action = action
        return True

    def _advance_account(self, t: int, action: Any) -> Observation:
        """Process a bar with the complete rules and return the observation."""
        account = self._account
        if self._on_fast_path:
            account.cash, account.units[0], account.entry[0] = self._cash, self._units, self._entry
            account.marks = self._bars[t - 1].close
        chosen: Any = action if self._single else tuple(map(int, action))
        orders: Any = ()
        if self._single:
            if chosen != self._last_action:
                orders = self._orders[0][chosen]
        elif chosen != self._last_action:
            old = self._last_action or (-1,) * len(chosen)
            orders = [self._orders[a][c][0] for a, c in enumerate(chosen) if c != old[a]]
        self._last_action = chosen
        account.advance(self._bars[t], orders)
        return self._observe()

    def _observe(self) -> Observation:
        """Return the observation, and check whether the account can take the fast path from the next bar on."""
        account = self._account
        row: Observation = self._rows[self._t].copy()
        row[-1 - len(self._orders) : -1] = weights_of(account)
        row[-1] = account.equity / self._initial_equity
        self._cash, self._units, self._entry = account.cash, account.units[0], account.entry[0]
        self._on_fast_path = self._fast_path_possible and self._units >= 0 and self._cash >= 0 and account.equity > 0
        return row


class TradingVector(gymnasium.vector.VectorEnv[Observation, Any, Any]):
    """Thousands of accounts in the market window of one task. One step processes one bar for all accounts.

    All accounts reach the end of the data together and restart with the next step (`NEXT_STEP`). A ruined account
    restarts at the current bar of the others. Each account behaves as in `TradingArrays`.
    """

    metadata: dict[str, Any] = {"autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP}

    def __init__(
        self, num_envs: int, task: Task | MarketWindow | None = None, positions: tuple[float, ...] = POSITIONS
    ) -> None:
        """Create `num_envs` accounts. `task` and `positions` are as in `TradingArrays`."""
        if num_envs < 1:
            raise UsageError(f"num_envs is {num_envs}; expected at least 1 account")
        self.num_envs = num_envs
        self._window = task if isinstance(task, MarketWindow) else window_of(task or train_task(0))
        assets = self._window.market.assets
        self.single_observation_space, self.single_action_space = _spaces(assets, positions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._positions = np.array(positions, dtype=np.float64)
        self._bars, self._rows = self._window.bars, _observation_rows(self._window)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Restart all accounts at the first bar. The environment is deterministic, so `seed` has no effect."""
        self._batch = VectorAccount(self._window.rules, self.num_envs, self._bars[0].close)
        self._t = 0
        self._last_action = np.full((self._window.market.assets, self.num_envs), -1)
        self._ruined = np.zeros(self.num_envs, dtype=bool)
        self._any_ruined = False
        return self._observe(), {}

    def step(
        self, actions: Any
    ) -> tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Process the next bar. The step after the last bar restarts all accounts; the step after ruin restarts one."""
        none_ended = np.zeros(self.num_envs, dtype=bool)
        if self._t + 1 >= len(self._bars):
            observations, info = self.reset()
            return observations, np.zeros(self.num_envs), none_ended, none_ended.copy(), info
        batch, restarted = self._batch, self._ruined
        chosen = np.asarray(actions).reshape(self.num_envs, -1).T
        if self._any_ruined:
            batch.reopen(restarted)
            self._last_action[:, restarted] = -1
            chosen = np.where(restarted, self._last_action, chosen)
        before, differs = batch.equity, chosen != self._last_action
        changed = np.flatnonzero(differs[0] if len(chosen) == 1 else differs.any(axis=0))
        weights = self._positions[chosen[:, changed]]
        if len(chosen) > 1:
            weights[~differs[:, changed]] = np.nan
        self._last_action, self._t = chosen, self._t + 1
        batch.advance(self._bars[self._t], changed, weights)
        rewards = batch.equity / before - 1
        if self._any_ruined:
            rewards[restarted] = 0.0
        ended = self._t + 1 >= len(self._bars)
        truncated = ~batch.ruined if ended else none_ended
        self._ruined = batch.ruined.copy()
        self._any_ruined = batch.may_owe and bool(self._ruined.any())
        return self._observe(), rewards, batch.ruined.copy(), truncated, {}

    def _observe(self) -> Observation:
        """Return the observations of all accounts as a new array, (num_envs, features)."""
        batch, assets = self._batch, len(self._last_action)
        out = np.repeat(self._rows[None, self._t], self.num_envs, axis=0)
        for asset in range(assets):
            # A ruined account has no units, so any divisor gives weight 0.
            equity = np.maximum(batch.equity, 1e-300) if batch.may_owe else batch.equity
            out[:, asset - assets - 1] = batch.units[asset] * batch.marks[asset] / equity
        out[:, -1] = batch.equity / self._window.rules.cash
        return out
