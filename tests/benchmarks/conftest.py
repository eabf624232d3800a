"""What the tests of reports, exports and comparisons share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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


BROWSER = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
BROWSER += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """A real browser; tests that use it are marked as needing Chromium.

    For one module: as long as it is open, an event loop runs in this thread, and nobody else can run one.
    """
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=chromium, args=BROWSER)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that fails the test on any script error, any refused script and any request that leaves the disk."""
    context = browser.new_context(viewport={"width": 1300, "height": 850})
    opened, complaints = context.new_page(), []
    opened.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    opened.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    opened.on("request", lambda asked: complaints.append(asked.url) if asked.url.startswith("http") else None)
    yield opened
    context.close()
    assert not complaints
