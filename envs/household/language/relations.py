"""What a grammar can ask about a state: the predicates that the engine keeps, as relations of numbers.

The facts of a relation come in TextWorld's order, by the ids of their arguments; entities are numbered in that order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..game import Game
from ..state import NOTHING, State

Kind = Literal["agent", "location", "receptacle", "object"]
KINDS: tuple[Kind, ...] = ("agent", "location", "receptacle", "object")
Reads = Literal["nothing", "opened", "inside", "view", "all"]
"""What of a state an answer depends on: `opened` and `inside` of one receptacle; the `view` is where the agent stands,
what it holds, what counts as being where, and what was taken from where."""
Row = tuple[int, ...]
Known = int | None
"""An argument where it is known, None where it is asked for."""


class Tables:
    """What texts need of a game, by number."""

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
        self.place = [receptacle.place for receptacle in game.receptacles]
        self.openable = [receptacle.openable for receptacle in game.receptacles]
        here: list[list[int]] = [[] for _ in range(game.places)]
        for r, place in enumerate(self.place):
            if place >= 0:
                here[place].append(r)
        self.here = tuple(map(tuple, here))
        """For every place the receptacles that one faces there."""


Rows = Callable[..., Sequence[Row]]


@dataclass(frozen=True)
class Relation:
    """One predicate."""

    kinds: tuple[Kind, ...]
    """What its arguments are."""
    rows: Rows
    """`rows(tables, state, *known)`: the facts that agree with what is known, in order."""
    reads: Reads
    """What of the state it depends on."""


def _receptacles_at(t: Tables, s: State, r: Known, place: Known) -> Sequence[Row]:
    if r is not None:
        return [(r, t.place[r])] if t.place[r] >= 0 and place in (None, t.place[r]) else []
    if place is not None:
        return [(other, place) for other in t.here[place]]
    return [(r, place) for r, place in enumerate(t.place) if place >= 0]


def _objects_at(t: Tables, s: State, o: Known, place: Known) -> Sequence[Row]:
    if place is not None:
        return [(other, place) for other in s.near[place] if o in (None, other)]
    return sorted((other, place) for place, things in enumerate(s.near) for other in things if o in (None, other))


def _objects_in(t: Tables, s: State, o: Known, r: Known) -> Sequence[Row]:
    if r is not None:
        return [(other, r) for other in s.inside[r] if o in (None, other)]
    return sorted((other, r) for r, things in enumerate(s.inside) for other in things if o in (None, other))


def _taken(t: Tables, s: State, o: Known, r: Known) -> Sequence[Row]:
    return sorted(pair for pair in s.taken if o in (None, pair[0]) and r in (None, pair[1]))


def _inner(t: Tables, s: State, o: Known, outer: Known) -> Sequence[Row]:
    things = t.game.objects
    outers = range(len(things)) if outer is None else (outer,)
    return sorted((inner, n) for n in outers for inner in things[n].contents if o in (None, inner))


def _held(t: Tables, s: State, a: Known, o: Known) -> Sequence[Row]:
    return [(0, s.held)] if s.held != NOTHING and o in (None, s.held) else []


def _at(t: Tables, s: State, a: Known, place: Known) -> Sequence[Row]:
    return [(0, s.at)] if place in (None, s.at) else []


def _opened(t: Tables, s: State, r: Known) -> Sequence[Row]:
    if r is not None:
        return [(r,)] if s.opened >> r & 1 else []
    return [(r,) for r in range(len(t.place)) if s.opened >> r & 1]


def _openable(t: Tables, s: State, r: Known) -> Sequence[Row]:
    if r is not None:
        return [(r,)] if t.openable[r] else []
    return [(r,) for r, openable in enumerate(t.openable) if openable]


def _able(ability: str) -> Rows:
    def rows(t: Tables, s: State, o: Known) -> Sequence[Row]:
        things = t.game.objects
        return [(o,) for o in (range(len(things)) if o is None else (o,)) if ability in things[o].abilities]

    return rows


def _is(state: str) -> Rows:
    number = State._fields.index(state)

    def rows(t: Tables, s: State, o: Known) -> Sequence[Row]:
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
    "holdsany": Relation(("agent",), lambda t, s, a: [] if s.held == NOTHING else [(0,)], "view"),
    "isreceptacleobject": Relation(("object",), _able("container"), "nothing"),
    **{
        name: Relation(("object",), _able(name), "nothing")
        for name in ("pickupable", "cleanable", "heatable", "coolable", "toggleable", "sliceable")
    },
    **{
        name: Relation(("object",), _is(state), "all")
        for name, state in (
            ("isclean", "clean"),
            ("ishot", "hot"),
            ("iscool", "cool"),
            ("issliced", "sliced"),
            ("istoggled", "toggled"),
        )
    },
}
"""By the predicate's name in lower case."""

NEVER = frozenset(
    f"not_{name}"
    for name in (
        "isclean issliced istoggled openable pickupable cleanable heatable coolable toggleable sliceable "
        "isreceptacleobject receptacleatlocation"
    ).split()
)
"""Negations that TextWorld never has as facts, because no action takes away what they deny."""
