"""HumanEval and MBPP as published. The files are not in the package: `KINTSUGI_DATA` names a folder with `code/`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from judge_checks import check_dressings, check_mutants, published_problems
from kintsugi.envs.code import CodeEnv, published
from kintsugi.envs.code.sandbox import open_sandbox

pytestmark = [
    pytest.mark.requires("sandbox"),
    pytest.mark.skipif("KINTSUGI_DATA" not in os.environ, reason="KINTSUGI_DATA, a folder with code/, is not set"),
]
BUSY = 3 * (os.cpu_count() or 1)
"""Number of processes that keep the machine busy."""


@pytest.fixture(scope="module")
def folder() -> Path:
    return Path(os.environ["KINTSUGI_DATA"]) / "code"


@pytest.fixture(scope="module")
def sandbox():
    with open_sandbox() as opened:
        yield opened


@pytest.fixture
def busy_machine():
    """Three endless loops per core."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY)]
    yield
    for each in loops:
        each.kill()
        each.wait()


def load(source: str, path: Path, splits: tuple[str, ...]) -> tuple[list[str], list[str], list[str]]:
    """Return the ids of the tasks that pass, the hashes of the splits, and the texts of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sets = [CodeEnv.tasks(split, source=source, path=str(path)) for split in splits]
    return [t.id for each in sets for t in each], [each.hash for each in sets], [str(each.message) for each in caught]


def test_humaneval_has_164_tasks(folder):
    names, _, said = load("humaneval", folder / "HumanEval.jsonl", ("test",))
    assert sorted(names) == sorted(f"HumanEval/{number}" for number in range(164))
    assert said == [
        "left out of their tasks: 1 visible examples that the reference solution fails: "
        "HumanEval/47 (assert median([-10, 4, 6, 1000, 10, 20]) == 15.0)"
    ]


@pytest.mark.parametrize(("name", "count"), [("mbpp.jsonl", 974), ("sanitized-mbpp.json", 427)])
def test_mbpp_loads_whole(folder, name, count):
    names, _, said = load("mbpp", folder / name, tuple(published.MBPP_SPLITS))
    assert said == []
    assert len(set(names)) == len(names) == count


def test_a_busy_machine_gives_the_same_tasks(folder, tmp_path, request):
    """MBPP 123 needs 3 s of CPU time, which were more than its limit of wall time on a busy machine."""
    lines = [
        line
        for line in (folder / "mbpp.jsonl").read_text().splitlines()
        if json.loads(line)["task_id"] % 20 == 3 and 11 <= json.loads(line)["task_id"] < 511
    ]
    assert any(json.loads(line)["task_id"] == 123 for line in lines)
    (tmp_path / "idle.jsonl").write_text("\n".join(lines))
    (tmp_path / "busy.jsonl").write_text("\n".join([*lines, ""]))
    idle = load("mbpp", tmp_path / "idle.jsonl", ("test",))
    request.getfixturevalue("busy_machine")
    assert load("mbpp", tmp_path / "busy.jsonl", ("test",)) == idle
    assert len(idle[0]) == len(lines)


def test_a_sample_of_tasks_is_graded_as_in_plain_python(folder, sandbox):
    """All tasks: see `tests/support/judge_checks.py`."""
    sample = list(published_problems(folder))[::50]
    assert len(sample) > 30
    mutants = {name: check_mutants(sandbox, problem, count=4)["wrong"] for name, problem in sample}
    assert {name: wrong for name, wrong in mutants.items() if wrong} == {}
    dressings = {name: check_dressings(sandbox, problem)["wrong"] for name, problem in sample[::3]}
    assert {name: wrong for name, wrong in dressings.items() if wrong} == {}
