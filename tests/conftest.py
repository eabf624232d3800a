"""What all tests share: no network, and programs that a test may need."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable

import pytest
from hypothesis import settings

settings.register_profile("kintsugi", max_examples=30, deadline=None)
settings.load_profile("kintsugi")
os.environ["HF_HUB_OFFLINE"] = "1"

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def _program(*names: str) -> str | None:
    return next((path for path in map(shutil.which, names) if path), None)


FINDERS: dict[str, Callable[[], object]] = {
    "bwrap": lambda: _program("bwrap"),
    "chromium": lambda: _program(*CHROMIUM) and importlib.util.find_spec("playwright"),
    "cuda": lambda: importlib.util.find_spec("torch") and importlib.import_module("torch").cuda.is_available(),
}
"""How to find what `requires` names; any other name is a Python module."""


def require(name: str) -> None:
    """Skip the test when `name` is missing, or fail it when KINTSUGI_REQUIRE (names with commas between) says so."""
    if FINDERS.get(name, lambda: importlib.util.find_spec(name))():
        return
    if name in os.environ.get("KINTSUGI_REQUIRE", "").split(","):
        pytest.fail(f"{name} is missing, and KINTSUGI_REQUIRE asks for it", pytrace=False)
    pytest.skip(f"needs {name}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("requires"):
        for name in marker.args:
            require(name)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser, for Playwright's `executable_path`."""
    require("chromium")
    return _program(*CHROMIUM) or ""
