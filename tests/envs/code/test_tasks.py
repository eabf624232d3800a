"""The generated code tasks, and the values that cross between a solution and its judge."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from kintsugi.envs.code import Call, Problem, tasks
from kintsugi.envs.code.family import STEPS, make_task, make_tasks
from kintsugi.envs.code.family.generator import SPLITS, apply_chain, is_well_typed, split_of, write_solution
from kintsugi.envs.code.family.steps import KIND_PHRASES
from kintsugi.envs.code.grader import Grader
from kintsugi.envs.code.sandbox import Limits, open_sandbox
from kintsugi.errors import UsageError
from sandboxes import CountingSandbox


def chain_of(task):
    return tuple((name, constant) for name, constant in task.params["steps"])


# -- the generated family ---------------------------------------------------------------------------------------------


def test_task_sets_have_fixed_hashes():
    """Scores are compared by these hashes, so a change of the family needs a new version of the environment."""
    assert {split: make_tasks(split, 100).hash for split in SPLITS} == {
        "train": "058ada3de72f",
        "valid": "04993a3a07fe",
        "valid_unseen": "41c982997cb6",
    }


def test_splits_share_no_function_and_valid_unseen_has_new_pairs():
    sets = {split: [chain_of(task) for task in make_tasks(split, 300)] for split in SPLITS}
    pairs = {
        split: {pair for chain in chains for pair in itertools.pairwise(name for name, _ in chain)}
        for split, chains in sets.items()
    }
    for one, other in itertools.combinations(SPLITS, 2):
        assert not set(sets[one]) & set(sets[other])
    assert all(split_of(chain) == split for split, chains in sets.items() for chain in chains)
    for chain in sets["valid_unseen"]:
        assert set(itertools.pairwise(name for name, _ in chain)) - pairs["train"] - pairs["valid"]


def test_tasks_have_all_levels_and_cycle_through_their_types():
    train, unseen = make_tasks("train", 24), make_tasks("valid_unseen", 18)
    assert sorted({task.params["type"] for task in train}) == sorted(
        f"{domain} {level}" for domain in ("numbers", "lists", "strings") for level in (1, 2, 3, 4)
    )
    assert {task.params["level"] for task in unseen} == {2, 3, 4}
    assert all(len(chain_of(task)) == task.params["level"] for task in train)


def test_leaving_out_a_step_fails_some_test():
    for task in make_tasks("train", 120):
        problem, chain = Problem.of(task), chain_of(task)
        calls = [*problem.visible, *problem.hidden]
        assert len(problem.visible) == 3
        assert len(problem.hidden) == 10
        assert [apply_chain(chain, *call.arguments) for call in calls] == [call.expected for call in calls]
        input_kind = STEPS[chain[0][0]].input_kind
        for left_out in range(len(chain)):
            shorter = chain[:left_out] + chain[left_out + 1 :]
            if is_well_typed(shorter, input_kind):
                assert any(apply_chain(shorter, *call.arguments) != call.expected for call in calls)


def test_seeds_change_tasks_and_larger_sets_contain_smaller_ones():
    assert make_task("train", 7) == make_task("train", 7)
    assert make_task("train", 7).params != make_task("train", 7, seed=1).params
    assert set(make_tasks("valid", 10)) < set(make_tasks("valid", 20))
    with pytest.raises(UsageError, match="unknown split of code tasks 'vaild'; did you mean 'valid'"):
        make_tasks("vaild")
    with pytest.raises(UsageError, match="cannot make -1"):
        make_tasks("valid", -1)


@pytest.fixture(scope="module")
def grader():
    with open_sandbox() as sandbox:
        yield Grader(sandbox, Limits(seconds=60, cpu_seconds=20))


@pytest.mark.requires("sandbox")
def test_steps_compute_the_same_as_their_python_code(grader):
    """Tests every step with every constant on values of its kind."""
    values: dict[str, list[Any]] = {
        "int": [0, 1, 7, -8, 40, 123],
        "ints": [[], [3], [3, -1, 3, 8, 20, -9, 2]],
        "str": ["", "a", "Fish and 2 oaks", "AaEe  x"],
        "words": [[], ["oak"], ["sun", "Rain", "sun", "apple", "x"]],
    }
    assert set(values) == set(KIND_PHRASES)
    problems = []
    for step in STEPS.values():
        for constant in step.constants:
            chain = ((step.name, constant),)
            given = values[step.input_kind]
            calls = tuple(Call((value,), step.apply(value, constant)) for value in given)
            problem = Problem("", "", "", "f", write_solution(chain), hidden=calls)
            problems.append(grader.run_hidden(problem, problem.solution).failures)
    assert not any(problems)


@pytest.mark.requires("sandbox")
def test_reference_solutions_run_three_times_before_a_task_is_used(grader):
    sandbox = CountingSandbox(grader.sandbox)
    counted = Grader(sandbox, grader.limits)
    batch = make_tasks("valid", 12).tasks
    assert tasks._verify_in_batches(counted, batch) == {task.id for task in batch}
    assert sandbox.runs == 3
    assert tasks.verify(counted, batch[0]) == tasks.Verified(batch[0])
    # Tests and solution are two programs, for the hidden and for the visible tests.
    assert sandbox.runs == 3 + 12


@pytest.mark.requires("sandbox")
def test_tasks_whose_reference_solution_fails_or_is_flaky_are_left_out(grader):
    good, bad, flaky = make_tasks("valid", 3).tasks

    def with_solution(task, solution):
        return type(task)(task.id, task.env_id, task.split, task.seed, {**task.params, "solution": solution})

    bad = with_solution(bad, "def f(x): return None")
    flaky = with_solution(
        flaky, f"import os\n{flaky.params['solution'].replace('return x', 'return x if os.urandom(1)[0] < 99 else 0')}"
    )
    assert tasks._verify_in_batches(grader, [good, bad, flaky]) == {good.id}
    with pytest.warns(
        UserWarning,
        match=r"2 of 3 code tasks are left out because their reference solution fails: steps/valid/1 \(run 1",
    ):
        assert tasks.verified(grader, [good, bad, flaky], {good.id}) == [good]
