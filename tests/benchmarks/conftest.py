"""Fixtures of the tests of reports and reproductions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kintsugi.agents.trajectory import Trajectory
from small_runs import HOSTILE, make_run, make_task, make_trajectory


@pytest.fixture
def hostile() -> str:
    """A text that contains markup."""
    return HOSTILE


@pytest.fixture
def attempt() -> Callable[..., Trajectory]:
    """Return a function `attempt(number, success, **fields)` that makes one trajectory."""
    return lambda number, success, **fields: make_trajectory(make_task(number), success, **fields)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with two training seeds, three models, two evaluations and mended failures."""
    return make_run(tmp_path / "the run")


BROWSER = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
BROWSER += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """A real browser; tests that use it are marked as needing Chromium.

    Its scope is one module, because Playwright occupies the event loop of this thread while the browser is open.
    """
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=chromium, args=BROWSER)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that fails the test on script errors, refused scripts and network requests."""
    context = browser.new_context(viewport={"width": 1300, "height": 850})
    opened, problems = context.new_page(), []
    opened.on("pageerror", lambda error: problems.append(f"error: {error}"))
    opened.on(
        "console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None
    )
    opened.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
    yield opened
    context.close()
    assert not problems
