"""Which environments there are, and `EnvSpec`: an environment with its constructor's arguments, as plain data.

A package offers one by naming it after its Gymnasium id in its `pyproject.toml`:

    [project.entry-points."kintsugi.envs"]
    "mine/Garden-v0" = "mypackage.garden:GardenEnv"
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium

from ..arguments import arguments, defaults, plain
from ..errors import UsageError, unknown
from ..plugins import Plugin, load, plugins
from .core import AgentEnv, TaskSet

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
        about = f"environment {self.id!r} ({self.about})"
        found = load(self.entry_point, about)
        if not (isinstance(found, type) and issubclass(found, AgentEnv)):
            raise UsageError(
                f"{about}: {self.entry_point!r} is {found!r}, expected a subclass of kintsugi.envs.AgentEnv"
            )
        if not isinstance(getattr(found, "env_id", None), str):
            raise UsageError(f"{about}: {self.entry_point!r} has no env_id; give it one such as 'mine/Garden-v0'")
        return found


BUILTIN = (
    EnvEntry("kintsugi/Household-v0", "kintsugi.envs.household:HouseholdEnv", "household chores in ALFWorld's manner"),
    EnvEntry("kintsugi/Code-v0", "kintsugi.envs.code:CodeEnv", "programming tasks, solved in a sandbox"),
    EnvEntry("kintsugi/Trading-v0", "kintsugi.envs.trading:TradingEnv", "an account in a market, with its news"),
    EnvEntry("kintsugi/Web-v0", "kintsugi.envs.web:WebEnv", "web sites in a real browser, MiniWoB++, live web tasks"),
)


def entries() -> list[EnvEntry]:
    """Ours first, then those of installed packages; a foreign entry cannot take one of our ids."""
    ours = [Plugin(entry.id, entry.entry_point, entry.about) for entry in BUILTIN]
    return [EnvEntry(part.name, part.target, part.about) for part in plugins(GROUP, ours)]


def find(name: str) -> EnvEntry:
    """The environment of this short name, id or `module:Class`; raises `UsageError` with the nearest names."""
    known = entries()
    meant = [entry for entry in known if name == entry.id] or [entry for entry in known if name == entry.name]
    if len(meant) > 1:
        both = ", ".join(entry.id for entry in meant)
        raise UsageError(f"environment {name!r} may be any of {both}; name one of these")
    if meant:
        return meant[0]
    if ":" in name:
        return EnvEntry(name, name, "named by its module")
    raise unknown("environment", name, [entry.id if "/" in name else entry.name for entry in known])


@dataclass(frozen=True)
class EnvSpec:
    """An environment as plain data: what is recorded of it, and what makes it again on another machine."""

    id: str = "household"
    """Short name, Gymnasium id or `module:Class`."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of its constructor, as the constructor takes them or as text (`config.screenshots`: `true`)."""

    @property
    def cls(self) -> type[AgentEnv]:
        """The class."""
        return find(self.id).load()

    @property
    def name(self) -> str:
        """The short name; of an environment that is not registered, its class's id without namespace and version."""
        return EnvEntry(self.cls.env_id, "", "").name

    def make(self) -> AgentEnv:
        """A fresh environment. Raises `UsageError` for an argument that does not exist or does not fit."""
        return self.cls(**self._arguments())

    def tasks(self, split: str, n: int | None = None, seed: int = 0, **params: Any) -> TaskSet:
        """Tasks of a split; raises `UsageError` when there are none."""
        if n is not None and n < 1:
            raise UsageError(f"tasks is {n}; at least 1 is needed")
        found = self.cls.tasks(split, n, seed, **params)
        if not len(found):
            raise UsageError(f"split {split!r} of {self.id!r} holds no task that can be played; name another one")
        return found

    def check(self) -> None:
        """Raise `UsageError` for an environment or an argument that does not exist."""
        self._arguments()

    def with_args(self, **kwargs: Any) -> EnvSpec:
        """The same with more arguments."""
        return replace(self, kwargs={**self.kwargs, **kwargs})

    def default(self, what: str) -> Any:
        """What `metadata` says, or what it says of any environment: `turn_tokens`, `at_once`, `gate_split`."""
        return self.cls.metadata.get(what, AgentEnv.metadata[what])

    def to_json(self) -> dict[str, Any]:
        """JSON-clean, with the constructor's defaults. What text named, such as a judge, stays that text; other objects
        that are no data are named by their class.
        """
        made = self._arguments()
        named = {name: text for name, text in self.kwargs.items() if isinstance(text, str) and callable(made.get(name))}
        return {"id": find(self.id).id, "kwargs": plain({**defaults(self.cls), **made, **named})}

    def _arguments(self) -> dict[str, Any]:
        return arguments(self.cls, self.kwargs, f"environment {self.id!r}")


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
