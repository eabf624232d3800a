"""The desk: who is asked what, what becomes of the answers, and that nobody is told of the future."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_desks import ANSWERS, market_of, scripted, trade_in
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


def test_everybody_is_asked_in_turn():
    texts = {0: [("news", "Orders went up."), ("report", "The forecast is raised.")], 2: [("news", "Debt is rising.")]}
    played = trade_in(market_of(FLAT, texts), scripted())
    asked = [[call.role for call in step.calls] for step in played.steps]
    assert asked[0] == ["news", "report", "forecast", "style", "decision"]
    assert asked[1] == ["forecast", "style", "decision"]
    assert asked[2] == ["news", "forecast", "style", "decision"]
    assert prompts(played, "news") == ["News on ABC:\n1. Orders went up.", "News on ABC:\n1. Debt is rising."]
    assert "News today: positive\nNews before: none\nReport: positive" in prompts(played, "forecast")[0]
    # What was read is remembered: the report's outlook, and the news of the days before.
    assert "News today: none\nNews before: positive, none, positive\nReport: positive" in prompts(played, "forecast")[3]


def test_a_call_is_kept_as_it_was_sampled():
    played = trade_in(market_of(FLAT), scripted())
    call = played.steps[0].calls[0]
    assert (call.role, call.text) == ("forecast", ANSWERS["forecast"])
    assert bytes(call.token_ids).decode() == call.text
    system, asked, said = chat_of_call(call)
    assert system.content == SYSTEM["forecast"]
    assert (asked.content, said.content, said.token_ids) == (call.prompt, call.text, call.token_ids)
    assert Trajectory.from_json(played.to_json()) == played
    assert played.sampled_tokens == sum(len(c.token_ids) for step in played.steps for c in step.calls)


def test_risk_management_sets_size_stop_and_take():
    style = "Style: conservative"
    played = trade_in(market_of(FLAT), scripted(style=style))
    # sigma_d,10 of +1 % and -1 % in turn is 1 %; conservative: stop 2 sigma, take 4 sigma, half of the account.
    size, stop, take = played.steps[0].action.removeprefix("target ").replace("%", "").split()[::2]
    assert (float(size), float(stop), float(take)) == pytest.approx((0.5, 2.0, 4.0), abs=0.1)
    assert [step.action.split()[0] for step in played.steps[1:3]] == ["protect", "protect"]
    assert played.invalid_actions == 0
    bold = trade_in(market_of(FLAT), scripted(style="Style: aggressive"))
    assert bold.steps[0].action.startswith("target 1 stop 3.9")


def test_without_risk_management_all_is_invested_and_nothing_limited():
    config = replace(PLAIN, risk_management=False)
    played = trade_in(market_of(FLAT), scripted(style="Style: conservative"), config)
    assert [step.action for step in played.steps[:3]] == ["target 1", "hold", "hold"]


def test_a_fall_is_sold_within_the_bar_whatever_the_desk_says():
    """Bought at the open of bar 1, the price falls by 10 %: the stop-loss sells, and the desk sees no position."""
    moves = [0.0, 0.0, -0.10, -0.10, -0.10]
    held = trade_in(market_of(moves), scripted(), replace(PLAIN, risk_management=False))
    managed = trade_in(market_of(moves), scripted())
    assert "Position: 100 % of the account, -10.0 %" in prompts(held, "decision")[2]
    assert "Position: none" in prompts(managed, "decision")[2]
    assert "sold" in managed.steps[2].observation
    assert "stop-loss" in managed.steps[2].observation


def test_selling_needs_a_position():
    decisions = ["Decision: sell", "Decision: buy", "Decision: hold", "Decision: sell", "Decision: hold"]
    config = replace(PLAIN, risk_management=False)
    model = scripted(decision=lambda prompt, number: decisions[min(number, 4)])
    played = trade_in(market_of(FLAT[:6]), model, config)
    assert [step.action for step in played.steps] == ["hold", "target 1", "hold", "sell all", "hold"]
    assert played.invalid_actions == 0


def test_the_gate_overrules_the_forecast():
    """A month of small rises: RSI is extreme, nothing breaks out, so what is forecast up is acted on as sideways."""
    rising = market_of([0.002] * 30)
    gated = trade_in(rising, scripted())
    assert "trend up, but side after the gate" in prompts(gated, "decision")[-1]
    free = trade_in(rising, scripted(), replace(PLAIN, gate=False))
    assert "after the gate" not in "".join(prompts(free, "decision"))


@pytest.mark.parametrize(
    ("part", "asked"),
    [
        ("news", ["report", "forecast", "style", "decision"]),
        ("reports", ["news", "forecast", "style", "decision"]),
        ("style", ["news", "report", "forecast", "decision"]),
    ],
)
def test_each_agent_can_be_left_out(part, asked):
    texts = {0: [("news", "Orders went up."), ("report", "The forecast is raised.")]}
    played = trade_in(market_of(FLAT, texts), scripted(), replace(PLAIN, **{part: False}))
    assert [call.role for call in played.steps[0].calls] == asked


def test_agents_are_told_how_they_did():
    config = replace(PLAIN, risk_management=False, labels=LabelConfig(horizon=2))
    moves = [0.0, 0.0, 0.10, 0.10, 0.10, -0.40]
    played = trade_in(market_of(moves), scripted(), config)
    told = prompts(played, "forecast")
    assert all("right" not in prompt for prompt in told[:2])
    # At close 2 the forecast of close 0 is over: +10 % over two days.
    assert told[2].endswith("\nYour last 20 days: 1 right, 0 wrong.\nRight: up on no news 1 (+10.0 %)\nWrong: none")
    assert told[3].endswith("2 right, 0 wrong.\nRight: up on no news 2 (+15.5 %)\nWrong: none")
    # Bought at open 1, which is close 1: rewards are 0, then 10 % - 0.2 * 10 %.
    decided = prompts(played, "decision")
    assert "right" not in decided[0]
    assert decided[2].endswith(
        "1 right, 1 wrong.\nRight: buy on up forecast 1 (+8.0 %)\nWrong: buy on up forecast 1 (+0.0 %)"
    )
    assert prompts(played, "style")[2].endswith("1 right, 0 wrong.\nRight: balanced 1 (+10.0 %)\nWrong: none")


def test_only_the_last_days_are_told():
    config = replace(PLAIN, days=4, labels=LabelConfig(horizon=1))
    played = trade_in(market_of([0.02] * 12), scripted(), config)
    assert "Your last 4 days: 4 right, 0 wrong." in prompts(played, "forecast")[-1]


def test_without_reflection_nobody_is_told_anything():
    played = trade_in(market_of(FLAT), scripted(), replace(PLAIN, reflection=False))
    assert not [call for step in played.steps for call in step.calls if "Your last" in call.prompt]


def test_what_cannot_be_read_becomes_neutral_and_is_counted():
    mute = scripted(news="?", report="?", forecast="?", style="?", decision="?")
    texts = {0: [("news", "Orders went up."), ("report", "The forecast is raised.")]}
    days: list[Any] = []

    class Watched(TradingGroup):
        async def act(self, episode: Episode) -> Step:
            step = await super().act(episode)
            days.append(episode.notes[-1])
            return step

    played = trade_in(market_of(FLAT[:4], texts), mute, desk=Watched)
    assert [step.action for step in played.steps] == ["hold"] * 3
    assert len(days) == 3
    assert days[0].unread == ("news", "report", "forecast", "style", "decision")
    assert (days[0].sentiment, days[0].outlook, days[0].trend, days[0].style) == (
        "neutral",
        "neutral",
        "side",
        "balanced",
    )
    assert "up 33 down 33 side 33, trend side" in str(days[0])


def test_many_desks_at_once_are_each_alone():
    tasks = TradingEnv.tasks("train", 6, seed=3, bars=20)
    config = replace(PLAIN, temperature=1.0)
    together = collect(TradingEnv, [Job(task, TradingGroup(TradingExpert(), config), 1) for task in tasks])
    one_desk = TradingGroup(TradingExpert(), config)
    shared = collect(TradingEnv, [Job(task, one_desk, 1) for task in tasks])
    alone = [collect(TradingEnv, [Job(task, TradingGroup(TradingExpert(), config), 1)])[0] for task in tasks]
    assert together == shared == alone


def test_other_worlds_and_several_assets_are_refused():
    tasks = TradingEnv.tasks("train", 1, assets=2, bars=10)
    with pytest.raises(UsageError, match="the desk trades one asset"):
        collect(TradingEnv, [Job(task, TradingGroup(scripted()), 0) for task in tasks])


# -- No look-ahead ----------------------------------------------------------------------------------------------------


def with_another_future(market: Market, bar: int, seed: int) -> Market:
    """The same up to and with `bar`; then noise, and other texts."""
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
def test_no_prompt_knows_the_future(config, bar):
    """Whatever comes after bar t, all that anybody is asked, says and does up to t is the same to the letter."""
    market = simulate(SimulatorConfig(assets=1, bars=100), seed=bar)
    config = replace(config, temperature=1.0)
    true = trade_in(market, TradingExpert(), config)
    assert len(true.steps) == 39
    for seed in range(2):
        other = trade_in(with_another_future(market, 60 + bar, seed), TradingExpert(), config)
        assert other.steps[:bar] == true.steps[:bar]
        now, then = true.steps[bar], other.steps[bar]
        assert (then.calls, then.action, then.observation) == (now.calls, now.action, now.observation)
        if bar < 38:
            assert other.steps[bar + 1].calls != true.steps[bar + 1].calls
