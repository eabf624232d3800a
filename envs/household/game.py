"""A game: the fixed properties, the initial state and the goal of one household world."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .goals import Goal
from .state import NO_OBJECT


@dataclass(frozen=True, slots=True)
class Receptacle:
    """A piece of furniture or an appliance that objects lie in or on."""

    id: str
    """Entity name in the PDDL problem, in lower case, such as `cabinet_bar_01`."""
    name: str
    """Name in commands and observations, such as `cabinet 1`."""
    kind: str
    """Type in lower case, without the suffix `type`, such as `cabinet`."""
    place: int
    """Place from which the agent reaches it, or -1 if it cannot be reached. Several receptacles may share a place."""
    openable: bool
    """Whether it can be opened and closed."""
    opened: bool = False
    """Whether it is open initially."""


@dataclass(frozen=True, slots=True)
class Object:
    """A thing that lies in a receptacle and can usually be picked up."""

    id: str
    """Entity name in the PDDL problem, in lower case."""
    name: str
    """Name in commands and observations, such as `mug 1`."""
    kind: str
    """Type in lower case, without the suffix `type`, such as `mug`."""
    abilities: frozenset[str]
    """Subset of `pickupable`, `heatable`, `coolable`, `cleanable`, `toggleable`, `sliceable`, `container`."""
    inside: tuple[int, ...]
    """Indices of the receptacles that contain it initially; usually one."""
    near: tuple[int, ...]
    """Initial places of the object (ALFRED's `objectAtLocation`). It can be sliced there."""
    states: frozenset[str] = frozenset()
    """Initial states: a subset of `hot`, `cool`, `clean`, `sliced`, `toggled`."""
    contents: tuple[int, ...] = ()
    """Indices of the objects inside it (ALFRED's `inReceptacleObject`). They never change."""


TOOLS: Mapping[str, frozenset[str]] = {
    "heat": frozenset({"microwave"}),
    "cool": frozenset({"fridge"}),
    "clean": frozenset({"sinkbasin"}),
    "slice": frozenset({"knife", "butterknife"}),
}
"""Kinds of receptacles that heat, cool and clean objects, and kinds of objects that slice."""


@dataclass(frozen=True)
class Game:
    """The initial state and the goal of one household world.

    Receptacles and objects are sorted by id, because TextWorld lists everything in that order. All other fields refer
    to them by index.
    """

    receptacles: tuple[Receptacle, ...]
    """All receptacles, sorted by id."""
    objects: tuple[Object, ...]
    """All objects, sorted by id."""
    can_contain: Mapping[str, frozenset[str]]
    """For each kind of receptacle, the kinds of objects that may be put there, in lower case."""
    places: int
    """Number of places. Places are numbered from 0."""
    start: int
    """Initial place of the agent."""
    goal: Goal
    """The condition for winning."""
    task: str
    """Goal in the words of the game, without the closing full stop."""
    held: int = NO_OBJECT
    """Index of the object in hand initially, or `NO_OBJECT`."""
    tools: Mapping[str, frozenset[str]] = field(default_factory=lambda: TOOLS)
    """Kinds of receptacles and objects that heat, cool, clean and slice; see `TOOLS`."""
    place_ids: tuple[str, ...] = ()
    """Entity names of the places in the PDDL problem, sorted. Empty for generated games."""
    place_names: tuple[str, ...] = ()
    """Names of the places in older wordings, such as `loc 15`. Empty for generated games."""
    agent: str = "agent1 "
    """Name of the agent. TextWorld ends names without a number with a blank."""


def display_names(ids: Iterable[str]) -> dict[str, str]:
    """Return the display name of each entity, as ALFWorld's demangler forms it: `mug_bar_07` may become `mug 2`.

    The kind is the part of the id before `_bar_`, with `basin` appended if the id contains that word. Within a kind,
    the first id in sorted order gets the highest number. An id without `_bar_` keeps its name, followed by a blank.

    Args:
        ids: Entity names in the PDDL problem.

    Returns:
        Display names by id.
    """
    kinds: dict[str, str] = {}
    for id_ in sorted(ids):
        head, mark, _ = id_.partition("_bar_")
        kinds[id_] = head + ("basin" if mark and "basin" in id_ else "") if mark else ""
    left = Counter(kinds.values())
    names = {}
    for id_, kind in kinds.items():
        names[id_] = f"{kind} {left[kind]}" if kind else f"{id_} "
        left[kind] -= 1
    return names
