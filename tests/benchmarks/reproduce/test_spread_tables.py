"""Tables of what makes a result vary, with values computed by hand."""

from __future__ import annotations

import math

import pytest
from kintsugi.benchmarks.reproduce.re_rest import AGAIN
from kintsugi.benchmarks.reproduce.seed_results import SeedResult
from kintsugi.benchmarks.reproduce.spread_tables import render_settings, render_variance
from kintsugi.errors import UsageError

PAIR = ("base", "re-rest")


def result(seed: int, *solved: int, tasks: str = "abc") -> SeedResult:
    """Return a result on 100 tasks: how many the base, Re-ReST and its further draws solved."""
    names = (*PAIR, *AGAIN)[: len(solved)]
    outcomes = {name: {"valid": "1" * n + "0" * (100 - n)} for name, n in zip(names, solved, strict=True)}
    return SeedResult(seed=seed, task_sets={"valid": tasks}, outcomes=outcomes, examples={}, updates={}, counts={})


def test_settings_are_compared_seed_by_seed():
    settings = {
        "one": [result(0, 50, 60), result(1, 40, 60), result(2, 1, 2)],
        "two": [result(1, 42, 58), result(0, 50, 64)],
    }
    lines = render_settings(settings, PAIR, "valid").splitlines()
    assert lines[0] == "| seed (valid): base → re-rest | one | two |"
    assert lines[2:5] == [
        "| 0 | 50.0 % → 60.0 %, +10.0 | 50.0 % → 64.0 %, +14.0 |",
        "| 1 | 40.0 % → 60.0 %, +20.0 | 42.0 % → 58.0 %, +16.0 |",
        "| mean | +15.0 | +15.0 |",
    ]
    # The variance of 10 and 14 is 8, and that of 20 and 16 as well.
    assert lines[-1] == f"Standard deviation between settings of one seed: {math.sqrt(8):.1f} points."


def test_settings_without_a_common_seed_or_with_other_tasks_are_refused():
    with pytest.raises(UsageError, match="no seed has a result in each of the settings one, two"):
        render_settings({"one": [result(0, 5, 6)], "two": [result(1, 5, 6)]}, PAIR, "valid")
    with pytest.raises(UsageError, match="different tasks"):
        render_settings({"one": [result(0, 5, 6)], "two": [result(0, 5, 6, tasks="xyz")]}, PAIR, "valid")


def test_variance_is_attributed_to_the_parts_of_a_run():
    """Gains of seed 0: 10, 12, 8; of seed 1: 20, 18, 24 points."""
    lines = render_variance([result(0, 50, 60, 62, 58), result(1, 40, 60, 58, 64)], PAIR, "valid").splitlines()
    shown = [line.split(" | ")[1].rstrip(" |") for line in lines[2:]]
    training = (4 / 2 + 4 / 2) / 2
    one_policy = ((4 + 16) / 4 + (16 + 36) / 4) / 2
    everything = 50.0
    expected = [everything - one_policy, one_policy - training, training, everything]
    assert shown[:4] == [f"{math.sqrt(variance):.1f}" for variance in expected]
    # The variance of 100 tasks of which 10 (or 20) differ by 1, divided by 100.
    per_task = [(share - share**2) * 100 / 99 / 100 for share in (0.1, 0.2)]
    assert shown[4] == f"{100 * math.sqrt(sum(per_task) / 2):.1f}"


def test_an_estimate_below_zero_is_zero():
    lines = render_variance([result(0, 50, 60, 50, 60), result(1, 50, 60, 70, 60)], PAIR, "valid").splitlines()
    assert lines[2].endswith("| 0.0 |")


def test_one_seed_has_no_variance():
    with pytest.raises(UsageError, match="1 seeds were drawn again; expected at least 2"):
        render_variance([result(0, 1, 2, 3, 4), result(1, 1, 2)], PAIR, "valid")
