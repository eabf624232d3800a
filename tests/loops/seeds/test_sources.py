"""The source files of a seed policy: an edit to one of them changes the recipe's hash, other edits do not."""

from __future__ import annotations

from pathlib import Path

import kintsugi
import pytest
from kintsugi.loops.seeds.family import SeedRecipe
from kintsugi.loops.seeds.recipe import recipe_hash
from kintsugi.loops.seeds.registry import family_of, find_family
from kintsugi.loops.seeds.sources import DATA_SUFFIXES, sources
from loop_seeds import install

ROOT = Path(kintsugi.__file__).parent
OWN = ("household", "code", "trading", "web")


def files_of(name: str) -> dict[str, Path]:
    found = find_family(name)
    assert found is not None
    return sources(found.target.partition(":")[0], family_of(name))


@pytest.mark.parametrize("name", OWN)
def test_shared_modules_are_sources(name):
    found = files_of(name)
    for module in (
        f"loops/seeds/{name}",
        f"agents/experts/{name}",
        "loops/seeds/family",
        "loops/seeds/tokenizer",
        "loops/seeds/pretrain",
        "loops/learning/batching",
        "agents/react",
        "agents/reflector",
        "agents/models/chat",
        "envs/core",
    ):
        assert f"kintsugi/{module}.py" in found
    assert all(file.is_file() for file in found.values())


@pytest.mark.parametrize("name", OWN)
def test_all_of_the_familys_environment_and_no_other_is_a_source(name):
    """This includes modules that are only loaded by name, such as the pages of a site."""
    found = files_of(name)
    for other in OWN:
        inside = [f for f in (ROOT / "envs" / other).rglob("*") if f.suffix in {".py", *DATA_SUFFIXES}]
        names = {f"kintsugi/{file.relative_to(ROOT).as_posix()}" for file in inside}
        assert names
        assert names & found.keys() == (names if other == name else set())


@pytest.mark.parametrize("name", OWN)
def test_unrelated_modules_are_not_sources(name):
    found = files_of(name)
    for module in ("loops/measuring/gate", "loops/self_training", "loops/run", "loops/runs/store", "cli/main",
                   "benchmarks/report/pages", "agents/search/search"):  # fmt: skip
        assert (ROOT / f"{module}.py").is_file()
        assert f"kintsugi/{module}.py" not in found
    assert not any("tests" in name.split("/") for name in found)


FAMILY = """
import dataclasses
from door_env import FAMILY as DOORS
from .acts import demonstrate
FAMILY = dataclasses.replace(DOORS, demonstrate=demonstrate)
"""
ACTS = """
from door_env import demonstrate as shown
from kintsugi.envs.trading.rules import Rules
def demonstrate(task, seed):
    return shown(task, seed)
"""


def edited(file: Path, recipe: SeedRecipe) -> bool:
    """Whether an edit of the file changes the hash; undoing the edit must restore it."""
    before, text = recipe_hash(recipe), file.read_text()
    file.write_text(text + "\n")
    after = recipe_hash(recipe)
    file.write_text(text)
    assert recipe_hash(recipe) == before
    return after != before


def test_every_file_of_a_package_with_a_family_is_a_source(tmp_path, monkeypatch):
    files = {
        "tollhouse/__init__.py": "",
        "tollhouse/family.py": FAMILY,
        "tollhouse/acts.py": ACTS,
        "tollhouse/deep/__init__.py": "",
        "tollhouse/deep/rooms.py": "ROOMS = 3\n",
        "tollhouse/deep/page.html": "<p>",
        "tollhouse/notes.txt": "mine",
        "unrelated/__init__.py": "",
    }
    monkeypatch.syspath_prepend(str(install(tmp_path, "tollhouse", files, tolls="tollhouse.family:FAMILY")))
    recipe = SeedRecipe(family="tolls")
    changed = {name for name in files if edited(tmp_path / name, recipe)}
    assert changed == files.keys() - {"tollhouse/notes.txt", "unrelated/__init__.py"}
    found = files_of("tolls")
    assert found["tollhouse/acts.py"] == tmp_path / "tollhouse" / "acts.py"
    assert "kintsugi/envs/trading/rules.py" in found, (
        "modules of Kintsugi that the other package imports are sources too"
    )
    assert "kintsugi/envs/household/env.py" not in found
    before = recipe_hash(recipe)
    (tmp_path / "tollhouse" / "new.py").write_text("")
    assert recipe_hash(recipe) != before


def test_files_of_a_package_with_only_a_function_of_the_family_are_sources(tmp_path, monkeypatch):
    """The family is in one package, its expert in another."""
    files = {
        "bridge.py": FAMILY.replace("from .acts", "from ferrymen.acts"),
        "ferrymen/__init__.py": "",
        "ferrymen/acts.py": "from .oars import SHOWN\n" + ACTS.replace("shown(", "SHOWN or shown("),
        "ferrymen/oars.py": "SHOWN = None\n",
    }
    monkeypatch.syspath_prepend(str(install(tmp_path, "bridge", files, bridge="bridge:FAMILY")))
    recipe = SeedRecipe(family="bridge")
    assert family_of("bridge").demonstrate.__module__ == "ferrymen.acts"
    assert {name for name in files if edited(tmp_path / name, recipe)} == set(files)
    assert {"bridge/bridge.py", "ferrymen/oars.py"} <= files_of("bridge").keys()
