"""Tables for the terminal: every line of a score carries n, interval and TaskSet, also on a narrow screen."""

from __future__ import annotations

import io

from kintsugi.agents.trajectory import Trajectory
from kintsugi.envs.core import TaskSet
from kintsugi.loops.measuring.evaluation import compare, score
from kintsugi.loops.measuring.tables import comparison_table, how_measured, p_value, score_table, short, type_table
from rich.console import Console
from rich.table import Table
from small_runs import make_task, make_trajectory

TASKS = TaskSet(make_task(i) for i in range(12))


def printed(table: Table, width: int = 80) -> str:
    shown = io.StringIO()
    Console(file=shown, width=width).print(table)
    return shown.getvalue()


def attempts(successes: int, **fields: object) -> list[Trajectory]:
    return [make_trajectory(task, i < successes, **fields) for i, task in enumerate(TASKS)]


def test_every_score_line_has_n_interval_and_taskset():
    scores = [score(name, TASKS, attempts(n), seconds=3.2, decoding="free") for name, n in (("base", 3), ("[red]x", 9))]
    lines = printed(score_table(scores)).splitlines()
    for found in scores:
        [line] = [line for line in lines if found.name in line]
        for said in (f"{100 * found.success.low:.1f}…{100 * found.success.high:.1f}", " 12 ", TASKS.hash):
            assert said in line
    assert "decoding free; seeds 0; intervals by bootstrap" in printed(score_table(scores), 200)


def test_infra_errors_stand_apart():
    broken = [make_trajectory(task, False, outcome="infra_error") for task in TASKS.tasks[:2]]
    found = score("base", TASKS, [*broken, *attempts(6)[2:]])
    assert "+2 infra" in printed(score_table([found]))
    against = compare([*broken, *attempts(6)[2:]], attempts(8))
    assert "-2 infra" in printed(comparison_table([against]))


def test_types_and_comparisons():
    scores = [score(name, TASKS, attempts(n)) for name, n in (("base", 3), ("better", 9))]
    said = printed(type_table(scores))
    assert "clean" in said
    assert "n=4" in said
    said = printed(comparison_table([compare(attempts(3), attempts(9), names=("base", "better"))]))
    for expected in ("better", "- base", "+50.0", TASKS.hash, "exact McNemar"):
        assert expected in said
    assert printed(comparison_table([]))


def test_numbers_are_short_and_true():
    assert [short(n) for n in (999, 12_300, 4_500_000)] == ["999", "12.3 k", "4.5 M"]
    assert [p_value(p) for p in (0.5, 0.049, 0.0123, 0.0031, 0.00001)] == [
        "0.500",
        "0.049",
        "0.012",
        "0.0031",
        "< 0.0001",
    ]
    many = [score("base", TASKS, [t for seed in range(9) for t in attempts(3, seed=seed)])]
    assert "seeds 9 different ones" in how_measured(many)
