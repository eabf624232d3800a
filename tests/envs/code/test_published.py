"""The published files of HumanEval and MBPP: what is a task, what is left out, and what is said about it."""

from __future__ import annotations

import gzip
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from kintsugi.envs.code import CodeEnv, Problem, published, tasks
from kintsugi.envs.code.family import make_task
from kintsugi.envs.code.grader import Grader, Verdict
from kintsugi.envs.code.sandbox import Limits, Result, open_sandbox
from kintsugi.errors import InfraError, UsageError
from sandboxes import ScriptedSandbox


@pytest.fixture(scope="module")
def grader():
    with open_sandbox() as sandbox:
        yield Grader(sandbox, Limits(seconds=60, cpu_seconds=20))


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


@pytest.mark.parametrize(
    ("prompt", "completion"),
    [
        ("def twice(x):\n", "    return 2 * x\n"),
        ("def twice(x):", "\n\n    # Doubled.\n    return 2 * x\n"),
        ("def twice(x): ", "return 2 * x\n"),
        ("def twice(x):\n    ", "return 2 * x\n"),
        ("import math\n\n\ndef twice(x: int) -> int:\n    # Double it.\n", "\treturn 2 * x\n"),
        ("def twice(x):\n    for _ in range(1):\n", "        x = 2 * x\n    return x\n"),
        ("def twice(x):\n    return ", "2 * x\n"),
    ],
)
def test_a_prompt_may_end_where_only_the_completion_goes_on(grader, prompt, completion):
    row = {
        "task_id": "Toy/1",
        "prompt": prompt,
        "entry_point": "twice",
        "canonical_solution": completion,
        "test": "def check(candidate):\n    assert candidate(4) == 8\n",
    }
    [task] = published.parse("humaneval", json.dumps(row).encode(), "test", Path("x")).tasks
    problem = Problem.of(task)
    assert problem.prompt == f"Complete this Python code.\n{prompt.rstrip()}"
    assert grader.run_hidden(problem, problem.solution).success
    assert not grader.run_hidden(problem, problem.setup).success


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


def test_a_json_array_is_read_like_lines(tmp_path):
    """The sanitized MBPP is published as one array over many lines."""
    sanitized = {
        "source_file": "Benchmark",
        "task_id": 602,
        "prompt": "Add.",
        "code": MBPP["code"],
        "test_imports": ["import math"],
        "test_list": MBPP["test_list"],
    }
    path = tmp_path / "s.json"
    path.write_text("\ufeff" + json.dumps([sanitized, {**sanitized, "task_id": "x"}, 3], indent=2))
    read = published.read("mbpp", path, "train")
    [task] = read.tasks
    assert (task.id, Problem.of(task).setup) == ("mbpp/602", "import math")
    assert read.bad_rows == (
        f"{path}, entry 2: the field 'task_id' is 'x'; expected 1 to 974",
        f"{path}, entry 3: the entry is of type int; expected a JSON object",
    )
    lines = write_rows(tmp_path / "s.jsonl", "[1]", sanitized)
    assert published.read("mbpp", lines, "train").tasks == read.tasks


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "it is empty"),
        ("[]", "it is empty"),
        ("\n \n", "it is empty"),
        ("x\n" * 3000, "none of its 3000 rows is one; the first error is: .*:1: the line is not valid JSON"),
        (json.dumps([MBPP], indent=1)[:-9], "the first error is: .*:1: the line is not valid JSON"),
        (json.dumps({"tasks": [MBPP]}), "none of its 1 rows is one; the first error is: .*'task_id' is missing"),
        (json.dumps({**MBPP, "text": "\ud800"}), "the field 'text' is not valid text"),
        (
            json.dumps({**MBPP, "test_list": ["assert plus(1, 2) == '\udfff'"]}),
            "the field 'test_list' is not valid text",
        ),
        (json.dumps(MBPP), "no mbpp task of split 'test', but 1 of train; pass one of these splits"),
    ],
)
def test_a_file_without_tasks_is_one_usage_error(tmp_path, content, why):
    (tmp_path / "x.json").write_text(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UsageError, match=why):
            CodeEnv.tasks("test", source="mbpp", path=str(tmp_path / "x.json"))


def test_doubtful_escapes_are_no_warning_and_no_error(tmp_path):
    row = {**MBPP, "code": "import re\ndef plus(a, b):\n    re.compile('\\d')\n    return a + b"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(published.read("mbpp", write_rows(tmp_path / "m.jsonl", row), "train").tasks) == 1


def test_examples_of_a_docstring_become_assertions():
    text = """
    >>> f([1,2])  # a comment
    (1, 2)
    >>> f(
    ...     3)
    -3
    >>> g(1)
    1
    >>> f(4)
    Traceback (most recent call last):
    ValueError
    >>> x = f(5)
    >>> f('a\\n')
    'b'
    """
    found = list(published._doctest_asserts(text, "f"))
    assert found == ["assert f([1, 2]) == (1, 2)", "assert f(3) == -3", "assert f('a\\n') == 'b'"]


MIDDLE = {
    "task_id": "Toy/5",
    "prompt": 'def middle(xs):\n    """The middle of three.\n    >>> middle([1, 2, 3])\n    2\n'
    '    >>> middle([1, 9, 5])\n    9\n    >>> middle(xs)\n    3\n    >>> middle([3, 3, 3])\n    3\n    """\n',
    "entry_point": "middle",
    "canonical_solution": "    return sorted(xs)[1]\n",
    "test": "def check(candidate):\n    assert candidate([1, 9, 5]) == 5\n    assert candidate([3, 2, 1]) == 2\n",
}


@pytest.mark.requires("sandbox")
def test_a_wrong_example_costs_only_itself(tmp_path):
    only_wrong = {**MIDDLE, "task_id": "Toy/6", "prompt": HUMANEVAL["prompt"].replace("[1, 2]", "[2, 1]")}
    only_wrong |= {name: HUMANEVAL[name] for name in ("entry_point", "canonical_solution", "test")}
    path = write_rows(tmp_path / "h.jsonl", MIDDLE, only_wrong)
    with pytest.warns(UserWarning, match="left out of their tasks") as caught:
        first, second = CodeEnv.tasks("test", source="humaneval", path=str(path))
    assert [str(warning.message) for warning in caught if warning.category is UserWarning] == [
        "left out of their tasks: 3 visible examples that the reference solution fails: "
        "Toy/5 (assert middle([1, 9, 5]) == 9); Toy/5 (assert middle(xs) == 3); Toy/6 (assert halves([2, 5]) == [2, 1])"
    ]
    assert Problem.of(first).visible_code == "assert middle([1, 2, 3]) == 2\nassert middle([3, 3, 3]) == 3"
    assert Problem.of(second).visible_code == ""
    world = CodeEnv()
    world.reset(options={"task": second})
    world.step(f"write\n{Problem.of(second).solution}")
    assert world.step("test")[0] == "There are no visible tests."
    assert world.step("submit")[4]["success"]


class UnsteadyGrader(Grader):
    """A grader whose verdict on the visible tests is right in the first two runs, and wrong in the third."""

    def __init__(self) -> None:
        super().__init__(ScriptedSandbox(Result(b"", b"", 0)), Limits())
        self.runs: dict[str, int] = {}

    def run_visible(self, problem, solution):
        self.runs[problem.visible_code] = run = self.runs.get(problem.visible_code, 0) + 1
        return Verdict(int(run != 3 or "3, 3" in problem.visible_code), 1)


def test_an_example_that_passes_only_sometimes_is_left_out():
    problem = Problem.of(published.parse("humaneval", json.dumps(MIDDLE).encode(), "test", Path("x")).tasks[0])
    code, dropped = tasks._right_examples(UnsteadyGrader(), problem)
    assert code == "assert middle([3, 3, 3]) == 3"
    assert len(dropped) == 3


@pytest.mark.requires("sandbox")
def test_a_changed_file_gives_other_tasks(tmp_path):
    path = write_rows(tmp_path / "m.jsonl", MBPP)
    first = CodeEnv.tasks("train", source="mbpp", path=str(path))
    write_rows(path, MBPP, {**MBPP, "task_id": 602})
    second = CodeEnv.tasks("train", source="mbpp", path=str(path))
    write_rows(path, MBPP)
    assert [len(first), len(second)] == [1, 2]
    assert CodeEnv.tasks("train", source="mbpp", path=str(path)) is first


def test_an_infrastructure_failure_is_raised_and_no_task_is_left_out(tmp_path):
    broken = Grader(ScriptedSandbox(InfraError("the engine is gone")), Limits())
    candidates = published.read("mbpp", write_rows(tmp_path / "m.jsonl", MBPP), "train").tasks
    with pytest.raises(InfraError, match="the engine is gone"):
        tasks.verified(broken, candidates * 20)


@pytest.mark.requires("sandbox")
def test_a_published_solution_may_use_more_cpu_time_than_a_generated_one(tmp_path, grader):
    slow = {**MBPP, "code": "def plus(a, b):\n    for _ in range(30_000_000): pass\n    return a + b"}
    slow |= {"test_list": ["assert plus(1, 2) == 3"] * 4, "challenge_test_list": []}
    [task] = published.read("mbpp", write_rows(tmp_path / "m.jsonl", slow), "train").tasks
    assert Problem.of(task).cpu_seconds == published.CPU_SECONDS >= 5 * 3
    assert Problem.of(make_task("train", 0)).cpu_seconds == 2
    assert tasks.verify(grader, task).failure == ""


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
