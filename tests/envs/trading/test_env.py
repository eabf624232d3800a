"""TradingEnv and the array environments: observations, actions, endings and scores."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from fake_desks import market_of, trading_env
from gymnasium.utils.env_checker import check_env, data_equivalence
from kintsugi.envs.checks import check_agent_env
from kintsugi.envs.trading import TradingEnv
from kintsugi.envs.trading.actions import admissible_actions
from kintsugi.envs.trading.arrays import TradingArrays, TradingVector
from kintsugi.envs.trading.features import FEATURES
from kintsugi.errors import UsageError


def started_env(**params: object) -> tuple[TradingEnv, str]:
    """Return an environment, reset to the first task with these parameters, and its first symbol."""
    env = TradingEnv()
    env.reset(options={"task": TradingEnv.tasks("train", 1, **params).tasks[0]})
    return env, env.market.symbols[0]


def test_environment_with_several_assets_conforms():
    check_agent_env(
        lambda: TradingEnv(max_steps=30), steps=16, copies=2,
        task=TradingEnv.tasks("valid", 1, assets=2, leverage=2, lot=0).tasks[0],
    )  # fmt: skip


def test_observation_text_matches_the_arrays():
    env, symbol = started_env(assets=2)
    observation, _, _, _, info = env.step(f"buy 0.4 {symbol} stop 3% take 6%")
    arrays, account = info["arrays"], info["account"]
    assert arrays["features"].shape == (2, len(FEATURES))
    prices = "open {:.6g}, high {:.6g}, low {:.6g}, close {:.6g}, volume {:.6g}".format(*arrays["bars"][0])
    assert f"{symbol}: {prices}" in observation
    assert f"rsi {arrays['features'][0][list(FEATURES).index('rsi')]:.0f}" in observation
    assert f"account: equity {account.equity:.2f}, cash {account.cash:.2f}" in observation
    [fill] = info["fills"]
    assert f"bought {fill.units:.6g} {symbol} at {fill.price:.6g}, cost {fill.cost:.2f}" in observation
    assert account.stop[0] == pytest.approx(0.97 * account.entry[0])
    assert f"stop {account.stop[0]:.6g}, take {account.take[0]:.6g}" in observation
    assert arrays["weights"][0] == account.weights[0] == pytest.approx(0.4, abs=0.03)
    assert all(item.text in observation for item in info["items"])
    assert all(str(item.published) <= info["time"] for item in info["items"])


def test_order_is_filled_at_the_next_open():
    env, _ = started_env(spread=0, commission=0)
    for _ in range(3):
        _, _, _, _, info = env.step("buy 0.2")
        assert info["fills"][0].price == info["arrays"]["bars"][0][0]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("", "there is no action"),
        ("bye 0.5 {}", "unknown action 'bye'; did you mean 'buy'"),
        ("buy {}", "'buy' takes one size, found none"),
        ("buy 0.5 0.6 {}", "takes one size, found 0.5 0.6"),
        ("buy -0.5 {}", "the size is -0.5; expected more than 0"),
        ("buy nan {}", "unknown symbol or size 'nan'"),
        ("buy 1e999 {}", "the size is 1e999"),
        ("buy 0.5", "found none as the asset; name one of"),
        ("buy 0.5 XXXX", "unknown symbol or size 'XXXX'"),
        ("buy 3 {}", "larger than the account: it would make positions worth 3 of equity, where 1 is allowed"),
        ("buy 1000000 shares {}", "larger than the account"),
        ("sell all {}", "there is no long position in"),
        ("close", "there is no position to close"),
        ("protect {} stop 3%", "there is no position in"),
        ("buy 0.1 {0}; sell 0.1 {0}", "there are two orders for"),
        ("buy 0.1 {} stop", "the stop is ''"),
        ("buy 0.1 {} stop 3% take 120", "must both be percentages or both be prices"),
        ("hold now", "'hold' takes nothing after it"),
    ],
)
def test_invalid_order_is_refused_and_the_bar_is_processed(action, message):
    env, symbol = started_env(assets=2)
    observation, reward, _, _, info = env.step(action.format(symbol))
    assert message in info["invalid"]
    assert observation.startswith("Refused, nothing was ordered: ")
    assert (reward, info["fills"], info["bar"]) == (0.0, (), 1)


def test_equivalent_action_texts_give_the_same_account():
    for actions in (
        ("buy 0.5 {}", "BUY {} 50%", "Buy: 0.5 {}", "target 0.5 {}"),
        ("sell 0.25 {}", "target {} -0.25", "sell {} 25%"),
        ("buy 7 shares {}", "buy {} 7 shares"),
        ("target {0} 0.3 {1} -0.2", "target 0.3 {0}; target -0.2 {1}", "buy 0.3 {0}\nsell 0.2 {1}"),
    ):
        found = []
        for action in actions:
            env, _ = started_env(assets=2)
            found.append(env.step(action.format(*env.market.symbols))[4])
            assert "invalid" not in found[-1]
            assert found[-1]["fills"]
        assert all(info["account"] == found[0]["account"] for info in found)


def test_sell_close_and_protect():
    env, _ = started_env()
    env.step("buy all")
    assert env.step("protect stop 50% take 90%")[4]["account"].stop[0] is not None
    info = env.step("sell all")[4]
    assert info["account"].units == (0.0,)
    assert info["account"].stop == (None,)
    env.step("sell 0.5")
    assert env.step("close")[4]["account"].units == (0.0,)
    long_only, _ = started_env(short="false")
    assert "not allowed" in long_only.step("sell 0.5")[4]["invalid"]
    assert not any("-" in action for action in admissible_actions(long_only._account, ["A"]))


def test_end_of_data_truncates_and_score_compares_with_buy_and_hold():
    env, _ = started_env(bars=12)
    rewards = []
    for step in range(11):
        _, reward, terminated, truncated, info = env.step("buy 1" if step == 0 else "hold")
        rewards.append(reward)
        assert not terminated
        assert truncated == (step == 10)
        assert info["score"] == 0.5
        assert ("success" in info) == truncated
    assert info["success"] is False
    assert np.prod(1 + np.array(rewards)) == pytest.approx(info["account"].equity / 100_000)
    with pytest.raises(UsageError, match="call reset first"):
        env.step("hold")
    idle, _ = started_env(bars=12)
    for _ in range(11):
        info = idle.step("hold")[4]
    holding = env.snapshot().state[1][1][1]
    assert info["score"] == pytest.approx(100_000 / (100_000 + holding))
    assert info["success"] == (holding < 100_000)


def test_ruin_terminates_the_episode():
    env = TradingEnv()
    for task in TradingEnv.tasks("train", 30, leverage=60, maintenance=0, bars=60, lot=0):
        env.reset(options={"task": task})
        over, action = False, "sell 60"
        while not over:
            observation, reward, terminated, truncated, info = env.step(action)
            over, action = terminated or truncated, "hold"
        if terminated:
            break
    assert (reward, info["score"], info["success"], info["account"].equity) == (-1.0, 0.0, False, 0.0)
    assert "The account is ruined." in observation


def test_task_sets_are_reproducible_and_disjoint():
    sets = {split: TradingEnv.tasks(split, 20) for split in ("train", "valid", "valid_unseen")}
    assert len({task.params["market"] for tasks in sets.values() for task in tasks}) == 60
    assert sets["train"].hash == TradingEnv.tasks("train", 20).hash
    assert sets["train"].hash != TradingEnv.tasks("train", 20, 1).hash
    assert sets["train"].hash != TradingEnv.tasks("train", 20, commission="0.01").hash
    assert len(TradingEnv.tasks("valid")) == 200
    for wrong, message in (
        ({"split": "test"}, "unknown trading split"),
        ({"comission": 1}, "did you mean 'commission'"),
        ({"source": "files"}, "did you mean 'file'"),
        ({"bars": "many"}, "bars is 'many'; expected a whole number, 2 or more"),
        ({"short": "maybe"}, "short is 'maybe'; expected true or false"),
        ({"n": -1}, "n is -1; expected a number of trading tasks, 0 or more"),
    ):
        with pytest.raises(UsageError, match=message):
            TradingEnv.tasks(**{"split": "train", **wrong})


@pytest.mark.parametrize(
    ("assets", "costs"),
    [
        (1, {"lot": 0, "leverage": 3}),
        (2, {"lot": 0, "leverage": 3}),
        (1, {"cash": 2000, "fee": 1, "slippage": 0.002}),
        (1, {"lot": 0, "interest": 0.1}),
    ],
)
def test_array_environments_equal_the_text_environment(assets, costs):
    task = TradingEnv.tasks("train", 1, bars=200, assets=assets, **costs).tasks[0]
    text, one, many = TradingEnv(), TradingArrays(task), TradingVector(3, task)
    text.reset(options={"task": task})
    first, _ = one.reset(seed=0)
    assert (first == many.reset(seed=0)[0]).all()
    symbols, rng, last = text.market.symbols, np.random.default_rng(1), np.full(assets, -1)
    chosen = last
    for bar in range(199):
        if bar % 3 == 0:
            chosen = rng.integers(0, 3, assets)
        alone = one.step(int(chosen[0]) if assets == 1 else chosen)
        batch = many.step(np.repeat(chosen[None], 3, 0).squeeze(-1) if assets == 1 else np.repeat(chosen[None], 3, 0))
        orders = [f"target {s} {new - 1}" for s, new, old in zip(symbols, chosen, last, strict=True) if new != old]
        _, reward, terminated, truncated, info = text.step("; ".join(orders) or "hold")
        assert "invalid" not in info
        assert (alone[0] == batch[0][2]).all()
        assert alone[1] == batch[1][0] == reward
        assert alone[2:4] == (batch[2][1], batch[3][1]) == (terminated, truncated)
        last = chosen
    assert alone[4] == {"score": info["score"], "success": info["success"]}
    observations, rewards, *_ = many.step(many.action_space.sample())
    assert (observations == first).all()
    assert not rewards.any()


def test_ruined_account_of_a_vector_restarts_at_the_current_bar():
    task = TradingEnv.tasks("train", 1, bars=60, leverage=60, maintenance=0, lot=0).tasks[0]
    many = TradingVector(2, task, (0.0, 50.0, -50.0))
    many.reset()
    ruined = np.zeros(2, dtype=bool)
    while not ruined.any():
        _, rewards, ruined, _, _ = many.step(np.array([0, 2 if many._t % 2 else 1]))
    assert ruined.tolist() == [False, True]
    assert rewards[1] == -1
    observations, rewards, ruined, _, _ = many.step(np.array([0, 0]))
    assert rewards[1] == 0
    assert observations[1, -1] == 1
    assert not ruined.any()


def test_array_environment_passes_gymnasiums_checker():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_env(TradingArrays(), skip_render_check=True)
    with pytest.raises(UsageError, match="positions are"):
        TradingArrays(positions=())
    with pytest.raises(UsageError, match="expected at least 1 account"):
        TradingVector(0)


def test_subclass_provides_its_own_market():
    """This also holds after pickling, and in the array environments, which accept the window itself."""
    market = market_of([0.0, 0.1, -0.2, 0.3])
    env, task = trading_env(market), TradingEnv.tasks("train", 1).tasks[0]
    env.reset(options={"task": task})
    assert env.market is market
    env.step("buy 1")
    unpickled, restored = pickle.loads(pickle.dumps(env)), trading_env(market)
    restored.restore(env.snapshot())
    arrays = TradingArrays(env.window_of(task), (0.0, 1.0))
    arrays.reset()
    arrays.step(1)
    for _ in range(2):
        result = env.step("hold")
        assert data_equivalence(result, unpickled.step("hold"), exact=True)
        assert data_equivalence(result, restored.step("hold"), exact=True)
        assert arrays.step(1)[1] == result[1]
    assert result[3]
