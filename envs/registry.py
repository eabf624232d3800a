"""Which environments there are: ours, and those that other packages offer in the entry-point group `kintsugi.envs`.

A package offers one by naming it after its Gymnasium id in its `pyproject.toml`:

    [project.entry-points."kintsugi.envs"]
    "mine/Garden-v0" = "mypackage.garden:GardenEnv"
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from importlib import metadata

import gymnasium

from ..errors import UsageError, unknown
from .core import AgentEnv

GROUP = "kintsugi.envs"


@dataclass(frozen=True)
class EnvEntry:
    """One registered environment; the class is imported only when it is used."""

    id: str
    """Gymnasium id, e.g. `kintsugi/Household-v0`."""
    entry_point: str
    """`module:Class` of an `AgentEnv`."""
    about: str
    """One line for `kintsugi envs`."""

    @property
    def name(self) -> str:
        """The short name of the command line: `kintsugi/Household-v0` is `household`."""
        return re.sub(r"-v\d+$", "", self.id.rpartition("/")[2]).lower()

    def load(self) -> type[AgentEnv]:
        """Import the class; raises `UsageError` when the entry point is not an `AgentEnv`."""
        module, _, attribute = self.entry_point.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if not (isinstance(found, type) and issubclass(found, AgentEnv)):
            raise UsageError(f"environment {self.id!r}: {self.entry_point!r} is {found!r}, expected a subclass of AgentEnv")
        return found


BUILTIN = (
    EnvEntry("kintsugi/Household-v0", "kintsugi.envs.household:HouseholdEnv", "household chores in ALFWorld's manner"),
)


def entries() -> list[EnvEntry]:
    """Ours first, then those of installed packages; a foreign entry cannot take one of our ids."""
    ours = {entry.id for entry in BUILTIN}
    foreign = [
        EnvEntry(point.name, point.value, f"from {point.dist.name if point.dist else 'an installed package'}")
        for point in metadata.entry_points(group=GROUP)
        if point.name not in ours
    ]
    return [*BUILTIN, *foreign]


def find(name: str) -> EnvEntry:
    """The environment of this short name or Gymnasium id; raises `UsageError` with the nearest names."""
    known = entries()
    for entry in known:
        if name in (entry.name, entry.id):
            return entry
    raise unknown("environment", name, [entry.name for entry in known])


def register_all() -> None:
    """Tell Gymnasium of every entry; safe to call again."""
    for entry in entries():
        if entry.id not in gymnasium.registry:
            gymnasium.register(id=entry.id, entry_point=entry.entry_point)
