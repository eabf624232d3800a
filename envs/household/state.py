"""The state of a household world. It is immutable, so a snapshot is a reference."""

from __future__ import annotations

from typing import NamedTuple

NO_OBJECT = -1
"""Value of `State.held` when the hand is empty."""


class State(NamedTuple):
    """The changing part of a game. Objects, receptacles and places are indices into the tuples of `Game`."""

    at: int
    """Place of the agent."""
    held: int
    """Object in hand, or `NO_OBJECT`."""
    opened: int
    """Bit mask of the open receptacles: bit r stands for receptacle r."""
    inside: tuple[tuple[int, ...], ...]
    """For each receptacle, the objects in it, ascending."""
    near: tuple[tuple[int, ...], ...]
    """For each place, the objects there according to `objectAtLocation`, ascending."""
    hot: int = 0
    """Bit mask of the hot objects: bit o stands for object o. The next four fields have the same form."""
    cool: int = 0
    clean: int = 0
    sliced: int = 0
    toggled: int = 0
    taken: frozenset[tuple[int, int]] = frozenset()
    """Pairs (object, receptacle) of objects that were taken and not put back, for receptacles that share their place.

    TextWorld shows such an object "next to" the receptacle once it lies in a neighbouring one.
    """
