"""Timing of verdicts: with this package and with another checkout, in processes of their own."""

from __future__ import annotations

from pathlib import Path

import kintsugi
import pytest
from kintsugi.benchmarks.speed.verdicts import PROBLEM, check_package, measure_verdicts
from kintsugi.envs.code import Problem
from kintsugi.errors import InfraError, UsageError

ROOT = Path(kintsugi.__file__).parent


@pytest.mark.requires("sandbox")
def test_packages_are_timed_in_turn():
    times = measure_verdicts({"this": ROOT, "same": ROOT}, ("auto",), rounds=2, per_round=3)
    assert {key: len(each) for key, each in times.items()} == {("auto", "this"): 6, ("auto", "same"): 6}
    assert all(each > 0 for each in times["auto", "this"])


def test_another_folder_is_no_checkout(tmp_path):
    with pytest.raises(UsageError, match="is not a checkout of kintsugi"):
        check_package(tmp_path)


def test_a_process_that_cannot_time_is_an_infrastructure_failure(tmp_path):
    (tmp_path / "envs" / "code").mkdir(parents=True)
    (tmp_path / "envs" / "code" / "grader.py").write_text("")
    with pytest.raises(InfraError, match="ended with exit code 1"):
        measure_verdicts({"broken": tmp_path}, ("auto",), rounds=1, per_round=1)


def test_the_task_has_seven_assertions():
    problem = Problem(**PROBLEM)
    assert problem.hidden_code.count("assert ") == 7
