"""The registry of seed families: built-in ones and those of packages; a broken package affects only its own family."""

from __future__ import annotations

import pytest
from kintsugi.agents.models import open_backend
from kintsugi.envs import EnvSpec
from kintsugi.errors import UsageError
from kintsugi.loops.seeds.family import FamilyDefaults
from kintsugi.loops.seeds.registry import defaults_of, families, family_of, find_family, recipe_of
from loop_seeds import SMALL_FAMILY, install


def test_built_in_families_are_registered():
    assert [plugin.name for plugin in families()][:4] == ["household", "code", "trading", "web"]
    for plugin in families()[:4]:
        assert recipe_of(plugin.name).family == plugin.name
        assert defaults_of(EnvSpec(plugin.name)) == family_of(plugin.name).defaults


def test_a_package_registers_a_family_by_an_entry_point(tmp_path, monkeypatch):
    assert find_family("gate") is None
    monkeypatch.syspath_prepend(str(install(tmp_path, "gatehouse", gate="loop_seeds:SMALL_FAMILY")))
    found = find_family("gate")
    assert found is not None
    assert (found.name, found.target, found.about) == ("gate", "loop_seeds:SMALL_FAMILY", "from gatehouse")
    assert family_of("gate") is SMALL_FAMILY
    assert recipe_of("gate") == SMALL_FAMILY.recipe
    assert [plugin.name for plugin in families()][4:] == ["gate"]


def test_defaults_come_from_the_family_with_the_environments_name(tmp_path, monkeypatch):
    """Any name of the environment finds its family."""
    doors = EnvSpec("door_env:Doors", {"max_steps": 3})
    assert defaults_of(doors) == FamilyDefaults()
    monkeypatch.syspath_prepend(str(install(tmp_path, "gatehouse", doors="loop_seeds:SMALL_FAMILY")))
    assert defaults_of(doors) == SMALL_FAMILY.defaults == FamilyDefaults(7, 2.5, None)
    assert defaults_of(EnvSpec("kintsugi/Household-v0")) == defaults_of(EnvSpec("household"))


@pytest.mark.parametrize(
    ("taken", "by"), [("household", "an expert that searches rooms"), ("gate", "from aaa")], ids=["ours", "theirs"]
)
def test_a_name_that_is_taken_is_skipped_with_a_warning(tmp_path, monkeypatch, taken, by):
    site = install(tmp_path, "bbb", **{taken: "loop_seeds:NOT_A_FAMILY"})
    monkeypatch.syspath_prepend(str(install(site, "aaa", gate="loop_seeds:SMALL_FAMILY")))
    expected = f"the entry point '{taken}' from bbb is skipped because the name is taken .{by}"
    with pytest.warns(UserWarning, match=expected) as warned:
        found = family_of(taken)
    assert found.recipe.family in ("household", "doors")
    assert all("rename the entry point" in str(each.message) for each in warned)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("no_such_module:FAMILY", "'gate' .from gatehouse.: cannot import 'no_such_module:FAMILY'"),
        ("loop_seeds:NO_SUCH", "'gate' .from gatehouse.: cannot import 'loop_seeds:NO_SUCH'"),
        (
            "loop_seeds:NOT_A_FAMILY",
            "seed family 'gate' .from gatehouse.: 'loop_seeds:NOT_A_FAMILY' is 'no family'; expected a F",
        ),
    ],
)
def test_a_broken_family_fails_only_when_it_is_used(tmp_path, monkeypatch, target, expected):
    monkeypatch.syspath_prepend(str(install(tmp_path, "gatehouse", gate=target)))
    assert "gate" in [plugin.name for plugin in families()]
    assert recipe_of("household").family == "household"
    assert defaults_of(EnvSpec("door_env:Doors")) == FamilyDefaults()
    with pytest.raises(UsageError, match=expected):
        family_of("gate")


def test_an_unknown_family_is_refused_with_the_nearest_name():
    for lookup in (family_of, recipe_of, lambda name: open_backend(f"seed:{name}")):
        with pytest.raises(UsageError, match="unknown seed family 'houshold'; did you mean 'household'"):
            lookup("houshold")
