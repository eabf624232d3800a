"""The state of a household world: an immutable value, so that a snapshot is a reference."""

from __future__ import annotations

from typing import NamedTuple

NOTHING = -1


class State(NamedTuple):
    """All that play changes. Objects, receptacles and places are numbers: indices into the game's tuples."""

    at: int
    """The place where the agent stands."""
    held: int
    """The object in hand, or `NOTHING`."""
    opened: int
    """Bit r is set when receptacle r is open."""
    inside: tuple[tuple[int, ...], ...]
    """For every receptacle the objects in it, ascending."""
    near: tuple[tuple[int, ...], ...]
    """For every place the objects that count as being there, ascending."""
    hot: int = 0
    """Bit o is set when object o is hot; the same for the next four."""
    cool: int = 0
    clean: int = 0
    sliced: int = 0
    toggled: int = 0
    taken: frozenset[tuple[int, int]] = frozenset()
    """(object, receptacle) for objects taken from a receptacle that shares its place with another and not put back:
    TextWorld shows such an object "next to" the receptacle once it lies in the neighbour."""
