"""Speed of the trading environment: `python -m kintsugi.benchmarks.speed.trading`.

Other packages (`pip install gym-trading-env gym-anytrading backtesting vectorbt`) are measured in the same run; those
that are not installed are listed as missing. All times are CPU time of one thread, so that other load on the machine
matters little. All prices come from one simulator. Kintsugi's Gymnasium environments play another market than the
peers and the backtests; actions and lengths are the same.

The numeric Gymnasium environments get the same actions, 1 for invested and 0 for out: those of a moving-average
crossover, and random ones, which trade at every second bar on average.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from ...envs.trading.arrays import TradingArrays, TradingVector
from ...envs.trading.backtest import backtest, backtest_many, orders_from_weights
from ...envs.trading.env import TradingEnv
from ...envs.trading.indicators import sma
from ...envs.trading.market import Floats, Market
from ...envs.trading.rules import Rules
from ...envs.trading.simulator import SimulatorConfig, simulate
from ...envs.trading.strategies import sma_cross
from ...envs.trading.tasks import task_set
from ..scripts import run

BARS = 2148
ACCOUNTS = 1000
FAST, SLOW = 10, 20
COMMISSION = 0.001
MEAN_LENGTHS = range(2, 101)
"""Lengths of the moving averages in the grid. Each pair of a shorter and a longer one is a strategy."""


def length_pairs() -> list[tuple[int, int]]:
    """Return the lengths (fast, slow) of the moving averages of all strategies of the grid."""
    return [(fast, slow) for fast in MEAN_LENGTHS for slow in MEAN_LENGTHS if fast < slow]


def fastest_seconds(call: Callable[[], object], repeats: int = 7) -> float:
    """Return the CPU seconds of the fastest of `repeats` calls, after one warm-up call."""
    times = []
    # When imported, gym-trading-env turns all warnings into errors, those of other packages too.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(1 + repeats):
            start = time.process_time()
            call()
            times.append(time.process_time() - start)
    return min(times[1:])


def steps_per_second(env: Any, actions: Sequence[Any]) -> float:
    """Return the steps per second of an environment for these actions, restarting finished episodes."""

    def episode() -> None:
        env.reset(seed=0)
        for action in actions:
            *_, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return len(actions) / fastest_seconds(episode)


def actions_of(close: Floats) -> dict[str, list[int]]:
    """Return two sequences of actions by name, one action per bar: 1 for invested, 0 for out."""
    crossed = sma(close, FAST) > sma(close, SLOW)
    return {"SMA cross": [int(x) for x in crossed], "random": np.random.default_rng(0).integers(0, 2, BARS).tolist()}


# -- Kintsugi ---------------------------------------------------------------------------------------------------------


def measure_own(market: Market) -> dict[str, float]:
    """Return Kintsugi's results by name: rates, and times in seconds."""
    task = task_set("train", 1, 0, bars=BARS, commission=COMMISSION).tasks[0]
    entry: Any = TradingArrays
    spec = EnvSpec("TradingArrays-v0", entry_point=entry, disable_env_checker=True)
    env = gymnasium.make(spec, task=task, positions=(0.0, 1.0))
    found = {}
    for name, actions in actions_of(market.close[:, 0]).items():
        found[f"steps/s, {name}"] = steps_per_second(env, actions[: BARS - 1])
    text_env = TradingEnv(max_steps=10 * BARS)
    found["steps/s with text"] = (BARS - 1) / fastest_seconds(lambda: _play_with_text(text_env, task), 3)
    found["account-steps/s, SMA cross"], found["account-steps/s, random"] = _vector_rates(market, task)
    rules = Rules(commission=COMMISSION, spread=0, borrow=0, loan=0)
    found["backtest"] = fastest_seconds(
        lambda: backtest(market, orders_from_weights(sma_cross(market, FAST, SLOW, short=True)), rules), 20
    )
    found["grid, per pair"] = fastest_seconds(
        lambda: backtest_many(market, grid_weights(market.close[:, 0]), rules), 3
    ) / len(length_pairs())
    return found


def _play_with_text(env: TradingEnv, task: Any) -> None:
    env.reset(options={"task": task})
    for number in range(BARS - 1):
        env.step("target 1" if number % 40 == 0 else "target 0" if number % 40 == 20 else "hold")


def _vector_rates(market: Market, task: Any) -> tuple[float, float]:
    close, rng = market.close[:, 0], np.random.default_rng(0)
    fast, slow = rng.integers(5, 30, ACCOUNTS), rng.integers(31, 90, ACCOUNTS)
    means = {n: np.nan_to_num(sma(close, n)) for n in range(5, 90)}
    crossed = np.stack([means[f] > means[s] for f, s in zip(fast, slow, strict=True)], axis=1).astype(np.int64)
    rates = []
    for actions in (crossed, rng.integers(0, 2, (BARS, ACCOUNTS))):
        env = TradingVector(ACCOUNTS, task, (0.0, 1.0))

        def episode(env: TradingVector = env, actions: Any = actions) -> None:
            env.reset()
            for bar in range(BARS - 1):
                env.step(actions[bar])

        rates.append(ACCOUNTS * (BARS - 1) / fastest_seconds(episode, 3))
    return rates[0], rates[1]


def grid_weights(close: Floats) -> Floats:
    """Return the target weights, (bars, pairs).

    A weight is 1 while the fast mean is above the slow one, otherwise 0, and NaN where no order is placed.
    """
    means = {n: sma(close, n) for n in MEAN_LENGTHS}
    fast, slow = (np.stack([means[pair[side]] for pair in length_pairs()], axis=1) for side in (0, 1))
    held = np.where(fast > slow, 1.0, 0.0)
    changed = np.diff(held, axis=0, prepend=0.0) != 0
    return np.where(changed, held, np.nan)


# -- Other packages ---------------------------------------------------------------------------------------------------


def measure_peers(market: Market) -> dict[str, dict[str, float]]:
    """Return the results of the installed packages, like `measure_own`."""
    if not importlib.util.find_spec("pandas"):
        return {}
    import pandas

    names = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Volume"}
    index = pandas.date_range("2004-01-01", periods=BARS, freq="B")
    frame = pandas.DataFrame({title: getattr(market, name)[:, 0] for name, title in names.items()}, index=index)
    found = {}
    for name, measure in PEERS.items():
        try:
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                found[name] = measure(frame)
        except ImportError:
            continue
    return found


def _anytrading(frame: Any) -> dict[str, float]:
    import gym_anytrading  # noqa: F401

    env = gymnasium.make("stocks-v0", df=frame, window_size=10, frame_bound=(10, BARS), disable_env_checker=True)
    actions = actions_of(frame.Close.to_numpy())
    return {f"steps/s, {name}": steps_per_second(env, chosen[: BARS - 11]) for name, chosen in actions.items()}


def _trading_env(frame: Any) -> dict[str, float]:
    import gym_trading_env  # noqa: F401

    table = frame.rename(columns=str.lower)
    table["feature_close"] = table.close.pct_change().fillna(0.0)
    table["feature_volume"] = (table.volume / table.volume.rolling(20).max()).fillna(0.0)
    env = gymnasium.make(
        "TradingEnv", df=table, positions=[0, 1], trading_fees=COMMISSION, verbose=0, disable_env_checker=True
    )
    actions = actions_of(frame.Close.to_numpy())
    return {f"steps/s, {name}": steps_per_second(env, chosen[: BARS - 1]) for name, chosen in actions.items()}


def _backtesting(frame: Any) -> dict[str, float]:
    from backtesting import Backtest, Strategy
    from backtesting.lib import crossover

    def mean(values: Any, n: int) -> Any:
        import pandas

        return pandas.Series(values).rolling(n).mean()

    class Cross(Strategy):  # type: ignore[misc]
        def init(self) -> None:
            self.fast, self.slow = (self.I(mean, self.data.Close, n) for n in (FAST, SLOW))

        def next(self) -> None:
            if crossover(self.fast, self.slow):
                self.position.close()
                self.buy()
            elif crossover(self.slow, self.fast):
                self.position.close()
                self.sell()

    backtest_run = Backtest(frame, Cross, cash=100_000, commission=COMMISSION)
    return {"backtest": fastest_seconds(backtest_run.run, 5)}


def _vectorbt(frame: Any) -> dict[str, float]:
    import vectorbt

    def run_grid() -> Any:
        close = frame.Close
        fast = vectorbt.MA.run(close, [pair[0] for pair in length_pairs()], short_name="fast")
        slow = vectorbt.MA.run(close, [pair[1] for pair in length_pairs()], short_name="slow")
        # Filled at the next open, as in Kintsugi.
        entries = fast.ma_crossed_above(slow).vbt.fshift(1)
        exits = fast.ma_crossed_below(slow).vbt.fshift(1)
        held = vectorbt.Portfolio.from_signals(
            close, entries, exits, price=frame.Open, fees=COMMISSION, init_cash=100_000, freq="1D"
        )
        return held.value()

    return {"grid, per pair": fastest_seconds(run_grid, 3) / len(length_pairs())}


PEERS: dict[str, Callable[[Any], dict[str, float]]] = {
    "gym-anytrading": _anytrading,
    "gym-trading-env": _trading_env,
    "backtesting.py": _backtesting,
    "vectorbt": _vectorbt,
}


def main() -> None:
    """Print all measurements and ratios."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    market = simulate(SimulatorConfig(assets=1, bars=BARS, silent=True), 0)
    own, theirs = measure_own(market), measure_peers(market)
    print(f"trading, {BARS} bars, one thread, CPU time; missing: {', '.join(PEERS.keys() - theirs.keys()) or 'none'}")
    print(f"  steps/s with text                  {own['steps/s with text']:14,.0f}")
    for name in ("SMA cross", "random"):
        rates = {peer: found[f"steps/s, {name}"] for peer, found in theirs.items() if f"steps/s, {name}" in found}
        for peer, rate in rates.items():
            print(f"  steps/s, {name:10s} {peer:15s} {rate:14,.0f}")
        fastest = max(rates.values(), default=float("nan"))
        for what, least in (("steps/s", 3), ("account-steps/s", 50)):
            rate = own[f"{what}, {name}"]
            print(
                f"  {what + ', ' + name:34s} {rate:14,.0f}   {rate / fastest:8.1f} times the fastest peer "
                f"(target: at least {least})"
            )
    for what, peer, least in (("backtest", "backtesting.py", 50), ("grid, per pair", "vectorbt", 2)):
        seconds, other = own[what], theirs.get(peer, {}).get(what, float("nan"))
        print(
            f"  {what:14s} {1e3 * seconds:10.3f} ms   {peer} {1e3 * other:.3f} ms: {other / seconds:.1f} times as fast "
            f"(target: at least {least})"
        )


if __name__ == "__main__":
    run(main)
