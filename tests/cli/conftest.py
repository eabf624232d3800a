"""What the tests of commands share: a folder to work in, models in files, and a run with everything in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from door_env import COLOURS
from kintsugi.agents.trajectory import Trajectory
from small_runs import HOSTILE, make_run, make_task, make_trajectory


def says(colour: str) -> str:
    return f"Thought: hm\nAction: open {colour}"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that commands are run in; the world of doors is found by its module."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def drawing(here: Path) -> str:
    """A model that tries doors by chance, and can learn."""
    (here / "drawing.json").write_text(json.dumps({"": [says(colour) for colour in COLOURS]}))
    return "scripted:drawing.json"


@pytest.fixture
def stubborn(here: Path) -> str:
    """A model that opens the red door, and learns nothing else."""
    (here / "stubborn.json").write_text(json.dumps([says("red")]))
    return "scripted:stubborn.json"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two training seeds, three models, two evaluations, and failures that were mended."""
    return make_run(tmp_path / "the run")


@pytest.fixture
def hostile() -> str:
    """A text that would like to be markup, and that the run holds."""
    return HOSTILE


@pytest.fixture
def attempt() -> Callable[..., Trajectory]:
    """`attempt(number, success, **fields)`: one trajectory."""
    return lambda number, success, **fields: make_trajectory(make_task(number), success, **fields)
