"""Which environments there are: ours, and those that other packages offer in the entry-point group `kintsugi.envs`.

A package offers one by naming it after its Gymnasium id in its `pyproject.toml`:

    [project.entry-points."kintsugi.envs"]
    "mine/Garden-v0" = "mypackage.garden:GardenEnv"
"""

from __future__ import annotations

import importlib
import re
import warnings
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

    @property
    def turn_tokens(self) -> int:
        """How many tokens a language model may need for a thought and an action, as `metadata` says."""
        return self._usual("turn_tokens")

    @property
    def at_once(self) -> int:
        """How many episodes are usually played together, as `metadata` says."""
        return self._usual("at_once")

    @property
    def practice(self) -> int:
        """How many tasks loops usually practise on, as `metadata` says."""
        return self._usual("practice")

    @property
    def epochs(self) -> int:
        """How often loops usually learn each text, as `metadata` says."""
        return self._usual("epochs")

    def _usual(self, what: str) -> int:
        return int(self.load().metadata.get(what, AgentEnv.metadata[what]))

    def load(self) -> type[AgentEnv]:
        """Import the class; raises `UsageError` when the entry point is not an `AgentEnv`."""
        module, _, attribute = self.entry_point.partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise UsageError(
                f"environment {self.id!r} ({self.about}): cannot import {self.entry_point!r} ({error}); "
                "mend the entry point, expected 'module:Class', or the package"
            ) from error
        if not (isinstance(found, type) and issubclass(found, AgentEnv)):
            raise UsageError(
                f"environment {self.id!r} ({self.about}): {self.entry_point!r} is {found!r}, "
                "expected a subclass of kintsugi.envs.AgentEnv"
            )
        return found


BUILTIN = (
    EnvEntry("kintsugi/Household-v0", "kintsugi.envs.household:HouseholdEnv", "household chores in ALFWorld's manner"),
    EnvEntry("kintsugi/Code-v0", "kintsugi.envs.code:CodeEnv", "programming tasks, solved in a sandbox"),
    EnvEntry("kintsugi/Trading-v0", "kintsugi.envs.trading:TradingEnv", "an account in a market, with its news"),
    EnvEntry("kintsugi/Web-v0", "kintsugi.envs.web:WebEnv", "web sites in a real browser, MiniWoB++, live web tasks"),
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
    raise unknown("environment", name, [entry.id if "/" in name else entry.name for entry in known])


def register_all() -> None:
    """Tell Gymnasium of every entry; safe to call again. An id that Gymnasium refuses is left out with a warning."""
    for entry in entries():
        if entry.id in gymnasium.registry:
            continue
        try:
            gymnasium.register(id=entry.id, entry_point=entry.entry_point)
        except gymnasium.error.Error as error:
            # One bad package must not keep everybody from importing this one.
            warnings.warn(f"environment {entry.id!r} ({entry.about}) is not registered: {error}", stacklevel=2)
