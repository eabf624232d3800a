"""The predicates that a grammar can query, as relations between entity indices.

Facts are listed in TextWorld's order, which is by the ids of their arguments. Entities are numbered in that order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..game import Game
from ..state import NO_OBJECT, State

Kind = Literal["agent", "location", "receptacle", "object"]
KINDS: tuple[Kind, ...] = ("agent", "location", "receptacle", "object")
Dependency = Literal["nothing", "opened", "inside", "view", "all"]
"""Part of a state that a text depends on.

`opened` and `inside` refer to one receptacle. `view` comprises the agent's place, the object in hand, the places of
objects and the objects taken: `State.at`, `held`, `near` and `taken`.
"""
Row = tuple[int, ...]
Argument = int | None
"""Index of a bound argument, or None for a free one."""


class Tables:
    """Lookup tables of a game, by entity index."""

    def __init__(self, game: Game) -> None:
        self.game = game
        self.names: dict[Kind, list[str]] = {
            "agent": [game.agent],
            "location": list(game.place_names),
            "receptacle": [receptacle.name for receptacle in game.receptacles],
            "object": [thing.name for thing in game.objects],
        }
        self.ids: dict[Kind, list[str]] = {
            "agent": [game.agent.strip()],
            "location": list(game.place_ids),
            "receptacle": [receptacle.id for receptacle in game.receptacles],
            "object": [thing.id for thing in game.objects],
        }
        self.place_of = [receptacle.place for receptacle in game.receptacles]
        self.openable = [receptacle.openable for receptacle in game.receptacles]
        here: list[list[int]] = [[] for _ in range(game.places)]
        for r, place in enumerate(self.place_of):
            if place >= 0:
                here[place].append(r)
        self.receptacles_at = tuple(map(tuple, here))
        """For each place, the receptacles that the agent reaches from there."""


Rows = Callable[..., Sequence[Row]]


@dataclass(frozen=True)
class Relation:
    """A predicate that a grammar can query."""

    kinds: tuple[Kind, ...]
    """Kinds of its arguments."""
    rows: Rows
    """`rows(tables, state, *arguments)` returns the facts that match the bound arguments, in order."""
    depends_on: Dependency
    """Part of the state that it depends on."""


def _receptacles_at(t: Tables, s: State, r: Argument, place: Argument) -> Sequence[Row]:
    if r is not None:
        return [(r, t.place_of[r])] if t.place_of[r] >= 0 and place in (None, t.place_of[r]) else []
    if place is not None:
        return [(other, place) for other in t.receptacles_at[place]]
    return [(r, place) for r, place in enumerate(t.place_of) if place >= 0]


def _objects_at(t: Tables, s: State, o: Argument, place: Argument) -> Sequence[Row]:
    if place is not None:
        return [(other, place) for other in s.near[place] if o in (None, other)]
    return sorted((other, place) for place, things in enumerate(s.near) for other in things if o in (None, other))


def _objects_in(t: Tables, s: State, o: Argument, r: Argument) -> Sequence[Row]:
    if r is not None:
        return [(other, r) for other in s.inside[r] if o in (None, other)]
    return sorted((other, r) for r, things in enumerate(s.inside) for other in things if o in (None, other))


def _taken(t: Tables, s: State, o: Argument, r: Argument) -> Sequence[Row]:
    return sorted(pair for pair in s.taken if o in (None, pair[0]) and r in (None, pair[1]))


def _inner(t: Tables, s: State, o: Argument, outer: Argument) -> Sequence[Row]:
    things = t.game.objects
    outers = range(len(things)) if outer is None else (outer,)
    return sorted((inner, n) for n in outers for inner in things[n].contents if o in (None, inner))


def _held(t: Tables, s: State, a: Argument, o: Argument) -> Sequence[Row]:
    return [(0, s.held)] if s.held != NO_OBJECT and o in (None, s.held) else []


def _at(t: Tables, s: State, a: Argument, place: Argument) -> Sequence[Row]:
    return [(0, s.at)] if place in (None, s.at) else []


def _opened(t: Tables, s: State, r: Argument) -> Sequence[Row]:
    if r is not None:
        return [(r,)] if s.opened >> r & 1 else []
    return [(r,) for r in range(len(t.place_of)) if s.opened >> r & 1]


def _openable(t: Tables, s: State, r: Argument) -> Sequence[Row]:
    if r is not None:
        return [(r,)] if t.openable[r] else []
    return [(r,) for r, openable in enumerate(t.openable) if openable]


def _with_ability(ability: str) -> Rows:
    def rows(t: Tables, s: State, o: Argument) -> Sequence[Row]:
        things = t.game.objects
        return [(o,) for o in (range(len(things)) if o is None else (o,)) if ability in things[o].abilities]

    return rows


def _with_state(state: str) -> Rows:
    number = State._fields.index(state)

    def rows(t: Tables, s: State, o: Argument) -> Sequence[Row]:
        bits = s[number]
        assert isinstance(bits, int)
        return [(o,) for o in (range(len(t.game.objects)) if o is None else (o,)) if bits >> o & 1]

    return rows


RELATIONS: dict[str, Relation] = {
    "atlocation": Relation(("agent", "location"), _at, "view"),
    "receptacleatlocation": Relation(("receptacle", "location"), _receptacles_at, "nothing"),
    "objectatlocation": Relation(("object", "location"), _objects_at, "view"),
    "inreceptacle": Relation(("object", "receptacle"), _objects_in, "inside"),
    "not_inreceptacle": Relation(("object", "receptacle"), _taken, "view"),
    "inreceptacleobject": Relation(("object", "object"), _inner, "nothing"),
    "openable": Relation(("receptacle",), _openable, "nothing"),
    "opened": Relation(("receptacle",), _opened, "opened"),
    "holds": Relation(("agent", "object"), _held, "view"),
    "holdsany": Relation(("agent",), lambda t, s, a: [] if s.held == NO_OBJECT else [(0,)], "view"),
    "isreceptacleobject": Relation(("object",), _with_ability("container"), "nothing"),
    **{
        name: Relation(("object",), _with_ability(name), "nothing")
        for name in ("pickupable", "cleanable", "heatable", "coolable", "toggleable", "sliceable")
    },
    **{
        name: Relation(("object",), _with_state(state), "all")
        for name, state in (
            ("isclean", "clean"),
            ("ishot", "hot"),
            ("iscool", "cool"),
            ("issliced", "sliced"),
            ("istoggled", "toggled"),
        )
    },
}
"""Relations by predicate name in lower case."""

EMPTY_RELATIONS = frozenset(
    f"not_{name}"
    for name in (
        "isclean issliced istoggled openable pickupable cleanable heatable coolable toggleable sliceable "
        "isreceptacleobject receptacleatlocation"
    ).split()
)
"""Negations that never hold in TextWorld, because no action deletes the positive fact."""
