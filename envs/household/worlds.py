"""Builds the game that a generated task stands for."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...errors import UsageError, unknown
from ..core import Task
from ..portable_rng import PortableRng
from .catalog import ABILITIES, FIXED, HOLDS, OPENABLE, USUAL
from .game import Game, Object, Receptacle, number_names
from .goals import TASK_TYPES, Goal
from .rooms import LAYOUTS, OBJECTS, SIZE, SIZES, layouts

MOST_ALIKE: Mapping[str, int] = {"small": 2, "medium": 3, "kitchen": 5}
"""How many objects of one kind lie about at most, beside those of the goal."""
FALLOFF = 0.6
"""An object is so much less often in its second usual kind of receptacle than in its first, and so on."""

_KIND = {kind.lower(): kind for kind in (*HOLDS, *USUAL)}

_ABILITIES = {
    kind: frozenset(
        [name for name, kinds in ABILITIES.items() if kind in kinds] + ([] if kind in FIXED else ["pickupable"])
    )
    for kind in USUAL
}

_MOST_HOMES = max(map(len, USUAL.values()))
_SUMS = [tuple(itertools.accumulate(FALLOFF**rank for rank in range(n))) for n in range(_MOST_HOMES + 1)]
"""For so many usual kinds of receptacles the running sums of their weights."""

Placed = list[tuple[str, int]]
"""Kinds of objects with the receptacles that they are in."""

HOLDS_BY_NAME = {kind.lower(): frozenset(thing.lower() for thing in things) for kind, things in HOLDS.items()}


@dataclass(frozen=True)
class World:
    """What a generated game is a function of."""

    size: str
    """`small`, `medium` or `kitchen`."""
    room: str
    """`kitchen`, `bedroom`, `bathroom` or `livingroom`."""
    layout: int
    """Which of the room's layouts."""
    goal: Goal
    """What is to be done."""
    seed: int
    """Decides what lies where, and which wording the goal has."""


def world_of(task: Task) -> World:
    """The world that a task stands for. Raises `UsageError` for params that name none."""
    params = task.params
    for name, known in (("size", SIZES), ("type", TASK_TYPES), ("room", tuple(OBJECTS)), ("layout", range(LAYOUTS))):
        value = params.get(name)
        if not isinstance(value, str if name != "layout" else int) or value not in known or isinstance(value, bool):
            raise unknown(f"household {name} (in params of task {task.id!r})", str(value), map(str, known))
    room, thing, target = params["room"], params.get("object"), params.get("target")
    if thing not in OBJECTS[room] or target not in _KIND.values():
        raise UsageError(
            f"task {task.id!r}: the object {thing!r} and target {target!r} of its params are not of this world; "
            f"objects of the {room}: {' '.join(OBJECTS[room])}"
        )
    goal = Goal(params["type"], str(thing).lower(), str(target).lower())
    return World(params["size"], room, params["layout"], goal, task.seed)


def make_game(world: World) -> Game:
    """The game of a world. Raises `UsageError` when the layout has no receptacle for the goal's objects."""
    rng = PortableRng(f"world/{world.seed}")
    furnished = _furnish(world.size, world.room, world.layout)
    places = len(furnished.receptacles)
    return Game(
        receptacles=furnished.receptacles,
        objects=_objects(_scatter(rng, world.size, world.room, world.goal, furnished.homes)),
        holds=HOLDS_BY_NAME,
        places=places + 1,
        start=places,
        goal=world.goal,
        task=world.goal.text(rng.below(2)),
    )


Homes = Mapping[str, Sequence[tuple[str, tuple[int, ...]]]]
"""For every kind of object, its usual kinds of receptacles that there are, with the numbers of those of each kind."""


@dataclass(frozen=True)
class _Furnished:
    """A room before anything lies in it."""

    receptacles: tuple[Receptacle, ...]
    homes: Homes


@functools.cache
def _furnish(size: str, room: str, layout: int) -> _Furnished:
    kinds = {
        _entity(kind, number): kind for kind, count in layouts(size, room)[layout] for number in range(1, count + 1)
    }
    names = number_names(kinds)
    numbers: dict[str, list[int]] = {}
    receptacles = []
    for place, id_ in enumerate(sorted(kinds)):
        kind = kinds[id_]
        numbers.setdefault(kind, []).append(place)
        receptacles.append(Receptacle(id_, names[id_], kind.lower(), place, kind in OPENABLE))
    groups = {kind: (kind, tuple(places)) for kind, places in numbers.items()}
    homes = {thing: [groups[kind] for kind in usual if kind in groups] for thing, usual in USUAL.items()}
    return _Furnished(tuple(receptacles), homes)


def _entity(kind: str, number: int) -> str:
    """The id of an entity; a basin's has `basin` in its tail only, for the demangler adds it to the name."""
    head = kind.lower()
    return f"{head.removesuffix('basin')}_bar_{number:02d}" + (f"_bar_{head}" if head.endswith("basin") else "")


def _scatter(rng: PortableRng, size: str, room: str, goal: Goal, homes: Homes) -> Placed:
    thing, target = _KIND[goal.object], _KIND[goal.target]
    things = [thing] * (2 + rng.below(2) if goal.count == 2 else rng.weighted((1, 2, 3), (5, 8, 10)))
    away = [home for home in homes[thing] if home[0] != target]
    placed = [(thing, _place(rng, thing, away)) for thing in things]
    if goal.count == 0:
        placed.append((target, _place(rng, target, homes[target])))
    others = [kind for kind in OBJECTS[room] if kind not in (thing, target) and homes[kind]]
    left = {kind: 1 if kind in FIXED else MOST_ALIKE[size] for kind in others}
    total = rng.between(*SIZE[size].objects)
    while len(placed) < total and others:
        kind = rng.choice(others)
        placed.append((kind, _place(rng, kind, homes[kind])))
        left[kind] -= 1
        if not left[kind]:
            others.remove(kind)
    return placed


def _place(rng: PortableRng, kind: str, homes: Sequence[tuple[str, tuple[int, ...]]]) -> int:
    if not homes:
        raise UsageError(f"no receptacle of this layout can have the {kind.lower()} of the goal; choose another layout")
    return rng.choice(rng.weighted(homes, _SUMS[len(homes)])[1])


def _objects(placed: Placed) -> tuple[Object, ...]:
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
    # The demangler numbers from the highest down in the order of ids.
    name = f"{lower} {total - number + 1}"
    return Object(f"{lower}_bar_{number:02d}", name, lower, _ABILITIES[kind], (r,), (r,))
