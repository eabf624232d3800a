"""Builder of the games of generated tasks."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...errors import UsageError, unknown
from ..core import Task
from ..portable_rng import PortableRng
from .catalog import ABILITIES, CAN_CONTAIN, FIXED, OPENABLE, USUAL_RECEPTACLES
from .game import Game, Object, Receptacle, display_names
from .goals import TASK_TYPES, Goal
from .rooms import N_LAYOUTS, ROOM_OBJECTS, SIZE_RANGES, SIZES, layouts

MAX_OTHERS_PER_KIND: Mapping[str, int] = {"small": 2, "medium": 3, "kitchen": 5}
"""Maximum number of objects of one kind, not counting the kinds of the goal."""
HOME_DECAY = 0.6
"""Factor between the weights of successive usual kinds of receptacles, starting with 1 for the first."""

_KIND = {kind.lower(): kind for kind in (*CAN_CONTAIN, *USUAL_RECEPTACLES)}

_ABILITIES = {
    kind: frozenset(
        [name for name, kinds in ABILITIES.items() if kind in kinds] + ([] if kind in FIXED else ["pickupable"])
    )
    for kind in USUAL_RECEPTACLES
}

_MAX_HOMES = max(map(len, USUAL_RECEPTACLES.values()))
_CUMULATIVE_WEIGHTS = [
    tuple(itertools.accumulate(HOME_DECAY**rank for rank in range(n))) for n in range(_MAX_HOMES + 1)
]
"""Entry n: cumulative weights of n usual kinds of receptacles."""

Placement = list[tuple[str, int]]
"""Kinds of objects, each with the index of its receptacle."""

CAN_CONTAIN_LOWER = {kind.lower(): frozenset(thing.lower() for thing in things) for kind, things in CAN_CONTAIN.items()}
"""The table `CAN_CONTAIN` in lower case."""


@dataclass(frozen=True)
class World:
    """Parameters that determine a generated game."""

    size: str
    """`small`, `medium` or `kitchen`."""
    room: str
    """`kitchen`, `bedroom`, `bathroom` or `livingroom`."""
    layout: int
    """Index of the room's layout."""
    goal: Goal
    """The goal."""
    seed: int
    """Seed of the object placement and of the goal text."""


def world_of(task: Task) -> World:
    """Return the world of a task. Raises `UsageError` if the task's parameters are invalid."""
    params = task.params
    for name, known in (
        ("size", SIZES),
        ("type", TASK_TYPES),
        ("room", tuple(ROOM_OBJECTS)),
        ("layout", range(N_LAYOUTS)),
    ):
        value = params.get(name)
        if not isinstance(value, str if name != "layout" else int) or value not in known or isinstance(value, bool):
            raise unknown(f"household {name}", str(value), map(str, known), f"task {task.id!r}")
    room, thing, target = params["room"], params.get("object"), params.get("target")
    if thing not in ROOM_OBJECTS[room] or target not in _KIND.values():
        raise UsageError(
            f"task {task.id!r} has object {thing!r} and target {target!r} in its params; expected a known target "
            f"and an object of the {room}: {' '.join(ROOM_OBJECTS[room])}"
        )
    goal = Goal(params["type"], str(thing).lower(), str(target).lower())
    return World(params["size"], room, params["layout"], goal, task.seed)


def make_game(world: World) -> Game:
    """Return the game of a world. Deterministic.

    Args:
        world: The parameters of the game.

    Returns:
        The game.

    Raises:
        UsageError: If the layout has no receptacle for an object of the goal.
    """
    rng = PortableRng(f"world/{world.seed}")
    furnished = _furnish(world.size, world.room, world.layout)
    places = len(furnished.receptacles)
    return Game(
        receptacles=furnished.receptacles,
        objects=_objects(_scatter(rng, world.size, world.room, world.goal, furnished.homes)),
        can_contain=CAN_CONTAIN_LOWER,
        places=places + 1,
        start=places,
        goal=world.goal,
        task=world.goal.text(rng.below(2)),
    )


Homes = Mapping[str, Sequence[tuple[str, tuple[int, ...]]]]
"""For each kind of object, its usual kinds of receptacles in this room, with the indices of the receptacles."""


@dataclass(frozen=True)
class _FurnishedRoom:
    """A room without objects."""

    receptacles: tuple[Receptacle, ...]
    homes: Homes


@functools.cache
def _furnish(size: str, room: str, layout: int) -> _FurnishedRoom:
    kinds = {
        _entity(kind, number): kind for kind, count in layouts(size, room)[layout] for number in range(1, count + 1)
    }
    names = display_names(kinds)
    numbers: dict[str, list[int]] = {}
    receptacles = []
    for place, id_ in enumerate(sorted(kinds)):
        kind = kinds[id_]
        numbers.setdefault(kind, []).append(place)
        receptacles.append(Receptacle(id_, names[id_], kind.lower(), place, kind in OPENABLE))
    groups = {kind: (kind, tuple(places)) for kind, places in numbers.items()}
    homes = {thing: [groups[kind] for kind in usual if kind in groups] for thing, usual in USUAL_RECEPTACLES.items()}
    return _FurnishedRoom(tuple(receptacles), homes)


def _entity(kind: str, number: int) -> str:
    """Return the id of an entity. The head of a basin's id lacks `basin`, because the demangler appends it."""
    head = kind.lower()
    return f"{head.removesuffix('basin')}_bar_{number:02d}" + (f"_bar_{head}" if head.endswith("basin") else "")


def _scatter(rng: PortableRng, size: str, room: str, goal: Goal, homes: Homes) -> Placement:
    thing, target = _KIND[goal.object], _KIND[goal.target]
    things = [thing] * (2 + rng.below(2) if goal.count == 2 else rng.weighted((1, 2, 3), (5, 8, 10)))
    away = [home for home in homes[thing] if home[0] != target]
    placed = [(thing, _place(rng, thing, away)) for thing in things]
    if goal.count == 0:
        placed.append((target, _place(rng, target, homes[target])))
    others = [kind for kind in ROOM_OBJECTS[room] if kind not in (thing, target) and homes[kind]]
    left = {kind: 1 if kind in FIXED else MAX_OTHERS_PER_KIND[size] for kind in others}
    total = rng.between(*SIZE_RANGES[size].objects)
    while len(placed) < total and others:
        kind = rng.choice(others)
        placed.append((kind, _place(rng, kind, homes[kind])))
        left[kind] -= 1
        if not left[kind]:
            others.remove(kind)
    return placed


def _place(rng: PortableRng, kind: str, homes: Sequence[tuple[str, tuple[int, ...]]]) -> int:
    if not homes:
        raise UsageError(f"this layout has no receptacle for the {kind.lower()} of the goal; choose another layout")
    return rng.choice(rng.weighted(homes, _CUMULATIVE_WEIGHTS[len(homes)])[1])


def _objects(placed: Placement) -> tuple[Object, ...]:
    total = Counter([kind for kind, _ in placed])
    count: Counter[str] = Counter()
    objects = []
    for kind, r in sorted(placed, key=_lower_kind):
        count[kind] += 1
        objects.append(_object(kind, count[kind], total[kind], r))
    return tuple(objects)


def _lower_kind(pair: tuple[str, int]) -> str:
    return pair[0].lower()


@functools.lru_cache(maxsize=10_000)
def _object(kind: str, number: int, total: int, r: int) -> Object:
    lower = kind.lower()
    # The first id in sorted order gets the highest number; see `display_names`.
    name = f"{lower} {total - number + 1}"
    return Object(f"{lower}_bar_{number:02d}", name, lower, _ABILITIES[kind], (r,), (r,))
