"""The registry of seed families, by the short name of their environment.

A package registers a family under the short name of its environment in its `pyproject.toml`:

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
    Plugin("code", "kintsugi.loops.seeds.code:FAMILY", "an expert that writes the code of each step of a task"),
    Plugin("trading", "kintsugi.loops.seeds.trading:FAMILY", "an analyst in every role of a desk"),
    Plugin("web", "kintsugi.loops.seeds.web:FAMILY", "an expert that knows each kind of embedded site"),
)


def families() -> list[Plugin]:
    """Return all seed families: the built-in ones, then those of installed packages."""
    return plugins(GROUP, BUILTIN)


def find_family(name: str) -> Plugin | None:
    """Return the plugin of the family with this name; None if there is none."""
    return next((plugin for plugin in families() if plugin.name == name), None)


def family_of(name: str) -> Family:
    """Import and return the family with this name; raise `UsageError` if it is unknown or cannot be imported."""
    found = find_family(name)
    if found is None:
        raise unknown("seed family", name, [plugin.name for plugin in families()])
    family = found.load()
    if not isinstance(family, Family):
        raise UsageError(f"seed family {name!r} ({found.about}): {found.target!r} is {family!r}; expected a Family")
    return family


def recipe_of(name: str) -> SeedRecipe:
    """Return the default recipe of a family; raise `UsageError` if it is unknown."""
    return family_of(name).recipe


def defaults_of(env: EnvSpec) -> FamilyDefaults:
    """Return the default settings of loops in an environment: those of its family, or general ones without a family."""
    found = find_family(env.name)
    return family_of(env.name).defaults if found else FamilyDefaults()
