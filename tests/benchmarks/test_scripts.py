"""Benchmark scripts end with a short message and an exit code on bad input and on infrastructure failures."""

from __future__ import annotations

import subprocess
import sys

import pytest

COUNT_OPTIONS = {
    "textworld.differential": ("--games", "--actions", "--processes"),
    "speed.household": ("--tasks", "--games", "--copies"),
    "speed.rollouts": ("--episodes", "--sample"),
    "speed.search": ("--trees", "--seed-trees"),
    "speed.sandbox": ("--rounds", "--programs"),
    "speed.web": ("--rounds", "--episodes"),
}


@pytest.mark.parametrize("script", COUNT_OPTIONS)
def test_counts_of_zero_are_refused(script):
    for option in COUNT_OPTIONS[script]:
        command = [sys.executable, "-m", f"kintsugi.benchmarks.{script}", option, "0"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 2
        assert done.stderr.endswith(f"argument {option}: got 0; expected at least 1\n")
        assert "Traceback" not in done.stderr


FAILING_SCRIPT = """
from kintsugi.benchmarks.scripts import run
from kintsugi.errors import InfraError, UsageError

def main():
    raise {error}

run(main)
"""


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ("UsageError('no\\nsuch game')", 2, "no such game"),
        ("InfraError('gone')", 3, "infrastructure failure: gone"),
        ("KeyboardInterrupt", 130, "interrupted; stored results are kept"),
    ],
)
def test_an_error_prints_one_line_and_sets_the_exit_code(error, code, message, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(FAILING_SCRIPT.format(error=error))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"script.py: {message}\n")
