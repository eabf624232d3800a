"""A game: everything about one household world that play does not change, and how it stands at the beginning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .goals import Goal
from .state import NOTHING


@dataclass(frozen=True, slots=True)
class Receptacle:
    """A thing that objects lie in or on."""

    id: str
    """The entity's name in the problem, lower case: `cabinet_bar_01`."""
    name: str
    """What the game calls it: `cabinet 1`."""
    kind: str
    """Its type, lower case without `type`: `cabinet`."""
    place: int
    """Where one stands to reach it, -1 when nowhere; several receptacles may share a place."""
    openable: bool
    """Whether it opens and closes."""
    opened: bool = False
    """Whether it is open at the beginning."""


@dataclass(frozen=True, slots=True)
class Object:
    """A thing that lies in a receptacle and, usually, can be picked up."""

    id: str
    """The entity's name in the problem, lower case."""
    name: str
    """What the game calls it: `mug 1`."""
    kind: str
    """Its type, lower case: `mug`."""
    abilities: frozenset[str]
    """Of `pickupable`, `heatable`, `coolable`, `cleanable`, `toggleable`, `sliceable`, `container`."""
    inside: tuple[int, ...]
    """Receptacles that it is in at the beginning (indices into `Game.receptacles`); one, as a rule."""
    near: tuple[int, ...]
    """Places where it counts as being (ALFRED's `objectAtLocation`), which decide where it can be sliced."""
    states: frozenset[str] = frozenset()
    """Of `hot`, `cool`, `clean`, `sliced`, `toggled`, what it is at the beginning."""
    contents: tuple[int, ...] = ()
    """Objects that lie in it (ALFRED's `inReceptacleObject`); play never changes that."""


TOOLS: Mapping[str, frozenset[str]] = {
    "heat": frozenset({"microwave"}),
    "cool": frozenset({"fridge"}),
    "clean": frozenset({"sinkbasin"}),
    "slice": frozenset({"knife", "butterknife"}),
}
"""Kinds of receptacles at which objects are heated, cooled and cleaned, and kinds of objects that slice."""


@dataclass(frozen=True)
class Game:
    """One household world at its beginning, and its goal.

    Receptacles and objects are sorted by id: TextWorld lists everything in that order.
    """

    receptacles: tuple[Receptacle, ...]
    """Sorted by id."""
    objects: tuple[Object, ...]
    """Sorted by id."""
    holds: Mapping[str, frozenset[str]]
    """For every kind of receptacle the kinds of objects that may be put there, lower case."""
    places: int
    """How many places there are; they are numbered from 0."""
    start: int
    """The place where the agent stands at first."""
    goal: Goal
    """When the game is won."""
    task: str
    """The goal as the game states it, without the closing full stop."""
    held: int = NOTHING
    """The object in hand at the beginning."""
    tools: Mapping[str, frozenset[str]] = field(default_factory=lambda: TOOLS)
    """What heats, cools, cleans and slices, where that is not the usual."""
    place_ids: tuple[str, ...] = ()
    """The places' names in the problem, sorted; given for games that come from a file."""
    place_names: tuple[str, ...] = ()
    """What older wordings call the places: `loc 15`."""
    agent: str = "agent1 "
    """What the game calls the agent: TextWorld names what has no number with a blank at the end."""


def number_names(ids: Iterable[str]) -> dict[str, str]:
    """What ALFWorld's demangler calls every entity: `mug_bar_07` is `mug 2`.

    Entities are counted by the part before `_bar_` (with `basin` appended when the id contains that) and, in the order
    of their ids, given the numbers from the highest down. An id without `_bar_` keeps its own name and a blank.
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
