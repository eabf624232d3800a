"""Tables for the terminal: every line of a score carries n, interval and TaskSet, also on a narrow screen."""

from __future__ import annotations

import io

from kintsugi.agents.trajectory import Trajectory
from kintsugi.envs.core import TaskSet
from kintsugi.loops.measuring.evaluation import compare, score
from kintsugi.loops.measuring.gain import gain
from kintsugi.loops.measuring.gate import Verdict
from kintsugi.loops.measuring.tables import (
    comparison_table,
    how_measured,
    p_value,
    points,
    score_table,
    short,
    type_table,
    verdict_table,
)
from kintsugi.loops.runs.stages import Stage
from rich.console import Console
from rich.table import Table
from small_runs import make_task, make_trajectory
from tiny_envs import Echo

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


def test_a_small_difference_does_not_look_like_a_tie():
    found = [points(d) for d in (0.0, 0.25, -0.0313, 0.0004, -0.00002, 0.0006)]
    assert found == ["+0.0", "+25.0", "-3.1", "+0.04", "-0.002", "+0.1"]


def test_verdicts_say_against_whom_by_how_much_and_what_came_of_it():
    infra = [make_trajectory(TASKS.tasks[0], False, outcome="infra_error"), *attempts(9)[1:]]
    better = gain(attempts(3), infra, Echo, names=("base", "agent_r@1"))
    worse = gain(attempts(9), attempts(3), Echo, names=("agent_r@1", "agent_r@2"))
    rounds = {
        Stage("verdict", "agent_r", "valid_seen", 1, "seed0"): Verdict(better, True),
        Stage("verdict", "agent_r", "valid_seen", 2, "seed0"): Verdict(worse, False),
    }
    said = printed(verdict_table(rounds), 160)
    [first] = [line for line in said.splitlines() if "seed0 agent_r@1" in line]
    [second] = [line for line in said.splitlines() if "seed0 agent_r@2" in line]
    for expected in (" base ", f"{100 * better.mean:+.1f}", f"{better.n}", " adopted", TASKS.hash):
        assert expected in first
    for expected in (" agent_r@1 ", "-50.0", "not adopted", TASKS.hash):
        assert expected in second
    assert "-1 infra" in said
    assert "raw: difference of success in percentage points, paired by task" in said


def test_whether_a_score_can_be_had_again_is_said_where_it_is_known():
    again, once, unknown = (score("base", TASKS, attempts(3), repeatable=each) for each in (True, False, None))
    assert "repeatable yes" in how_measured([again, unknown])
    assert "repeatable no, yes" in how_measured([again, once])
    assert "repeatable" not in how_measured([unknown])
