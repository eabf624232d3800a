"""Fixtures and settings for all tests: offline mode, optional programs, tiny models."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("kintsugi", max_examples=30, deadline=None)
settings.load_profile("kintsugi")
os.environ["HF_HUB_OFFLINE"] = "1"
# Set before torch is imported, as the command does: idle threads that spin take cores from other processes.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Tests press Ctrl-C, which a shell's background jobs ignore.
signal.signal(signal.SIGINT, signal.default_int_handler)

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def _program(*names: str) -> str | None:
    return next((path for path in map(shutil.which, names) if path), None)


@functools.cache
def _sandbox(backend: str) -> bool:
    from kintsugi.envs.code.sandbox import open_sandbox
    from kintsugi.errors import UsageError

    try:
        open_sandbox(backend).close()
    except UsageError:
        return False
    return True


@functools.cache
def _smollm2() -> bool:
    from kintsugi.agents.models.gguf_model import smollm2_file
    from kintsugi.errors import UsageError

    try:
        return smollm2_file().is_file()
    except UsageError:
        return False


FINDERS: dict[str, Callable[[], object]] = {
    "bwrap": lambda: _sandbox("bubblewrap"),
    "headless_shell": lambda: _program("chromium-headless-shell"),
    "chromium": lambda: _program(*CHROMIUM) and importlib.util.find_spec("playwright"),
    "docker": lambda: _sandbox("docker"),
    "sandbox": lambda: _sandbox("auto"),
    "smollm2": _smollm2,
    "cuda": lambda: importlib.util.find_spec("torch") and importlib.import_module("torch").cuda.is_available(),
}
"""Checks for the names of the marker `requires`. Any other name is a Python module."""


def require(name: str) -> None:
    """Skip the test if `name` is missing, or fail it if KINTSUGI_REQUIRE (names separated by commas) lists it."""
    if FINDERS.get(name, lambda: importlib.util.find_spec(name))():
        return
    if name in os.environ.get("KINTSUGI_REQUIRE", "").split(","):
        pytest.fail(f"{name} is missing, but KINTSUGI_REQUIRE lists it: install it", pytrace=False)
    pytest.skip(f"needs {name}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("requires"):
        for name in marker.args:
            require(name)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser, for the `executable_path` of Playwright."""
    require("chromium")
    return _program(*CHROMIUM) or ""


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: a random network with two layers and one token per byte."""
    from tiny_models import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of SmolLM2-135M-Instruct, in a cache `gguf` of this test run."""
    require("gguf")
    require("smollm2")
    from kintsugi.agents.models.gguf_model import convert, smollm2_file

    # The workers of pytest-xdist share the parent of their folders. One of them converts, and the others wait.
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return convert(smollm2_file(), cache=shared / "smollm2" / "gguf")


@pytest.fixture(scope="session")
def doors_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for `sys.path` with an installed package that provides `Doors`."""
    import door_env

    site = tmp_path_factory.mktemp("site")
    info = site / "doors-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: doors\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(door_env.ENTRY)
    return site


@pytest.fixture
def doors_world(doors_site: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Short name of `Doors`, which is installed for this test."""
    monkeypatch.syspath_prepend(str(doors_site))
    return "doors"


@pytest.fixture(scope="session")
def doors_seed(tmp_path_factory: pytest.TempPathFactory, doors_site: Path) -> Path:
    """A seed policy that sometimes finds the open door, trained in two seconds."""
    from kintsugi.loops.seeds.config import Architecture, PretrainConfig
    from kintsugi.loops.seeds.family import SeedRecipe
    from kintsugi.loops.seeds.recipe import seed_model

    small = SeedRecipe(
        family="doors",
        demonstrations=80,
        reflections=60,
        architecture=Architecture(32, 2, 2, 1, 64, 256),
        pretrain=PretrainConfig(tokens=30_000, batch_tokens=512, warmup=10),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(doors_site))
        return seed_model(small, cache=tmp_path_factory.mktemp("cache"))
