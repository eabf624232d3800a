"""Which environments there are, those of other packages included."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import gymnasium
import pytest
from kintsugi.envs import EnvEntry, entries, find, register_all
from kintsugi.envs.registry import BUILTIN
from kintsugi.errors import UsageError

NEEDS = {"code": ["sandbox"]}


def offer(folder: Path, offers: dict[str, str], source: str = "") -> None:
    """Put an installed package `foreign` with these entry points into the folder."""
    info = folder / "foreign-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in offers.items())
    (info / "entry_points.txt").write_text(f"[kintsugi.envs]\n{lines}")
    (folder / "foreign_garden.py").write_text(source)


def in_new_process(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    path = f"import sys; sys.path[:0] = {[str(folder), *sys.path]!r}\n"
    command = [sys.executable, "-c", path + textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "entry",
    [pytest.param(entry, marks=[pytest.mark.requires(n) for n in NEEDS.get(entry.name, ())]) for entry in BUILTIN],
    ids=lambda entry: entry.name,
)
def test_ours_are_registered_with_gymnasium(entry):
    assert entry.id in gymnasium.registry
    assert entry.load().env_id == entry.id
    env = gymnasium.make(entry.id)
    observation, info = env.reset(seed=0)
    assert observation in env.observation_space
    assert info["task_id"]
    env.close()


@pytest.mark.parametrize("entry", BUILTIN, ids=lambda entry: entry.name)
def test_ours_are_found_by_name_and_id_and_their_spec_is_json(entry):
    assert find(entry.name) == find(entry.id) == entry
    spec = gymnasium.spec(entry.id)
    assert gymnasium.envs.registration.EnvSpec.from_json(spec.to_json()) == spec


def test_short_names():
    assert EnvEntry("kintsugi/Household-v0", "m:C", "").name == "household"
    assert EnvEntry("mine/BigGarden-v12", "m:C", "").name == "biggarden"
    assert EnvEntry("Plain", "m:C", "").name == "plain"


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UsageError, match="unknown environment 'househodl'; did you mean 'household'"):
        find("househodl")
    with pytest.raises(UsageError, match="did you mean 'kintsugi/Household-v0'"):
        find("kintsugi/Househodl-v0")
    with pytest.raises(UsageError, match=r"unknown environment 'qqq'; known: code, household"):
        find("qqq")


@pytest.mark.parametrize("point", ["nowhere.at_all:Env", "json:Missing", "json", ":", "json:dumps", "json:JSONDecoder"])
def test_a_bad_entry_point_says_which(point):
    with pytest.raises(UsageError, match=r"environment 'bad/Env-v0' \(from elsewhere\)"):
        EnvEntry("bad/Env-v0", point, "from elsewhere").load()


def test_registering_twice_changes_nothing():
    before = dict(gymnasium.registry)
    register_all()
    assert gymnasium.registry == before


def test_an_environment_of_another_package(tmp_path: Path):
    source = """
    from tiny_worlds import Lamps

    class Garden(Lamps):
        env_id = "foreign/Garden-v3"
    """
    offer(tmp_path, {"foreign/Garden-v3": "foreign_garden:Garden"}, textwrap.dedent(source))
    code = """
    import gymnasium, kintsugi
    from kintsugi.envs import find
    assert "foreign_garden" not in sys.modules
    assert find("garden").about == "from foreign"
    env = gymnasium.make("foreign/Garden-v3")
    env.reset(seed=0)
    assert type(env.unwrapped) is find("foreign/Garden-v3").load()
    """
    done = in_new_process(tmp_path, code)
    assert done.returncode == 0, done.stderr


def test_another_package_can_neither_take_our_ids_nor_break_the_import(tmp_path: Path):
    offer(tmp_path, {"kintsugi/Household-v0": "foreign_garden:Thief", "no id!": "foreign_garden:Broken"})
    code = """
    import warnings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import kintsugi
    assert any("'no id!' (from foreign) is not registered" in str(w.message) for w in caught), caught
    from kintsugi.envs import find
    assert find("household").entry_point == "kintsugi.envs.household:HouseholdEnv"
    """
    done = in_new_process(tmp_path, code)
    assert done.returncode == 0, done.stderr


def test_ours_come_first():
    assert tuple(entries()[: len(BUILTIN)]) == BUILTIN
