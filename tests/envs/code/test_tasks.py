"""Sources of code tasks: the generated family and the published files."""

from __future__ import annotations

import gzip
import itertools
import json
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.envs.code import CodeEnv, Problem, published, tasks
from kintsugi.envs.code.family import STEPS, make_task, make_tasks
from kintsugi.envs.code.family.generator import SPLITS, apply_chain, is_well_typed, split_of, write_solution
from kintsugi.envs.code.family.steps import KIND_PHRASES
from kintsugi.envs.code.grader import Grader
from kintsugi.envs.code.guest.values import Opaque, decode, encode, parse_json
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
    problems, expected = [], []
    for step in STEPS.values():
        for constant in step.constants:
            chain = ((step.name, constant),)
            problem = Problem("", "", "", "f", write_solution(chain))
            answers, _ = grader._run_calls(
                [
                    {
                        "solution": problem.solution,
                        "given": "",
                        "entry": "f",
                        "calls": [encode([v]) for v in values[step.input_kind]],
                    }
                ]
            )
            problems.append([decode(answer["value"]) for answer in answers[1:]])
            expected.append([step.apply(value, constant) for value in values[step.input_kind]])
    assert problems == expected


@pytest.mark.requires("sandbox")
def test_reference_solutions_run_three_times_before_a_task_is_used(grader):
    sandbox = CountingSandbox(grader.sandbox)
    counted = Grader(sandbox, grader.limits)
    batch = make_tasks("valid", 12).tasks
    assert tasks._verify_in_batches(counted, batch) == {task.id for task in batch}
    assert sandbox.runs == 3
    assert tasks.verify(counted, batch[0]) == tasks.Verified(batch[0])
    assert sandbox.runs == 3 + 6


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


# -- the published files ----------------------------------------------------------------------------------------------

HUMANEVAL = {
    "task_id": "Toy/0",
    "prompt": "from typing import List\n\n\ndef half(v):\n    return v // 2\n\n\n"
    "def halves(xs: List[int]) -> List[int]:\n"
    '    """ Halve each.\n    >>> halves([2, 5])\n    [1, 2]\n    >>> print(halves([]))\n    []\n    """\n',
    "entry_point": "halves",
    "canonical_solution": "    return [half(x) for x in xs]\n",
    "test": "\n\nMETADATA = {}\n\n\ndef check(candidate):\n"
    "    assert candidate([4]) == [2]\n    assert candidate([half(8)]) == [2]\n",
}  # fmt: skip
MBPP: dict[str, Any] = {
    "task_id": 601,
    "text": "Write a function to add two numbers.",
    "code": "def plus(a, b):\r\n  return a + b",
    "test_list": ["assert plus(1, 2) == 3", "assert plus(0, 0) == 0", "assert math.isclose(plus(0.5, 0.5), 1)"],
    "test_setup_code": "import math",
    "challenge_test_list": ["assert plus(-1, 1) == 0"],
}


def write_rows(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_a_humaneval_line_becomes_a_problem(tmp_path):
    [task] = published.read("humaneval", write_rows(tmp_path / "h.jsonl", HUMANEVAL), "test").tasks
    problem = Problem.of(task)
    assert (task.id, task.split, problem.type, problem.entry) == ("Toy/0", "test", "humaneval", "halves")
    assert problem.visible_code == "assert halves([2, 5]) == [1, 2]"
    assert problem.given.endswith("return v // 2\n\n\n")
    assert "canonical" not in problem.prompt
    assert "return [half" not in problem.prompt


def test_an_mbpp_line_becomes_a_problem_of_its_split(tmp_path):
    path = write_rows(tmp_path / "m.jsonl", MBPP, {**MBPP, "task_id": 11}, {**MBPP, "task_id": 2000})
    read = published.read("mbpp", path, "train")
    assert [task.id for task in read.tasks] == ["mbpp/601"]
    assert read.bad_rows == (f"{path}:3: the field 'task_id' is 2000; expected 1 to 974",)
    problem = Problem.of(read.tasks[0])
    assert problem.entry == "plus"
    assert problem.visible_code == MBPP["test_list"][0]
    assert problem.hidden_code.count("assert") == 4
    sanitized = {
        "task_id": 602,
        "prompt": "Add.",
        "code": MBPP["code"],
        "test_imports": ["import math"],
        "test_list": MBPP["test_list"],
    }
    [task] = published.read("mbpp", write_rows(tmp_path / "s.jsonl", sanitized), "train").tasks
    assert Problem.of(task).setup == "import math"


def without(row, field):
    return {name: value for name, value in row.items() if name != field}


@pytest.mark.parametrize(
    ("source", "row", "why"),
    [
        ("humaneval", '{"task_id": ', "the line is not valid JSON"),
        ("humaneval", "[1]", "the line is of type list; expected a JSON object"),
        ("humaneval", "[" * 100000, "the line is not valid JSON"),
        ("humaneval", without(HUMANEVAL, "test"), "the field 'test' is missing"),
        ("humaneval", {**HUMANEVAL, "prompt": 3}, "the field 'prompt' is of type int; expected a string"),
        ("humaneval", {**HUMANEVAL, "prompt": "def ("}, "the field 'prompt' is not valid Python"),
        ("humaneval", {**HUMANEVAL, "test": "x = ("}, "the field 'test' is not valid Python"),
        (
            "humaneval",
            {**HUMANEVAL, "entry_point": "thirds"},
            "the field 'prompt' does not define the function 'thirds'",
        ),
        ("humaneval", HUMANEVAL, "the task id 'Toy/0' occurs twice"),
        ("mbpp", without(MBPP, "task_id"), "the field 'task_id' is missing"),
        ("mbpp", {**MBPP, "task_id": "x"}, "the field 'task_id' is 'x'; expected 1 to 974"),
        ("mbpp", without(MBPP, "test_list"), "the field 'test_list' is missing"),
        ("mbpp", {**MBPP, "test_list": [1]}, "the field 'test_list' is '[1]'; expected a list of strings"),
        ("mbpp", {**MBPP, "test_list": [], "challenge_test_list": []}, "the field 'test_list' is empty"),
        ("mbpp", {**MBPP, "code": "def ("}, "the field 'code' is not valid Python"),
        ("mbpp", {**MBPP, "code": "x = 1"}, "the tests call no function that the field 'code' defines"),
    ],
)
def test_a_bad_line_is_reported_and_the_other_lines_are_loaded(tmp_path, source, row, why):
    good = HUMANEVAL if source == "humaneval" else MBPP
    path = write_rows(tmp_path / "x.jsonl", good, row)
    read = published.read(source, path, "test" if source == "humaneval" else "train")
    assert len(read.tasks) == 1
    [problem] = read.bad_rows
    assert problem.startswith(f"{path}:2: {why}")


@pytest.mark.requires("sandbox")
def test_published_tasks_are_verified_and_bad_ones_give_warnings(tmp_path):
    bad = {**HUMANEVAL, "task_id": "Toy/1", "canonical_solution": "    return xs\n"}
    path = tmp_path / "h.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write("\n".join([json.dumps(HUMANEVAL), "broken", json.dumps(bad)]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = CodeEnv.tasks("test", source="humaneval", path=str(path))
        assert CodeEnv.tasks("test", 1, source="humaneval", path=str(path)) == found
    assert [task.id for task in found] == ["Toy/0"]
    assert len(caught) == 3  # One about rows and one about solutions, and that one again for the set of one task.
    text = "\n".join(str(warning.message) for warning in caught)
    assert f"{path}:2: the line is not valid JSON" in text
    assert "1 of 2 code tasks are left out because their reference solution fails: Toy/1 (run 1 of 3: " in text
    assert len(CodeEnv.tasks("train", source="mbpp", path=str(write_rows(tmp_path / "m.jsonl", MBPP)))) == 1


@pytest.mark.requires("sandbox")
def test_unknown_sources_and_missing_files_raise_usage_error(tmp_path):
    with pytest.raises(UsageError, match="unknown source of code tasks 'humanevil'; did you mean 'humaneval'"):
        CodeEnv.tasks("test", source="humanevil", path="x")
    with pytest.raises(UsageError, match="pass its location as path=FILE"):
        CodeEnv.tasks("test", source="humaneval")
    with pytest.raises(UsageError, match=r"cannot read code tasks from /nowhere\.jsonl"):
        CodeEnv.tasks("test", source="humaneval", path="/nowhere.jsonl")
    with pytest.raises(UsageError, match="unknown split 'train' of humaneval"):
        CodeEnv.tasks("train", source="humaneval", path=str(write_rows(tmp_path / "h.jsonl", HUMANEVAL)))
    with pytest.raises(UsageError, match="source 'steps' generates its tasks"):
        CodeEnv.tasks("train", path="x")


# -- values -----------------------------------------------------------------------------------------------------------

leaves = [st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()]
keys = st.text() | st.integers() | st.tuples(st.integers())
plain = st.recursive(
    st.one_of(*leaves, st.complex_numbers(allow_nan=False)),
    lambda inner: st.one_of(
        st.lists(inner), st.tuples(inner, inner), st.dictionaries(keys, inner), st.sets(keys), st.frozensets(st.text())
    ),
    max_leaves=12,
)


@given(plain)
def test_plain_values_are_encoded_and_decoded_unchanged(value):
    back = decode(parse_json(json.dumps(encode(value))))
    assert repr(back) == repr(value) or back == value
    assert type(back) is type(value)


def test_other_objects_equal_nothing_after_decoding():
    class EqualToAll(list[int]):
        def __eq__(self, other):
            return True

    assert decode(encode(EqualToAll([1]))) == [1]
    assert type(decode(encode(EqualToAll([1])))) is list
    opaque = decode(encode(object()))
    assert isinstance(opaque, Opaque)
    assert opaque != opaque
    deep: list[object] = []
    for _ in range(200):
        deep = [deep]
    assert "..." in repr(decode(encode(deep)))


@pytest.mark.parametrize(
    "data",
    [{"x": 1}, {"!": "set", "v": [[1]]}, {"!": "int", "v": 3}, {"!": "bytes", "v": "zz"}, {"!": "dict", "v": [1]}],
)
def test_forged_data_is_refused(data):
    with pytest.raises(ValueError, match="not a value"):
        decode(data)


def test_deeply_nested_json_is_refused():
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 100000)
