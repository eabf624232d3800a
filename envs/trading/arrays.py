"""The same world for learners that want numbers: one account, or thousands at once, under Gymnasium.

Observations are what `info["arrays"]` of `kintsugi/Trading-v0` holds, as one float32 vector: `FEATURES` of each asset,
then for each asset the position's weight, then equity as a share of the cash at the beginning. An action names for each
asset one of `positions`, the weights that it may have; a position that it has already asked for is left alone.
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
from .episode import Episode, score
from .features import FEATURES
from .filling import filling
from .fleet import Fleet
from .rules import Order
from .tasks import episode_of, train_task

Observation = NDArray[np.float32]
POSITIONS = (-1.0, 0.0, 1.0)


def _spaces(assets: int, positions: tuple[float, ...]) -> tuple[Any, Any]:
    if not positions or not all(np.isfinite(positions)):
        raise UsageError(f"positions are {positions!r}; expected one or more weights, such as {POSITIONS}")
    observed = gymnasium.spaces.Box(-np.inf, np.inf, (assets * (len(FEATURES) + 1) + 1,), np.float32)
    if assets == 1:
        return observed, gymnasium.spaces.Discrete(len(positions))
    return observed, gymnasium.spaces.MultiDiscrete([len(positions)] * assets)


def _table(episode: Episode) -> Observation:
    """The part of every observation that no action changes, with room for the account."""
    features = episode.features.reshape(len(episode.features), -1)
    table = np.zeros((len(features), features.shape[1] + episode.market.assets + 1), np.float32)
    table[:, : features.shape[1]] = features
    return table


class TradingArrays(gymnasium.Env[Observation, Any]):
    """One account in the stretch of one task, without text.

    The reward, the ends of an episode, and `score` and `success` in the last step's info are those of
    `kintsugi/Trading-v0`; other infos are empty.
    """

    metadata: dict[str, Any] = {"render_modes": [], "render_fps": 1}

    def __init__(
        self,
        task: Task | Episode | None = None,
        positions: tuple[float, ...] = POSITIONS,
        render_mode: str | None = None,
    ) -> None:
        """Plays `task` or a stretch of a market of one's own, the first usual task when None; `reset` may name another
        one of as many assets.
        """
        self.render_mode = render_mode
        self._open(task or train_task(0))
        assets = self._episode.market.assets
        self.observation_space, self.action_space = _spaces(assets, positions)
        self._orders = [[(Order(a, float(p)),) for p in positions] for a in range(assets)]
        self._single = assets == 1

    def _open(self, task: Task | Episode) -> None:
        if isinstance(task, Task) and task.env_id != TradingEnv.env_id:
            raise UsageError(f"task {task.id!r} is of {task.env_id!r}, expected one of {TradingEnv.env_id!r}")
        self._episode = task if isinstance(task, Episode) else episode_of(task)
        self._bars, self._end = self._episode.bars, len(self._episode.bars) - 1
        self._rows = list(_table(self._episode))
        self._closes = [bar.close[0] for bar in self._bars]
        rules = self._episode.rules
        # Then a long position without a loan changes with the close alone, until there is an order.
        self._plain = self._episode.market.assets == 1 and rules.leverage <= 1 and not rules.interest
        self._plain = self._plain and rules.maintenance < 1
        self._plain = self._plain and all(bar.splits is None and bar.dividends is None for bar in self._bars)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin the stretch anew; `options["task"]` names another one."""
        super().reset(seed=seed)
        if options and "task" in options:
            self._open(options["task"])
            if self._episode.market.assets != len(self._orders):
                raise UsageError(f"the task has {self._episode.market.assets} assets, expected {len(self._orders)}")
        self._account = Account(self._episode.rules, self._bars[0].close)
        self._fill = filling(self._episode.rules)
        self._begin = self._equity = self._account.equity
        self._cash, self._units, self._entry = self._account.cash, 0.0, 0.0
        self._at, self._calm = 0, False
        self._last: Any = None
        return self._rest(), {}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Live through the next bar."""
        self._at = at = self._at + 1
        if self._calm and (action == self._last or self._trade(at, action)):
            value = self._units * self._closes[at]
            equity = self._cash + value
            row = self._rows[at].copy()
            row[-2] = value / equity
            row[-1] = equity / self._begin
            if at < self._end:
                before, self._equity = self._equity, equity
                return row, equity / before - 1, False, False, {}
        else:
            row, equity = self._live(at, action), self._account.equity
        reward = equity / self._equity - 1
        self._equity = equity
        ruined, ended = equity <= 0, at >= self._end
        info: dict[str, Any] = {}
        if ended or ruined:
            benchmark = self._episode.benchmark[at]
            info = {"score": score(equity, benchmark), "success": equity > benchmark}
        return row, reward, ruined, ended and not ruined, info

    def _trade(self, at: int, action: Any) -> bool:
        """Fill the order of a calm account; False, and nothing done, when it would not be calm any more."""
        bar = self._bars[at]
        if bar.tradable[0]:
            cash, units, entry, _ = self._fill(
                self._cash, self._units, self._entry, bar.open[0], self._orders[0][action][0]
            )
            if units < 0 or cash < 0 or not (units or cash):
                return False
            self._cash, self._units, self._entry = cash, units, entry
        self._last = action
        return True

    def _live(self, at: int, action: Any) -> Observation:
        """A bar in which anything may happen."""
        account = self._account
        if self._calm:
            account.cash, account.units[0], account.entry[0] = self._cash, self._units, self._entry
            account.marks = self._bars[at - 1].close
        chosen: Any = action if self._single else tuple(map(int, action))
        orders: Any = ()
        if self._single:
            if chosen != self._last:
                orders = self._orders[0][chosen]
        elif chosen != self._last:
            old = self._last or (-1,) * len(chosen)
            orders = [self._orders[a][c][0] for a, c in enumerate(chosen) if c != old[a]]
        self._last = chosen
        account.advance(self._bars[at], orders)
        return self._rest()

    def _rest(self) -> Observation:
        """The observation, and whether nothing but its own orders can happen to the account from now on."""
        account = self._account
        row: Observation = self._rows[self._at].copy()
        row[-1 - len(self._orders) : -1] = weights_of(account)
        row[-1] = account.equity / self._begin
        self._cash, self._units, self._entry = account.cash, account.units[0], account.entry[0]
        self._calm = self._plain and self._units >= 0 and self._cash >= 0 and account.equity > 0
        return row


class TradingVector(gymnasium.vector.VectorEnv[Observation, Any, Any]):
    """Thousands of accounts in the stretch of one task, a bar at a time for all.

    All come to the end of the data together and begin anew with the next step (`NEXT_STEP`); a ruined account is
    opened anew at the bar where the others are. An account alone lives as in `TradingArrays`.
    """

    metadata: dict[str, Any] = {"autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP}

    def __init__(
        self, num_envs: int, task: Task | Episode | None = None, positions: tuple[float, ...] = POSITIONS
    ) -> None:
        """`task` is as in `TradingArrays`."""
        if num_envs < 1:
            raise UsageError(f"num_envs is {num_envs}; expected at least 1 account")
        self.num_envs = num_envs
        self._episode = task if isinstance(task, Episode) else episode_of(task or train_task(0))
        assets = self._episode.market.assets
        self.single_observation_space, self.single_action_space = _spaces(assets, positions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._positions = np.array(positions, dtype=np.float64)
        self._bars, self._rows = self._episode.bars, _table(self._episode)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """All accounts at the first bar. There is nothing random in them, so the seed changes nothing."""
        self._fleet = Fleet(self._episode.rules, self.num_envs, self._bars[0].close)
        self._at = 0
        self._last = np.full((self._episode.market.assets, self.num_envs), -1)
        self._ended = np.zeros(self.num_envs, dtype=bool)
        self._some_ended = False
        return self._observed(), {}

    def step(
        self, actions: Any
    ) -> tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Live through the next bar; after the last one, or with a ruined account, this begins anew."""
        nobody = np.zeros(self.num_envs, dtype=bool)
        if self._at + 1 >= len(self._bars):
            observations, info = self.reset()
            return observations, np.zeros(self.num_envs), nobody, nobody.copy(), info
        fleet, fresh = self._fleet, self._ended
        chosen = np.asarray(actions).reshape(self.num_envs, -1).T
        if self._some_ended:
            fleet.reopen(fresh)
            self._last[:, fresh] = -1
            chosen = np.where(fresh, self._last, chosen)
        before, differs = fleet.equity, chosen != self._last
        changed = np.flatnonzero(differs[0] if len(chosen) == 1 else differs.any(axis=0))
        weights = self._positions[chosen[:, changed]]
        if len(chosen) > 1:
            weights[~differs[:, changed]] = np.nan
        self._last, self._at = chosen, self._at + 1
        fleet.advance(self._bars[self._at], changed, weights)
        rewards = fleet.equity / before - 1
        if self._some_ended:
            rewards[fresh] = 0.0
        ended = self._at + 1 >= len(self._bars)
        truncated = ~fleet.ruined if ended else nobody
        self._ended = fleet.ruined.copy()
        self._some_ended = fleet.risky and bool(self._ended.any())
        return self._observed(), rewards, fleet.ruined.copy(), truncated, {}

    def _observed(self) -> Observation:
        """A new array at each call, (N, features)."""
        fleet, assets = self._fleet, len(self._last)
        out = np.repeat(self._rows[None, self._at], self.num_envs, axis=0)
        for asset in range(assets):
            # A ruined account has no units, so what it is divided by does not matter.
            worth = np.maximum(fleet.equity, 1e-300) if fleet.risky else fleet.equity
            out[:, asset - assets - 1] = fleet.units[asset] * fleet.marks[asset] / worth
        out[:, -1] = fleet.equity / self._episode.rules.cash
        return out
