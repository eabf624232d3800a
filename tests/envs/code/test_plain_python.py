"""The grader's verdict is the verdict of one plain Python process that holds the solution and its tests.

The same checks on all published tasks: `python tests/support/judge_checks.py mutants --out FILE`, and `dressings`.
"""

from __future__ import annotations

import ast

import pytest
from dressings import CLAIMS, DRESSINGS, claiming, dressed
from judge_checks import check_dressings, check_mutants, passes
from kintsugi.envs.code import Problem
from kintsugi.envs.code.sandbox import open_sandbox
from mutants import mutants
from own_problems import own_problems
from plain_python import plain_verdicts, program_parts

PROBLEMS = own_problems()
pytestmark = pytest.mark.requires("sandbox")


@pytest.fixture(scope="module")
def sandbox():
    with open_sandbox() as opened:
        yield opened


# -- the tools --------------------------------------------------------------------------------------------------------


def test_plain_python_passes_what_ends_without_an_exception(sandbox):
    problem = PROBLEMS["evens"]
    solutions = {
        problem.solution: "passed",
        "def evens(n): return list(range(0, n + 1, 2))": "passed",
        "def evens(n): return [0, 2, 4]": "failed",
        "def evens(n): raise SystemExit(0)": "failed",
        "import os\ndef evens(n): os._exit(0)": "failed",
        "def evens(n):\n    while True: pass": "timeout",
        "def evens(": "failed",
        "def odds(n): return []": "failed",
    }
    found = plain_verdicts(sandbox, problem, list(solutions), cpu_seconds=1)
    assert [each.status for each in found] == list(solutions.values())


def test_setup_that_defines_the_solution_runs_before_it_and_other_setup_after(sandbox):
    assert program_parts(PROBLEMS["half"], "S")[0] == PROBLEMS["half"].setup
    assert program_parts(PROBLEMS["depth"], "S")[:2] == ["S", PROBLEMS["depth"].setup]
    assert all(plain_verdicts(sandbox, each, [each.solution])[0].passed for each in PROBLEMS.values())


def test_mutants_differ_from_the_program_and_from_each_other():
    source = PROBLEMS["histogram"].solution
    found = mutants(source)
    assert len(found) > 40
    assert len({each.source for each in found} | {ast.unparse(ast.parse(source))}) == len(found) + 1
    changes = " ".join(each.change for each in found)
    for kind in ("Add becomes Sub", "condition negated", "1 becomes 2", "removed", "arguments swapped", "returns None"):
        assert kind in changes
    assert mutants(source, 5) == mutants(source, 5)
    assert set(mutants(source, 5)) < set(found)
    assert mutants(source, spare=["histogram"]) == []


def test_a_dressing_changes_the_result_and_counts_it(sandbox):
    problem, names = (
        PROBLEMS["evens"],
        ("result: deque", "result: list subclass", "result: date", "change: first argument grown"),
    )
    found = plain_verdicts(sandbox, problem, [dressed(problem.solution, problem.entry, name) for name in names])
    assert [(each.status, each.applied) for each in found] == [
        ("failed", 1),
        ("passed", 3),
        ("passed", 0),
        ("passed", 3),
    ]
    recursive = PROBLEMS["depth"]
    text = dressed(recursive.solution, recursive.entry, "result: user string")
    assert plain_verdicts(sandbox, recursive, [text])[0].applied == 0


# -- the grader -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_reference_solution_passes(sandbox, name):
    assert passes(sandbox, PROBLEMS[name], PROBLEMS[name].solution)


@pytest.mark.parametrize("name", PROBLEMS)
def test_no_mutant_that_fails_in_plain_python_passes(sandbox, name):
    found = check_mutants(sandbox, PROBLEMS[name], count=25)
    assert found["graded"] > 5
    assert found["wrong"] == []


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_right_answer_in_any_dressing_gets_plain_pythons_verdict(sandbox, name):
    found = check_dressings(sandbox, PROBLEMS[name])
    assert found["graded"] > 20
    assert found["wrong"] == []


def test_dressed_answers_include_some_that_pass_and_some_that_fail(sandbox):
    found = check_dressings(sandbox, PROBLEMS["evens"])
    assert 10 < found["passed"] < found["graded"] - 10
    assert found["made"] == len(DRESSINGS)


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("name", ["evens", "is_sorted", "histogram", "upto"])
def test_an_object_that_claims_to_equal_everything_does_not_pass(sandbox, name, claim):
    """Plain Python believes such an object. This is the one intended difference."""
    problem: Problem = PROBLEMS[name]
    assert not passes(sandbox, problem, claiming(problem.entry, claim))
