"""The desk: prompts of all roles, use of their answers, and no look-ahead."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_desks import ANSWERS, market_of, run_desk, scripted
from kintsugi.agents.core import Episode
from kintsugi.agents.experts.trading import TradingExpert
from kintsugi.agents.rollout import Job, collect
from kintsugi.agents.trading_group import DeskConfig, TradingGroup
from kintsugi.agents.trading_group.desk import chat_of_call
from kintsugi.agents.trading_group.labels import LabelConfig
from kintsugi.agents.trading_group.roles import SYSTEM
from kintsugi.agents.trajectory import Step, Trajectory
from kintsugi.envs.trading import Item, Market, TradingEnv
from kintsugi.envs.trading.simulator import SimulatorConfig, simulate
from kintsugi.errors import UsageError

PLAIN = DeskConfig(max_tokens=1000)
FLAT = [0.01, -0.01] * 10


def prompts(trajectory: Trajectory, role: str) -> list[str]:
    return [call.prompt for step in trajectory.steps for call in step.calls if call.role == role]


def test_roles_are_called_in_order():
    texts = {0: [("news", "Orders went up."), ("report", "The forecast is raised.")], 2: [("news", "Debt is rising.")]}
    attempt = run_desk(market_of(FLAT, texts), scripted())
    roles = [[call.role for call in step.calls] for step in attempt.steps]
    assert roles[0] == ["news", "report", "forecast", "style", "decision"]
    assert roles[1] == ["forecast", "style", "decision"]
    assert roles[2] == ["news", "forecast", "style", "decision"]
    assert prompts(attempt, "news") == ["News on ABC:\n1. Orders went up.", "News on ABC:\n1. Debt is rising."]
    assert "News today: positive\nNews before: none\nReport: positive" in prompts(attempt, "forecast")[0]
    # The desk remembers the outlook of the report and the news of previous days.
    assert (
        "News today: none\nNews before: positive, none, positive\nReport: positive" in prompts(attempt, "forecast")[3]
    )


def test_calls_are_recorded_as_sampled():
    attempt = run_desk(market_of(FLAT), scripted())
    call = attempt.steps[0].calls[0]
    assert (call.role, call.text) == ("forecast", ANSWERS["forecast"])
    assert bytes(call.token_ids).decode() == call.text
    system, user, assistant = chat_of_call(call)
    assert system.content == SYSTEM["forecast"]
    assert (user.content, assistant.content, assistant.token_ids) == (call.prompt, call.text, call.token_ids)
    assert Trajectory.from_json(attempt.to_json()) == attempt
    assert attempt.sampled_tokens == sum(len(c.token_ids) for step in attempt.steps for c in step.calls)


def test_risk_management_sets_size_stop_and_take():
    style = "Style: conservative"
    attempt = run_desk(market_of(FLAT), scripted(style=style))
    # sigma_d,10 of alternating +1 % and -1 % is 1 %; conservative: stop 2 sigma, take 4 sigma, half of the account.
    size, stop, take = attempt.steps[0].action.removeprefix("target ").replace("%", "").split()[::2]
    assert (float(size), float(stop), float(take)) == pytest.approx((0.5, 2.0, 4.0), abs=0.1)
    assert [step.action.split()[0] for step in attempt.steps[1:3]] == ["protect", "protect"]
    assert attempt.invalid_actions == 0
    bold = run_desk(market_of(FLAT), scripted(style="Style: aggressive"))
    assert bold.steps[0].action.startswith("target 1 stop 3.9")


def test_without_risk_management_the_whole_account_is_invested_without_limits():
    config = replace(PLAIN, risk_management=False)
    attempt = run_desk(market_of(FLAT), scripted(style="Style: conservative"), config)
    assert [step.action for step in attempt.steps[:3]] == ["target 1", "hold", "hold"]


def test_stop_loss_sells_within_the_bar_regardless_of_the_decision():
    """The price falls by 10 % after the purchase at the open of bar 1, so the stop-loss sells."""
    returns = [0.0, 0.0, -0.10, -0.10, -0.10]
    held = run_desk(market_of(returns), scripted(), replace(PLAIN, risk_management=False))
    managed = run_desk(market_of(returns), scripted())
    assert "Position: 100 % of the account, -10.0 %" in prompts(held, "decision")[2]
    assert "Position: none" in prompts(managed, "decision")[2]
    assert "sold" in managed.steps[2].observation
    assert "stop-loss" in managed.steps[2].observation


def test_sell_without_a_position_becomes_hold():
    decisions = ["Decision: sell", "Decision: buy", "Decision: hold", "Decision: sell", "Decision: hold"]
    config = replace(PLAIN, risk_management=False)
    model = scripted(decision=lambda prompt, number: decisions[min(number, 4)])
    attempt = run_desk(market_of(FLAT[:6]), model, config)
    assert [step.action for step in attempt.steps] == ["hold", "target 1", "hold", "sell all", "hold"]
    assert attempt.invalid_actions == 0


def test_gate_overrides_the_forecast():
    """After a month of small rises, RSI is extreme without a breakout, so an up forecast becomes sideways."""
    rising = market_of([0.002] * 30)
    gated = run_desk(rising, scripted())
    assert "trend up, but side after the gate" in prompts(gated, "decision")[-1]
    free = run_desk(rising, scripted(), replace(PLAIN, gate=False))
    assert "after the gate" not in "".join(prompts(free, "decision"))


@pytest.mark.parametrize(
    ("part", "roles"),
    [
        ("news", ["report", "forecast", "style", "decision"]),
        ("reports", ["news", "forecast", "style", "decision"]),
        ("style", ["news", "report", "forecast", "decision"]),
    ],
)
def test_each_role_can_be_switched_off(part, roles):
    texts = {0: [("news", "Orders went up."), ("report", "The forecast is raised.")]}
    attempt = run_desk(market_of(FLAT, texts), scripted(), replace(PLAIN, **{part: False}))
    assert [call.role for call in attempt.steps[0].calls] == roles


def test_prompts_contain_recent_results():
    config = replace(PLAIN, risk_management=False, labels=LabelConfig(horizon=2))
    returns = [0.0, 0.0, 0.10, 0.10, 0.10, -0.40]
    attempt = run_desk(market_of(returns), scripted(), config)
    forecasts = prompts(attempt, "forecast")
    assert all("right" not in prompt for prompt in forecasts[:2])
    # At close 2 the horizon of the forecast of close 0 is over: +10 % over two days.
    assert forecasts[2].endswith(
        "\nYour last 20 days: 1 right, 0 wrong.\nRight: up on no news 1 (+10.0 %)\nWrong: none"
    )
    assert forecasts[3].endswith("2 right, 0 wrong.\nRight: up on no news 2 (+15.5 %)\nWrong: none")
    # Bought at open 1, which equals close 1: rewards are 0, then 10 % - 0.2 * 10 %.
    decisions = prompts(attempt, "decision")
    assert "right" not in decisions[0]
    assert decisions[2].endswith(
        "1 right, 1 wrong.\nRight: buy on up forecast 1 (+8.0 %)\nWrong: buy on up forecast 1 (+0.0 %)"
    )
    assert prompts(attempt, "style")[2].endswith("1 right, 0 wrong.\nRight: balanced 1 (+10.0 %)\nWrong: none")


def test_digest_covers_only_the_last_days():
    config = replace(PLAIN, days=4, labels=LabelConfig(horizon=1))
    attempt = run_desk(market_of([0.02] * 12), scripted(), config)
    assert "Your last 4 days: 4 right, 0 wrong." in prompts(attempt, "forecast")[-1]


def test_without_reflection_prompts_contain_no_digest():
    attempt = run_desk(market_of(FLAT), scripted(), replace(PLAIN, reflection=False))
    assert not [call for step in attempt.steps for call in step.calls if "Your last" in call.prompt]


def test_unparsable_answers_become_neutral_and_are_recorded():
    mute = scripted(news="?", report="?", forecast="?", style="?", decision="?")
    texts = {0: [("news", "Orders went up."), ("report", "The forecast is raised.")]}
    days: list[Any] = []

    class RecordingDesk(TradingGroup):
        async def act(self, episode: Episode) -> Step:
            step = await super().act(episode)
            days.append(episode.notes[-1])
            return step

    attempt = run_desk(market_of(FLAT[:4], texts), mute, desk=RecordingDesk)
    assert [step.action for step in attempt.steps] == ["hold"] * 3
    assert len(days) == 3
    assert days[0].unread == ("news", "report", "forecast", "style", "decision")
    assert (days[0].sentiment, days[0].outlook, days[0].trend, days[0].style) == (
        "neutral",
        "neutral",
        "side",
        "balanced",
    )
    assert "up 33 down 33 side 33, trend side" in str(days[0])


def test_concurrent_episodes_are_independent():
    tasks = TradingEnv.tasks("train", 6, seed=3, bars=20)
    config = replace(PLAIN, temperature=1.0)
    together = collect(TradingEnv, [Job(task, TradingGroup(TradingExpert(), config), 1) for task in tasks])
    one_desk = TradingGroup(TradingExpert(), config)
    shared = collect(TradingEnv, [Job(task, one_desk, 1) for task in tasks])
    alone = [collect(TradingEnv, [Job(task, TradingGroup(TradingExpert(), config), 1)])[0] for task in tasks]
    assert together == shared == alone


def test_several_assets_are_refused():
    tasks = TradingEnv.tasks("train", 1, assets=2, bars=10)
    with pytest.raises(UsageError, match="expected a task of kintsugi/Trading-v0 with one asset"):
        collect(TradingEnv, [Job(task, TradingGroup(scripted()), 0) for task in tasks])


# -- No look-ahead ----------------------------------------------------------------------------------------------------


def with_other_future(market: Market, bar: int, seed: int) -> Market:
    """Return the market with noise and other texts after `bar`."""
    rng = np.random.default_rng(seed)
    arrays = {name: getattr(market, name).copy() for name in ("open", "high", "low", "close", "volume")}
    for values in arrays.values():
        values[bar + 1 :] = np.exp(rng.normal(4.0, 1.0, values[bar + 1 :].shape))
    prices = np.stack([arrays[name][bar + 1 :] for name in ("open", "high", "low", "close")])
    arrays["high"][bar + 1 :], arrays["low"][bar + 1 :] = prices.max(axis=0), prices.min(axis=0)
    kept = [item for item, shown in zip(market.items, market.shown_at, strict=True) if shown <= bar]
    later = [
        Item(time - np.timedelta64(1, "h"), kind, market.symbols[0], f"Noise {rng.integers(1000)}.")
        for time in market.times[bar + 1 :]
        for kind in ("news", "report")
    ]
    return Market(market.symbols, market.times, items=(*kept, *later), **arrays)


@pytest.mark.parametrize("config", [PLAIN, replace(PLAIN, reflection=False, risk_management=False)])
@pytest.mark.parametrize("bar", [0, 1, 7, 25, 38])
def test_prompts_do_not_depend_on_the_future(config, bar):
    """Prompts, answers and actions up to a bar are identical for any continuation of the market."""
    market = simulate(SimulatorConfig(assets=1, bars=100), seed=bar)
    config = replace(config, temperature=1.0)
    true = run_desk(market, TradingExpert(), config)
    assert len(true.steps) == 39
    for seed in range(2):
        other = run_desk(with_other_future(market, 60 + bar, seed), TradingExpert(), config)
        assert other.steps[:bar] == true.steps[:bar]
        now, then = true.steps[bar], other.steps[bar]
        assert (then.calls, then.action, then.observation) == (now.calls, now.action, now.observation)
        if bar < 38:
            assert other.steps[bar + 1].calls != true.steps[bar + 1].calls
