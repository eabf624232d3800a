"""Which seed families there are, by the short name of the environment that each is for.

A package offers one by its environment's short name in its `pyproject.toml`:

    [project.entry-points."kintsugi.seeds"]
    garden = "mypackage.seed:FAMILY"
"""

from __future__ import annotations

from ...envs.registry import EnvSpec
from ...errors import UsageError, unknown
from ...plugins import Plugin, plugins
from .family import Family, FamilyDefaults, SeedRecipe

GROUP = "kintsugi.seeds"
BUILTIN = (
    Plugin("household", "kintsugi.loops.seeds.household:FAMILY", "an expert that searches rooms"),
    Plugin("code", "kintsugi.loops.seeds.code:FAMILY", "an expert that writes each step of a task"),
    Plugin("trading", "kintsugi.loops.seeds.trading:FAMILY", "an analyst in every role of a desk"),
    Plugin("web", "kintsugi.loops.seeds.web:FAMILY", "an expert that knows kinds of sites"),
)


def families() -> list[Plugin]:
    """Ours first, then those of installed packages."""
    return plugins(GROUP, BUILTIN)


def find_family(name: str) -> Plugin | None:
    """The family of this name; None where there is none."""
    return next((part for part in families() if part.name == name), None)


def family_of(name: str) -> Family:
    """The family of this name; raises `UsageError` for one that does not exist or cannot be imported."""
    found = find_family(name)
    if found is None:
        raise unknown("seed family", name, [part.name for part in families()])
    family = found.load()
    if not isinstance(family, Family):
        raise UsageError(f"seed family {name!r} ({found.about}): {found.target!r} is {family!r}, expected a Family")
    return family


def recipe_of(name: str) -> SeedRecipe:
    """How the seed policy of a family is usually made; raises `UsageError` for an unknown one."""
    return family_of(name).recipe


def defaults_of(env: EnvSpec) -> FamilyDefaults:
    """What loops do in this environment where nobody says otherwise: its family's word, or any environment's."""
    found = find_family(env.name)
    return family_of(env.name).defaults if found else FamilyDefaults()
