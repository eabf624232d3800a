"""Rules for the market: when they buy and when they sell."""

from __future__ import annotations

import pytest
from fake_desks import market_of, trading_in
from kintsugi.agents.experts.trading_rules import BOLLINGER, BUY_AND_HOLD, RULES, SMA_CROSS, HoldingRule
from kintsugi.agents.rollout import Job, collect
from kintsugi.envs import Task
from kintsugi.envs.trading import Rules, TradingEnv


def actions(rule: HoldingRule, moves: list[float]) -> list[str]:
    task = Task("t", TradingEnv.env_id, "valid", 0, {})
    [played] = collect(lambda: trading_in(market_of(moves), Rules()), [Job(task, rule, 0)])
    assert played.invalid_actions == 0
    return [step.action for step in played.steps]


def test_buy_and_hold_buys_once():
    assert actions(BUY_AND_HOLD, [0.0, 0.1, -0.3, 0.1]) == ["target 1", "hold", "hold"]


def test_the_means_cross():
    done = actions(SMA_CROSS, [0.02] * 15 + [-0.04] * 25)
    bought, sold = done.index("target 1"), done.index("sell all")
    assert bought < 15 < sold
    assert set(done[bought + 1 : sold]) == {"hold"}


def test_the_bands():
    done = actions(BOLLINGER, [0.0, -0.08, 0.0, 0.0, 0.0, 0.0, 0.2, 0.0])
    assert done == ["hold", "target 1", "hold", "hold", "hold", "hold", "sell all"]


def test_buy_and_hold_is_the_worlds_own_benchmark():
    """Its score is 0.5: it ends with as much as the world says that buying and holding does."""
    tasks = TradingEnv.tasks("valid", 4, bars=30)
    for played in collect(TradingEnv, [Job(task, BUY_AND_HOLD, 0) for task in tasks]):
        assert played.score == pytest.approx(0.5, abs=1e-12)


def test_a_rule_thinks_with_no_model_and_says_nothing_to_learn_from():
    [played] = collect(TradingEnv, [Job(task, BUY_AND_HOLD, 0) for task in TradingEnv.tasks("valid", 1, bars=8)])
    assert [rule.name for rule in RULES] == ["buy-and-hold", "sma-cross", "bollinger"]
    assert (played.agent, played.made_by, BUY_AND_HOLD.models) == ("buy-and-hold", None, ())
    assert BUY_AND_HOLD.chats(played) == []
