"""What backtests earned, who earned more, and the tables of it."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from fake_desks import market_of, scripted, trade_in, trading_in
from kintsugi.agents.trading_group import DeskConfig
from kintsugi.envs.trading.metrics import of_curve
from kintsugi.errors import InfraError, UsageError
from kintsugi.loops.measuring.backtests import Backtest, backtests, conduct_table, differ, earnings_table, summarise
from rich.console import Console
from small_runs import make_task, make_trajectory

BOLD = DeskConfig(max_tokens=1000, risk_management=False)


def earned(*moves: float) -> Backtest:
    """Held from the first open on: a backtest in a market that moves so after that."""
    market = market_of([0.0, 0.0, *moves])
    [found] = backtests([trade_in(market, scripted(), BOLD)], trading_in(market))
    return found


def test_the_figures_of_a_backtest():
    found = earned(0.1, -0.2, 0.1).earned
    assert found.cumulative_return == pytest.approx(1.1 * 0.8 * 1.1 - 1)
    assert found.max_drawdown == pytest.approx(0.2)
    # All of the account at four of five closes, bought once.
    assert found.exposure == pytest.approx(0.8)
    assert found.turnover > 0


def test_a_broken_backtest_is_no_score():
    market = market_of([0.0, 0.0, 0.1])
    played = replace(trade_in(market, scripted(), BOLD), outcome="infra_error")
    with pytest.raises(InfraError, match="was cut off"):
        backtests([played], trading_in(market))


def test_differences_are_paired_by_window():
    values = {"a": [0.01, 0.05, -0.1], "b": [0.03, 0.05, 0.0]}
    flat = of_curve(np.ones(3))
    made = {
        name: [
            Backtest(make_trajectory(make_task(n), False), replace(flat, cumulative_return=value))
            for n, value in enumerate(found)
        ]
        for name, found in values.items()
    }
    seeds = {name: [each[:2], each[2:]] for name, each in made.items()}
    found = differ(seeds, "a", "b", "cumulative_return")
    assert found.difference.value == pytest.approx((0.02 + 0.0 + 0.1) / 3)
    assert found.by_seed == pytest.approx((0.01, 0.1))
    # Of the ways to flip three differences of which one is 0, half are at least as far from 0.
    assert found.p == 0.5
    with pytest.raises(UsageError, match="not tested on the same windows"):
        differ({**seeds, "b": [seeds["b"][0][::-1], seeds["b"][1]]}, "a", "b", "sharpe")


def test_a_summary_counts_what_could_not_be_read():
    found = earned(0.01)
    calls = [replace(call, text="?") if call.role == "style" else call for call in found.played.steps[0].calls]
    steps = found.played.steps
    broken = replace(found.played, steps=tuple(replace(step, calls=tuple(calls)) for step in steps))
    summary = summarise("desk", [[replace(found, played=broken)]])
    assert summary.unread == pytest.approx(1 / 3)
    assert summary.refused == 0.0
    silent = replace(found.played, steps=tuple(replace(step, calls=()) for step in steps))
    assert summarise("rule", [[replace(found, played=silent)]]).unread == 0.0


def test_the_tables_fit_into_80_columns():
    name = "full + LoRA, any calls"
    summary = summarise(name, [[earned(0.1, -0.2, 0.1)]])
    for table in (earnings_table([summary], "Backtests"), conduct_table([summary])):
        text = io.StringIO()
        Console(file=text, width=80).print(table)
        assert name in text.getvalue()
        assert not any(word.endswith("…") for word in text.getvalue().split())
