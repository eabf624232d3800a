"""What the demo says at its end."""

from __future__ import annotations

from dataclasses import replace

from kintsugi.benchmarks.reproduce.demo import Demo, conclude
from kintsugi.benchmarks.reproduce.seed_results import SeedResult
from kintsugi.loops.measuring.evaluation import Comparison

RESULT = SeedResult(
    seed=0,
    task_sets={"valid_unseen": "abc"},
    outcomes={"base": {"valid_unseen": "0" * 12}, "re-rest": {"valid_unseen": "1" * 9 + "0" * 3}},
    examples={},
    updates={},
    counts={},
)


def comparison(difference: float, p: float) -> Comparison:
    """Return a comparison of the base model with Re-ReST."""
    return Comparison(
        a="base", b="re-rest", taskset="abc", n=200, dropped=0, rate_a=0.5, rate_b=0.5 + difference,
        difference=difference, low=-0.1, high=0.3, level=0.95, only_a=10, only_b=20, p=p, test="exact McNemar",
    )  # fmt: skip


def test_a_run_that_shows_an_improvement_says_so():
    said = conclude([comparison(0.12, 0.0001)], [])
    assert said == (
        "Re-ReST solves 62.0 % of 200 tasks that no model was trained on, the base model 50.0 %: +12.0 points, "
        "p = 0.0001. This run shows an improvement."
    )


def test_a_run_that_shows_none_tells_what_others_showed():
    other = replace(RESULT, outcomes={**RESULT.outcomes, "re-rest": {"valid_unseen": "1" * 3 + "0" * 9}})
    said = conclude([comparison(0.05, 0.13)], [RESULT, other])
    assert "p = 0.130. This run alone does not show an improvement. Of 2 runs with other seeds, 1 showed one" in said
    assert said.endswith("the difference was +50.0 points on average, from +25.0 to +75.0.")
    assert "does not show" in conclude([comparison(-0.12, 0.0001)], [])


def test_nothing_is_said_without_the_pair():
    assert conclude([replace(comparison(0.1, 0.1), a="self-training")], [RESULT]) == ""
    assert Demo().conclusion([]) == ""
