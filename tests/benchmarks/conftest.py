"""What the tests of reports, exports and comparisons share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from kintsugi.agents.trajectory import Trajectory
from small_runs import HOSTILE, make_run, make_task, make_trajectory


@pytest.fixture
def hostile() -> str:
    """A text that would like to be markup."""
    return HOSTILE


@pytest.fixture
def attempt() -> Callable[..., Trajectory]:
    """`attempt(number, success, **fields)`: one trajectory."""
    return lambda number, success, **fields: make_trajectory(make_task(number), success, **fields)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two training seeds, three models, two evaluations, and failures that were mended."""
    return make_run(tmp_path / "the run")
