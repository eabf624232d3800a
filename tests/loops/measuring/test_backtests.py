"""Metrics of backtests, paired comparisons, and tables."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from fake_desks import market_of, run_desk, scripted, trading_env
from kintsugi.agents.trading_group import DeskConfig
from kintsugi.envs.trading.metrics import curve_metrics
from kintsugi.errors import InfraError, UsageError
from kintsugi.loops.measuring.backtests import (
    MeasuredBacktest,
    activity_table,
    compare_backtests,
    earnings_table,
    measure_backtests,
    summarise,
)
from rich.console import Console
from small_runs import make_task, make_trajectory

BOLD = DeskConfig(max_tokens=1000, risk_management=False)


def measured(*returns: float) -> MeasuredBacktest:
    """Return the backtest of holding from the first open on, in a market with these returns afterwards."""
    market = market_of([0.0, 0.0, *returns])
    [found] = measure_backtests([run_desk(market, scripted(), BOLD)], trading_env(market))
    return found


def test_metrics_of_a_backtest():
    found = measured(0.1, -0.2, 0.1).metrics
    assert found.cumulative_return == pytest.approx(1.1 * 0.8 * 1.1 - 1)
    assert found.max_drawdown == pytest.approx(0.2)
    # Fully invested at four of five closes.
    assert found.exposure == pytest.approx(0.8)
    assert found.turnover > 0


def test_infrastructure_failure_raises():
    market = market_of([0.0, 0.0, 0.1])
    attempt = replace(run_desk(market, scripted(), BOLD), outcome="infra_error")
    with pytest.raises(InfraError, match="ended with an infrastructure failure"):
        measure_backtests([attempt], trading_env(market))


def test_differences_are_paired_by_window():
    values = {"a": [0.01, 0.05, -0.1], "b": [0.03, 0.05, 0.0]}
    flat = curve_metrics(np.ones(3))
    made = {
        name: [
            MeasuredBacktest(make_trajectory(make_task(n), False), replace(flat, cumulative_return=value))
            for n, value in enumerate(found)
        ]
        for name, found in values.items()
    }
    seeds = {name: [each[:2], each[2:]] for name, each in made.items()}
    found = compare_backtests(seeds, "a", "b", "cumulative_return")
    assert found.difference.value == pytest.approx((0.02 + 0.0 + 0.1) / 3)
    assert found.by_seed == pytest.approx((0.01, 0.1))
    # One of three differences is 0, so half of all sign flips give a mean at least as far from 0.
    assert found.p == 0.5
    with pytest.raises(UsageError, match="not tested on the same windows"):
        compare_backtests({**seeds, "b": [seeds["b"][0][::-1], seeds["b"][1]]}, "a", "b", "sharpe")


def test_summary_counts_unparsable_answers():
    found = measured(0.01)
    calls = [replace(call, text="?") if call.role == "style" else call for call in found.attempt.steps[0].calls]
    steps = found.attempt.steps
    broken = replace(found.attempt, steps=tuple(replace(step, calls=tuple(calls)) for step in steps))
    summary = summarise("desk", [[replace(found, attempt=broken)]])
    assert summary.unread == pytest.approx(1 / 3)
    assert summary.refused == 0.0
    silent = replace(found.attempt, steps=tuple(replace(step, calls=()) for step in steps))
    assert summarise("rule", [[replace(found, attempt=silent)]]).unread == 0.0


def test_tables_fit_into_80_columns():
    name = "full + LoRA, any calls"
    summary = summarise(name, [[measured(0.1, -0.2, 0.1)]])
    for table in (earnings_table([summary], "Backtests"), activity_table([summary])):
        text = io.StringIO()
        Console(file=text, width=80).print(table)
        assert name in text.getvalue()
        assert not any(word.endswith("…") for word in text.getvalue().split())
