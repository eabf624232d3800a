"""Packaging: modules, light imports, import rules, and the contents of a wheel."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from kintsugi.loops.registry import BUILTIN

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
FOLDERS = ("agents", "benchmarks", "cli", "envs", "loops", "world_models")
HEAVY = ("docker", "peft", "playwright", "plotly", "ray", "scipy", "torch", "transformers", "vllm")


def package_files() -> set[str]:
    """Return all files of the package, relative to the root."""
    files = {path.name for path in ROOT.glob("*.py")} | {"py.typed"}
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            hidden = any(part.startswith((".", "__pycache__")) for part in path.relative_to(ROOT).parts)
            if path.is_file() and not hidden:
                files.add(str(path.relative_to(ROOT)))
    return files


def test_list_of_packages_is_complete():
    folders = {Path(file).parent for file in package_files() if file.endswith(".py")}
    packages = {"kintsugi" if folder == Path() else ".".join(("kintsugi", *folder.parts)): folder for folder in folders}
    assert SETUPTOOLS["packages"] == sorted(SETUPTOOLS["packages"])
    assert set(SETUPTOOLS["packages"]) == set(packages)
    assert {name: Path(folder) for name, folder in SETUPTOOLS["package-dir"].items()} == packages


def test_every_package_has_an_init():
    missing = [
        name for name, folder in SETUPTOOLS["package-dir"].items() if not (ROOT / folder / "__init__.py").exists()
    ]
    assert missing == []


def test_root_has_no_other_modules():
    assert {path.stem for path in ROOT.glob("*.py")} == {"__init__", "__main__", "arguments", "errors", "plugins"}


def test_import_rules_cover_all_modules_of_loops():
    """Fails if a new module in `loops/` is not covered by the rules."""
    rules = {rule["name"]: rule for rule in PROJECT["tool"]["importlinter"]["contracts"]}
    here = {f"kintsugi.loops.{path.stem}" for path in (ROOT / "loops").iterdir() if path.stem[0].isalpha()}
    loops = {plugin.target.partition(":")[0] for plugin in BUILTIN}
    trainers = {"kintsugi.loops.learning", "kintsugi.loops.seeds"}
    networks = rules["loops do not import networks and backends, except for training"]
    assert set(networks["source_modules"]) == here - trainers
    below = rules["modules shared by loops do not import loops"]
    assert set(below["forbidden_modules"]) == {*loops, "kintsugi.loops.registry"}
    assert set(below["source_modules"]) == here - loops - {"kintsugi.loops.registry"}
    assert set(rules["loops do not import each other"]["modules"]) == loops


def test_import_does_not_load_heavy_libraries():
    code = f"import sys, kintsugi, kintsugi.envs; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.split() == []


def test_wheel_contains_all_modules_and_data_files(tmp_path: Path):
    """The wheel is built in a copy, since building leaves files behind."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", *package_files()):
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    code = "from setuptools.build_meta import build_wheel; build_wheel('wheels')"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [wheel] = (source / "wheels").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    held = {name for name in names if ".dist-info/" not in name}
    assert held == {f"kintsugi/{file}" for file in package_files()}
    info = f"kintsugi-{PROJECT['project']['version']}.dist-info"
    assert {f"{info}/METADATA", f"{info}/entry_points.txt"} <= names
    assert any(name.startswith(info) and name.endswith("LICENSE") for name in names)


def test_versions_agree():
    import kintsugi

    assert kintsugi.__version__ == PROJECT["project"]["version"]


def test_missing_requirements_skip_or_fail(monkeypatch):
    spec = importlib.util.spec_from_file_location("kintsugi_conftest", ROOT / "tests" / "conftest.py")
    assert spec
    assert spec.loader
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    conftest.require("json")
    monkeypatch.delenv("KINTSUGI_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs no_such_module"):
        conftest.require("no_such_module")
    monkeypatch.setenv("KINTSUGI_REQUIRE", "chromium,no_such_module")
    with pytest.raises(pytest.fail.Exception, match="no_such_module is missing, but KINTSUGI_REQUIRE lists it"):
        conftest.require("no_such_module")
