"""Backtests, and the commands `improve` and `reproduce trading-group`, on tiny seeds and short windows."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from desks import market_of, scripted, trade_in
from kintsugi.agents.experts.trading import TradingExpert
from kintsugi.agents.experts.trading_rules import BOLLINGER, BUY_AND_HOLD, RULES, SMA_CROSS
from kintsugi.agents.models.local import LocalModel
from kintsugi.agents.rollout import Job, collect
from kintsugi.agents.trading_group import DeskConfig
from kintsugi.agents.trading_group.labels import LabelConfig
from kintsugi.agents.trajectory import Trajectory
from kintsugi.benchmarks.reproduce.core import trading_group as commands
from kintsugi.benchmarks.reproduce.core.trading_group import (
    COMPARISONS,
    CONTROL,
    DESKS,
    TRAINED,
    ImproveTradingGroup,
    ReproduceConfig,
    ReproduceTradingGroup,
    Windows,
)
from kintsugi.envs import Task
from kintsugi.envs.trading import Rules, TradingEnv
from kintsugi.envs.trading.episode import Episode
from kintsugi.envs.trading.features import HISTORY
from kintsugi.envs.trading.metrics import of_curve
from kintsugi.errors import InfraError, UsageError
from kintsugi.loops.learning.learner import FitConfig, LoraShape
from kintsugi.loops.measuring import backtests
from kintsugi.loops.measuring.backtests import figures, summarise
from kintsugi.loops.runs.store import RunStore
from kintsugi.loops.seeds import recipe as recipes
from kintsugi.loops.seeds.family import recipe_of
from kintsugi.loops.seeds.pretrain import Architecture, PretrainConfig
from kintsugi.loops.trading_group import SynthesisConfig
from rich.console import Console
from small_runs import make_task, make_trajectory


def earned(*moves: float, window: int = 0) -> Trajectory:
    """Held from the first open on: a backtest in a market that moves so after that."""
    market = market_of([0.0, 0.0, *moves])
    with pytest.MonkeyPatch.context() as patch:
        played = trade_in(market, scripted(), patch, replace(DeskConfig(max_tokens=1000), risk_management=False))
    return replace(played, task=replace(played.task, id=f"valid/{window}"))


@pytest.fixture
def replays(monkeypatch):
    """Backtests of `earned` are replayed in the markets that they were made in."""
    markets: dict[Task, Episode] = {}

    def held(*moves: float, window: int = 0) -> Trajectory:
        market, played = market_of([0.0, 0.0, *moves]), earned(*moves, window=window)
        markets[played.task] = Episode(market, HISTORY, len(market), Rules(commission=0.0, spread=0.0, lot=0.0))
        return played

    monkeypatch.setattr("kintsugi.envs.trading.env.episode_of", lambda task: markets[task])
    return held


def test_the_figures_of_a_backtest(replays):
    found = figures(replays(0.1, -0.2, 0.1))
    assert found.cumulative_return == pytest.approx(1.1 * 0.8 * 1.1 - 1)
    assert found.max_drawdown == pytest.approx(0.2)
    # All of the account at four of five closes, bought once.
    assert found.exposure == pytest.approx(0.8)
    assert found.turnover > 0


def test_a_broken_backtest_is_no_score(replays):
    with pytest.raises(InfraError, match="was cut off"):
        figures(replace(replays(0.1), outcome="infra_error"))


def test_differences_are_paired_by_window(monkeypatch):
    values = {"a": [0.01, 0.05, -0.1], "b": [0.03, 0.05, 0.0]}
    made = {name: [make_trajectory(make_task(n), False, model=name) for n in range(3)] for name in values}
    returns = {(name, t.task): v for name in values for t, v in zip(made[name], values[name], strict=True)}
    monkeypatch.setattr(
        backtests, "figures", lambda t: replace(of_curve(np.ones(3)), cumulative_return=returns[t.model, t.task])
    )
    seeds = {name: [each[:2], each[2:]] for name, each in made.items()}
    found = backtests.differ(seeds, "a", "b", "cumulative_return")
    assert found.difference.value == pytest.approx((0.02 + 0.0 + 0.1) / 3)
    assert found.by_seed == pytest.approx((0.01, 0.1))
    # Of the ways to flip three differences of which one is 0, half are at least as far from 0.
    assert found.p == 0.5
    with pytest.raises(UsageError, match="not tested on the same windows"):
        backtests.differ({**seeds, "b": [seeds["b"][0][::-1], seeds["b"][1]]}, "a", "b", "sharpe")


def test_a_summary_counts_what_could_not_be_read(replays):
    played = replays(0.01)
    calls = [replace(call, text="?") if call.role == "style" else call for call in played.steps[0].calls]
    broken = replace(played, steps=tuple(replace(step, calls=tuple(calls)) for step in played.steps))
    found = summarise("desk", [[broken]])
    assert found.unread == pytest.approx(1 / 3)
    assert found.refused == 0.0
    silent = replace(played, steps=tuple(replace(step, calls=()) for step in played.steps))
    assert summarise("rule", [[silent]]).unread == 0.0


def test_the_tables_fit_into_80_columns(replays):
    summary = summarise(CONTROL, [[replays(0.1, -0.2, 0.1)]])
    for table in (backtests.earnings_table([summary], "Backtests"), backtests.conduct_table([summary])):
        text = io.StringIO()
        Console(file=text, width=80).print(table)
        assert CONTROL in text.getvalue()
        assert not any(word.endswith("…") for word in text.getvalue().split())


# -- Rules ------------------------------------------------------------------------------------------------------------


def actions(rule, moves: list[float], monkeypatch) -> list[str]:
    market = market_of(moves)
    stretch = Episode(market, HISTORY, len(market), Rules())
    monkeypatch.setattr("kintsugi.envs.trading.env.episode_of", lambda task: stretch)
    [played] = collect(TradingEnv, [Job(Task("t", TradingEnv.env_id, "valid", 0, {}), rule, 0)])
    assert played.invalid_actions == 0
    return [step.action for step in played.steps]


def test_buy_and_hold_buys_once(monkeypatch):
    assert actions(BUY_AND_HOLD, [0.0, 0.1, -0.3, 0.1], monkeypatch) == ["target 1", "hold", "hold"]


def test_the_means_cross(monkeypatch):
    done = actions(SMA_CROSS, [0.02] * 15 + [-0.04] * 25, monkeypatch)
    bought, sold = done.index("target 1"), done.index("sell all")
    assert bought < 15 < sold
    assert set(done[bought + 1 : sold]) == {"hold"}


def test_the_bands(monkeypatch):
    done = actions(BOLLINGER, [0.0, -0.08, 0.0, 0.0, 0.0, 0.0, 0.2, 0.0], monkeypatch)
    assert done == ["hold", "target 1", "hold", "hold", "hold", "hold", "sell all"]


def test_buy_and_hold_is_the_worlds_own_benchmark():
    """Its score is 0.5: it ends with as much as the world says that buying and holding does."""
    tasks = TradingEnv.tasks("valid", 4, bars=30)
    for played in collect(TradingEnv, [Job(task, BUY_AND_HOLD, 0) for task in tasks]):
        assert played.score == pytest.approx(0.5, abs=1e-12)


# -- Commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trading_recipe():
    return replace(
        recipe_of("trading"),
        demonstrations=2,
        architecture=Architecture(16, 1, 2, 1, 32, 512),
        pretrain=PretrainConfig(tokens=20_000, batch_tokens=1000, warmup=2, context_weight=0.05),
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def small(monkeypatch, cache, trading_recipe):
    """Short windows, and a tiny seed. Untrained, the analyst speaks for it, so that there is something to keep."""
    load = LocalModel.load
    monkeypatch.setattr(commands, "made", lambda recipe, console: recipes.seed_model(recipe, cache=cache))
    monkeypatch.setattr(
        LocalModel,
        "load",
        lambda base, adapter=None, **more: load(base, adapter, **more) if adapter else TradingExpert(),
    )
    desk = DeskConfig(max_tokens=110, labels=LabelConfig(horizon=2))
    fit = FitConfig(lora=LoraShape(rank=2), epochs=1.0)
    past = replace(desk, temperature=1.0)
    loop = SynthesisConfig(env_params={"bars": "8"}, tasks=4, k=1, desk=past, keep=0.5, fit=fit)
    return {"loop": loop, "desk": desk, "held_out": Windows(env_params={"bars": "4"}, stocks=2)}


def said(command, config) -> str:
    text = io.StringIO()
    command(config, Console(file=text, width=200))
    return text.getvalue()


def test_reproduce_goes_on_where_it_was_and_ends_the_same(tmp_path, small, trading_recipe):
    what = ReproduceTradingGroup(recipe=trading_recipe, seeds=2, **small)
    config = ReproduceConfig(what, tmp_path / "run")
    first = said(commands.run, config)
    for name in (*(rule.name for rule in RULES), *DESKS, TRAINED, CONTROL):
        assert name in first
    for a, b in COMPARISONS:
        assert f"- {a}" in first
        assert b in first
    assert '"beta":0.2' in first
    with RunStore.read(tmp_path / "run") as store:
        stages = store.trajectory_stages()
        results = store.results()
    assert stages.count("eval/seed1/full + LoRA/valid_unseen") == 1
    assert len({store_task for seed in (0, 1) for store_task in what.held_out.task_set(seed)}) == 4
    assert results["trading_group/seed0/counts"]["windows"] == 4
    assert len(results["difference/0"]["by_seed"]) == 2
    again = said(commands.run, config)
    table = first[first.index("Backtests") :]
    assert again.endswith(table)


def test_improve_prints_both_desks_and_the_rules(tmp_path, small, trading_recipe, cache):
    folder = recipes.seed_model(trading_recipe, cache=cache)
    config = ImproveTradingGroup(model=str(folder), run=tmp_path / "run", **small)
    text = said(commands.improve, config)
    assert "desk + LoRA" in text
    assert "buy-and-hold" in text
    assert "adapter: " in text
    assert (tmp_path / "run" / "adapters" / "trading_group@1" / "adapter_config.json").exists()
    with RunStore.read(tmp_path / "run") as store:
        performance = store.results()["performance/desk"]
    assert np.isfinite(performance["means"]["sharpe"]["value"])


def test_held_out_windows_are_of_other_companies_than_the_past():
    past, held_out = SynthesisConfig().task_set(), Windows().task_set(0)
    assert {task.split for task in past} == {"train"}
    assert {task.split for task in held_out} == {"valid_unseen"}
    assert not {t.params["market"] for t in past} & {t.params["market"] for t in held_out}
