"""Fixtures of the command-line tests: a working folder, scripted models and a stored run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from door_env import COLOURS
from kintsugi.agents.trajectory import Trajectory
from small_runs import HOSTILE, make_run, make_task, make_trajectory


def open_turn(colour: str) -> str:
    return f"Thought: hm\nAction: open {colour}"


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, set as the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def random_model(working_folder: Path) -> str:
    """A scripted model that opens random doors, and can learn."""
    (working_folder / "random.json").write_text(json.dumps({"": [open_turn(colour) for colour in COLOURS]}))
    return "scripted:random.json"


@pytest.fixture
def red_model(working_folder: Path) -> str:
    """A scripted model that always opens the red door."""
    (working_folder / "red.json").write_text(json.dumps([open_turn("red")]))
    return "scripted:red.json"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A stored run with two training seeds, three models, two evaluations and mended failures."""
    return make_run(tmp_path / "the run")


@pytest.fixture
def hostile() -> str:
    """A text with markup and script characters, which the stored run contains."""
    return HOSTILE


@pytest.fixture
def attempt() -> Callable[..., Trajectory]:
    """A function `attempt(number, success, **fields)` that returns a trajectory."""
    return lambda number, success, **fields: make_trajectory(make_task(number), success, **fields)
