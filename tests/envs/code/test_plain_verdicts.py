"""Verdicts equal those of one plain Python process that holds solution and tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kintsugi.envs.code import Problem
from kintsugi.envs.code.grader import Grader
from kintsugi.envs.code.sandbox import Limits, Sandbox, open_sandbox

SECTIONS = Path(__file__).with_name("plain_verdicts.txt").read_text(encoding="utf-8").split("\n=== ")[1:]
CASES = {name: text.split("\n---\n") for name, _, text in (section.partition("\n") for section in SECTIONS)}
"""For each case: a solution and its tests. One plain Python process says whether it is right."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with open_sandbox() as opened:
        yield opened


def plain_verdict(solution: str, tests: str) -> bool:
    """Return whether the tests run to their end in a process that holds both."""
    program = (
        "import sys, types\nmodule = sys.modules['solution'] = types.ModuleType('solution')\nimport linecache\n"
        "linecache.cache['s.py'] = (1, None, sys.argv[1].splitlines(True), 's.py')\n"
        "exec(compile(sys.argv[1], 's.py', 'exec'), vars(module))\nexec(sys.argv[2], vars(module))\n"
        "print('passed', end='')"
    )
    done = subprocess.run([sys.executable, "-c", program, solution, tests], capture_output=True, text=True, check=False)
    return done.stdout.endswith("passed")


@pytest.mark.requires("sandbox")
@pytest.mark.parametrize("name", CASES)
def test_a_verdict_equals_that_of_plain_python(sandbox, name):
    solution, tests = CASES[name]
    problem = Problem(type="", prompt="", goal="", entry="f", solution=solution, hidden_code=tests)
    verdict = Grader(sandbox, Limits(seconds=60, cpu_seconds=10)).run_hidden(problem, solution)
    assert verdict.success == plain_verdict(solution, tests), verdict
