"""Tables for the terminal: every row has n, interval and task set, also at 80 columns."""

from __future__ import annotations

import io

from kintsugi.agents.trajectory import AgentSpec, Trajectory
from kintsugi.envs.core import TaskSet
from kintsugi.loops.measuring.evaluation import compare, score
from kintsugi.loops.measuring.gain import metric_gain
from kintsugi.loops.measuring.gate import Verdict
from kintsugi.loops.measuring.tables import (
    comparison_table,
    evaluation_note,
    p_value,
    percentage_points,
    score_table,
    short_count,
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


def test_every_score_row_has_n_interval_and_task_set():
    scores = [score(name, TASKS, attempts(n), seconds=3.2, decoding="free") for name, n in (("base", 3), ("[red]x", 9))]
    lines = printed(score_table(scores)).splitlines()
    for found in scores:
        [line] = [line for line in lines if found.name in line]
        for output in (f"{100 * found.success.low:.1f}…{100 * found.success.high:.1f}", " 12 ", TASKS.hash):
            assert output in line
    assert "decoding free; seeds 0; intervals over tasks" in printed(score_table(scores), 200)


def test_answers_at_the_token_limit_are_shown():
    made_by = AgentSpec("react", {"max_tokens": 2})
    made = attempts(3, made_by=made_by)
    found = score("base", TASKS, made)
    assert found.cut_answers == sum(attempt.cut_answers for attempt in made) > 0
    assert f"answers at the token limit {found.cut_answers};" in printed(score_table([found]), 200)
    assert "token limit" not in printed(score_table([score("base", TASKS, attempts(3))]), 200)


def test_infra_failures_are_shown_apart():
    broken = [make_trajectory(task, False, outcome="infra_error") for task in TASKS.tasks[:2]]
    found = score("base", TASKS, [*broken, *attempts(6)[2:]])
    assert "+2 infra" in printed(score_table([found]))
    against = compare([*broken, *attempts(6)[2:]], attempts(8))
    assert "-2 infra" in printed(comparison_table([against]))


def test_type_table_and_comparison_table():
    scores = [score(name, TASKS, attempts(n)) for name, n in (("base", 3), ("better", 9))]
    output = printed(type_table(scores))
    assert "clean" in output
    assert "n=4" in output
    output = printed(comparison_table([compare(attempts(3), attempts(9), names=("base", "better"))]))
    for expected in ("better", "- base", "+50.0", TASKS.hash, "exact McNemar"):
        assert expected in output
    assert printed(comparison_table([]))


def test_number_formats():
    assert [short_count(n) for n in (999, 12_300, 4_500_000)] == ["999", "12.3 k", "4.5 M"]
    assert [p_value(p) for p in (0.5, 0.049, 0.0123, 0.0031, 0.00001)] == [
        "0.500",
        "0.049",
        "0.012",
        "0.0031",
        "< 0.0001",
    ]
    many = [score("base", TASKS, [t for seed in range(9) for t in attempts(3, seed=seed)])]
    assert "seeds 9 different" in evaluation_note(many)


def test_small_differences_do_not_look_like_ties():
    found = [percentage_points(d) for d in (0.0, 0.25, -0.0313, 0.0004, -0.00002, 0.0006)]
    assert found == ["+0.0", "+25.0", "-3.1", "+0.04", "-0.002", "+0.1"]


def test_verdict_table_has_opponent_gain_and_decision():
    infra = [make_trajectory(TASKS.tasks[0], False, outcome="infra_error"), *attempts(9)[1:]]
    better = metric_gain(attempts(3), infra, Echo, names=("base", "agent_r@1"))
    worse = metric_gain(attempts(9), attempts(3), Echo, names=("agent_r@1", "agent_r@2"))
    rounds = {
        Stage("verdict", "agent_r", "valid_seen", 1, "seed0"): Verdict(better, True),
        Stage("verdict", "agent_r", "valid_seen", 2, "seed0"): Verdict(worse, False),
    }
    output = printed(verdict_table(rounds), 160)
    [first] = [line for line in output.splitlines() if "seed0 agent_r@1" in line]
    [second] = [line for line in output.splitlines() if "seed0 agent_r@2" in line]
    for expected in (" base ", f"{100 * better.mean:+.1f}", f"{better.n}", " adopted", TASKS.hash):
        assert expected in first
    for expected in (" agent_r@1 ", "-50.0", "not adopted", TASKS.hash):
        assert expected in second
    assert "-1 infra" in output
    assert "raw: difference in success in percentage points, paired by task" in output


def test_evaluation_note_has_repeatability_if_known():
    again, once, unknown = (score("base", TASKS, attempts(3), repeatable=each) for each in (True, False, None))
    assert "repeatable yes" in evaluation_note([again, unknown])
    assert "repeatable no, yes" in evaluation_note([again, once])
    assert "repeatable" not in evaluation_note([unknown])
