"""References to evaluations, and `kintsugi compare`."""

from __future__ import annotations

import pytest
from kintsugi.cli.compare import CompareConfig, compare_references
from kintsugi.errors import UsageError
from kintsugi.loops.measuring.references import read_evaluation


def test_references(run):
    one = read_evaluation(f"{run}/eval/seed0/base/valid_seen")
    assert (one.name, len(one.pooled)) == ("seed0/base/valid_seen", 12)
    both = read_evaluation(f"{run}/base/valid_seen")
    assert (both.name, len(both.pooled)) == ("base/valid_seen", 24)
    assert read_evaluation(f"{run}/re-rest").name == "re-rest/valid_seen"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("base", "matches several evaluations: base/valid_seen, base/valid_unseen; append one"),
        ("", "matches several evaluations: base/valid_seen, base/valid_unseen, re-rest/valid_seen"),
        ("re-tset/valid_seen", "did you mean 're-rest/valid_seen'"),
        ("../elsewhere", "is not in the folder of a run"),
    ],
)
def test_unknown_and_ambiguous_references_are_refused(run, reference, expected):
    with pytest.raises(UsageError, match=expected):
        read_evaluation(f"{run}/{reference}")


def test_comparison_and_scores_have_their_settings(run):
    found, a, b = compare_references(CompareConfig(f"{run}/base/valid_seen", f"{run}/re-rest"))
    assert (found.a, found.b, found.n, found.difference) == ("base", "re-rest", 24, 0.5)
    assert (a.success.value, b.success.value) == (0.25, 0.75)
    assert (a.taskset, a.decoding, a.step_limit, a.seconds) == (found.taskset, "free", 3, 5.0)
    seeds = [f"{run}/eval/seed{seed}/base/valid_seen" for seed in (0, 1)]
    by_seed, *_ = compare_references(CompareConfig(*seeds))
    assert (by_seed.a, by_seed.b, by_seed.p) == ("seed0/base", "seed1/base", 1.0)


def test_different_tasks_are_refused(run):
    with pytest.raises(UsageError, match="which share 0"):
        compare_references(CompareConfig(f"{run}/base/valid_seen", f"{run}/base/valid_unseen"))
