"""Rule-based trading agents: when they buy and when they sell."""

from __future__ import annotations

import pytest
from fake_desks import market_of, trading_env
from kintsugi.agents.experts.trading_rules import BOLLINGER, BUY_AND_HOLD, RULES, SMA_CROSS, HoldingRule
from kintsugi.agents.rollout import Job, collect
from kintsugi.envs import Task
from kintsugi.envs.trading import Rules, TradingEnv


def actions(rule: HoldingRule, returns: list[float]) -> list[str]:
    task = Task("t", TradingEnv.env_id, "valid", 0, {})
    [played] = collect(lambda: trading_env(market_of(returns), Rules()), [Job(task, rule, 0)])
    assert played.invalid_actions == 0
    return [step.action for step in played.steps]


def test_buy_and_hold_buys_once():
    assert actions(BUY_AND_HOLD, [0.0, 0.1, -0.3, 0.1]) == ["target 1", "hold", "hold"]


def test_sma_cross_buys_and_sells():
    taken = actions(SMA_CROSS, [0.02] * 15 + [-0.04] * 25)
    bought, sold = taken.index("target 1"), taken.index("sell all")
    assert bought < 15 < sold
    assert set(taken[bought + 1 : sold]) == {"hold"}


def test_bollinger_buys_and_sells():
    taken = actions(BOLLINGER, [0.0, -0.08, 0.0, 0.0, 0.0, 0.0, 0.2, 0.0])
    assert taken == ["hold", "target 1", "hold", "hold", "hold", "hold", "sell all"]


def test_buy_and_hold_equals_the_benchmark_of_the_environment():
    """Its score is therefore 0.5."""
    tasks = TradingEnv.tasks("valid", 4, bars=30)
    for played in collect(TradingEnv, [Job(task, BUY_AND_HOLD, 0) for task in tasks]):
        assert played.score == pytest.approx(0.5, abs=1e-12)


def test_rules_use_no_model_and_have_no_chats():
    [played] = collect(TradingEnv, [Job(task, BUY_AND_HOLD, 0) for task in TradingEnv.tasks("valid", 1, bars=8)])
    assert [rule.name for rule in RULES] == ["buy-and-hold", "sma-cross", "bollinger"]
    assert (played.agent, played.made_by, BUY_AND_HOLD.models) == ("buy-and-hold", None, ())
    assert BUY_AND_HOLD.chats(played) == []
