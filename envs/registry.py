"""The registry of environments, and `EnvSpec`: an environment with its constructor arguments, as plain data.

A package adds an environment with an entry point in its `pyproject.toml`, named by the Gymnasium id:

    [project.entry-points."kintsugi.envs"]
    "mine/Garden-v0" = "mypackage.garden:GardenEnv"
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import gymnasium

from ..arguments import defaults, parse_arguments, to_plain
from ..errors import UsageError, unknown
from ..plugins import Plugin, load, plugins
from .core import AgentEnv, TaskSet

GROUP = "kintsugi.envs"


@dataclass(frozen=True)
class EnvEntry:
    """One registered environment. Its class is imported when it is first used."""

    id: str
    """Gymnasium id, e.g. `kintsugi/Household-v0`."""
    entry_point: str
    """`module:Class` of a subclass of `AgentEnv`."""
    about: str
    """Description in one line, shown by `kintsugi envs`."""

    @property
    def name(self) -> str:
        """Short name for the command line: `kintsugi/Household-v0` is `household`."""
        return re.sub(r"-v\d+$", "", self.id.rpartition("/")[2]).lower()

    def load(self) -> type[AgentEnv]:
        """Return the class. Its module is imported if necessary.

        Raises:
            UsageError: If the entry point cannot be imported or is not an `AgentEnv` with an `env_id`.
        """
        about = f"environment {self.id!r} ({self.about})"
        found = load(self.entry_point, about)
        if not (isinstance(found, type) and issubclass(found, AgentEnv)):
            raise UsageError(
                f"{about}: {self.entry_point!r} is {found!r}, expected a subclass of kintsugi.envs.AgentEnv"
            )
        if not isinstance(getattr(found, "env_id", None), str):
            raise UsageError(f"{about}: {self.entry_point!r} has no env_id; set it to an id such as 'mine/Garden-v0'")
        return found


BUILTIN = (
    EnvEntry(
        "kintsugi/Household-v0", "kintsugi.envs.household:HouseholdEnv", "household chores in the style of ALFWorld"
    ),
    EnvEntry("kintsugi/Code-v0", "kintsugi.envs.code:CodeEnv", "programming tasks, solved in a sandbox"),
    EnvEntry("kintsugi/Trading-v0", "kintsugi.envs.trading:TradingEnv", "trading one account on prices and news"),
    EnvEntry("kintsugi/Web-v0", "kintsugi.envs.web:WebEnv", "websites in a real browser, MiniWoB++, live web tasks"),
)


def entries() -> list[EnvEntry]:
    """Return all environments: the built-in ones first, then those of installed packages.

    An entry point cannot replace a built-in id.
    """
    ours = [Plugin(entry.id, entry.entry_point, entry.about) for entry in BUILTIN]
    return [EnvEntry(plugin.name, plugin.target, plugin.about) for plugin in plugins(GROUP, ours)]


def find(name: str) -> EnvEntry:
    """Return an environment by name, without importing its class.

    Args:
        name: Short name such as `household`, Gymnasium id, or `module:Class`.

    Raises:
        UsageError: If there is none (the message suggests similar names), or if a short name is ambiguous.
    """
    known = entries()
    meant = [entry for entry in known if name == entry.id] or [entry for entry in known if name == entry.name]
    if len(meant) > 1:
        both = ", ".join(entry.id for entry in meant)
        raise UsageError(f"environment name {name!r} is ambiguous: it fits {both}; use one of these ids")
    if meant:
        return meant[0]
    if ":" in name:
        return EnvEntry(name, name, "named by its module")
    raise unknown("environment", name, [entry.id if "/" in name else entry.name for entry in known])


@dataclass(frozen=True)
class EnvSpec:
    """An environment as plain data, to store it with a run and to make it again on another machine.

    Evaluations and loops take environments in this form. `EnvSpec("household").make()` returns one.
    """

    id: str = "household"
    """Short name, Gymnasium id or `module:Class`."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Constructor arguments. Text is converted to the annotated type (`config.screenshots`: `true`)."""

    @cached_property
    def cls(self) -> type[AgentEnv]:
        """The environment class. Raises `UsageError` if there is no such environment."""
        # Kept, because finding the entry points of all installed packages takes longer than a short episode.
        return find(self.id).load()

    @property
    def name(self) -> str:
        """Short name: the id of the class without namespace and version, in lower case."""
        return EnvEntry(self.cls.env_id, "", "").name

    def make(self) -> AgentEnv:
        """Return a new environment.

        Raises:
            UsageError: If an argument does not exist or has the wrong type.
        """
        return self.cls(**self._arguments())

    def tasks(self, split: str, n: int | None = None, seed: int = 0, **params: Any) -> TaskSet:
        """Return tasks of a split.

        Args:
            split: Name of the split, such as `train`.
            n: Number of tasks; None is the environment's default.
            seed: Seed of the drawn tasks.
            **params: Further arguments of the environment's `tasks`.

        Raises:
            UsageError: If `n` is less than 1, or if the split is unknown or empty.
        """
        if n is not None and n < 1:
            raise UsageError(f"tasks is {n}; expected at least 1")
        found = self.cls.tasks(split, n, seed, **params)
        if not len(found):
            raise UsageError(f"split {split!r} of {self.id!r} has no tasks; choose another split")
        return found

    def check(self) -> None:
        """Raise `UsageError` if the environment or one of the arguments does not exist."""
        self._arguments()

    def with_args(self, **kwargs: Any) -> EnvSpec:
        """Return a copy with further constructor arguments.

        Args:
            **kwargs: Arguments, as values or as text. They replace those of the same name.
        """
        return replace(self, kwargs={**self.kwargs, **kwargs})

    def with_step_limit(self, limit: int | None) -> EnvSpec:
        """Return a copy whose episodes are cut earlier.

        Args:
            limit: Maximum number of steps; None keeps the environment's own limit.
        """
        if limit is None:
            return self
        with contextlib.closing(self.make()) as made:
            own = made.max_steps
        return self.with_args(max_steps=min(own, limit))

    def metadata_value(self, key: str) -> Any:
        """Return an entry of the class's `metadata`, or else the default of `AgentEnv`.

        Args:
            key: A key of `AgentEnv.metadata`, such as `turn_tokens`.

        Raises:
            KeyError: If `AgentEnv.metadata` has no such key.
        """
        return self.cls.metadata.get(key, AgentEnv.metadata[key])

    def to_json(self) -> dict[str, Any]:
        """Return the environment as JSON values, with the constructor's defaults filled in.

        An object that was given as text, such as a judge, is stored as that text. Other objects that are not plain data
        are stored as the name of their class.
        """
        made = self._arguments()
        named = {name: text for name, text in self.kwargs.items() if isinstance(text, str) and callable(made.get(name))}
        return {"id": find(self.id).id, "kwargs": to_plain({**defaults(self.cls), **made, **named})}

    def _arguments(self) -> dict[str, Any]:
        return parse_arguments(self.cls, self.kwargs, f"environment {self.id!r}")


def register_all() -> None:
    """Register all environments with Gymnasium. Repeated calls do nothing. Warns about ids that Gymnasium rejects."""
    for entry in entries():
        if entry.id in gymnasium.registry:
            continue
        try:
            gymnasium.register(id=entry.id, entry_point=entry.entry_point)
        except gymnasium.error.Error as error:
            # One broken package must not prevent the import of Kintsugi.
            warnings.warn(
                f"environment {entry.id!r} ({entry.about}) is not registered with Gymnasium: {error}; correct its id",
                stacklevel=2,
            )
