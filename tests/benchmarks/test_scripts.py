"""Measuring scripts that are used wrongly say so in a line."""

from __future__ import annotations

import subprocess
import sys

import pytest
from kintsugi.benchmarks.scripts import run
from kintsugi.errors import InfraError, UsageError

SCRIPTS = {
    "textworld.differential": ("--games", "--actions", "--processes"),
    "speed.household": ("--tasks", "--games", "--copies"),
    "speed.rollouts": ("--episodes", "--sample"),
    "speed.search": ("--trees", "--seed-trees"),
    "speed.sandbox": ("--rounds", "--programs"),
    "speed.web": ("--rounds", "--episodes"),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_nothing_is_measured_none_times(script):
    for option in SCRIPTS[script]:
        command = [sys.executable, "-m", f"kintsugi.benchmarks.{script}", option, "0"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 2
        assert done.stderr.endswith(f"argument {option}: it is 0; at least 1 is needed\n")
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [(UsageError("no\nsuch game"), 2, "no such game"), (InfraError("gone"), 3, "something outside broke: gone")],
)
def test_errors_are_one_line_and_an_exit_code(error, code, said, capsys, monkeypatch):
    def broken():
        raise error

    monkeypatch.setattr("sys.argv", ["/somewhere/script.py"])
    with pytest.raises(SystemExit) as ended:
        run(broken)
    assert ended.value.code == code
    assert capsys.readouterr().err == f"script.py: {said}\n"
