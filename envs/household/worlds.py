"""Builds the game that a generated task stands for."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence

from ...errors import UsageError, unknown
from ..core import Task
from .catalog import ABILITIES, FIXED, HOLDS, OPENABLE, USUAL
from .dice import Dice
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

Placed = list[tuple[str, int]]
"""Kinds of objects with the receptacles that they are in."""

_HOLDS = {kind.lower(): frozenset(thing.lower() for thing in things) for kind, things in HOLDS.items()}


def make_game(task: Task) -> Game:
    """The game of a task, a function of its params and seed. Raises `UsageError` for params that make no game."""
    size, room, layout, goal = _read(task)
    dice = Dice(f"world/{task.seed}")
    receptacles, numbers = _furnish(size, room, layout)
    placed = _scatter(dice, size, room, goal, numbers)
    return Game(
        receptacles=receptacles,
        objects=_objects(placed),
        holds=_HOLDS,
        places=len(receptacles) + 1,
        start=len(receptacles),
        goal=goal,
        task=goal.text(dice.below(2)),
    )


def _read(task: Task) -> tuple[str, str, int, Goal]:
    params = task.params
    for name, known in (("size", SIZES), ("type", TASK_TYPES), ("room", tuple(OBJECTS)), ("layout", range(LAYOUTS))):
        value = params.get(name)
        if not isinstance(value, str if name != "layout" else int) or value not in known or isinstance(value, bool):
            raise unknown(f"household {name} (in params of task {task.id!r})", str(value), map(str, known))
    thing, target = params.get("object"), params.get("target")
    if thing not in OBJECTS[params["room"]] or target not in _KIND.values():
        raise UsageError(
            f"task {task.id!r}: the object {thing!r} and target {target!r} of its params are not of this world; "
            f"objects of the {params['room']}: {' '.join(OBJECTS[params['room']])}"
        )
    goal = Goal(params["type"], str(thing).lower(), str(target).lower())
    return params["size"], params["room"], params["layout"], goal


@functools.cache
def _furnish(size: str, room: str, layout: int) -> tuple[tuple[Receptacle, ...], Mapping[str, tuple[int, ...]]]:
    """The receptacles of a layout, sorted by id, and the numbers of those of each kind."""
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
    return tuple(receptacles), {kind: tuple(places) for kind, places in numbers.items()}


def _entity(kind: str, number: int) -> str:
    """The id of an entity; a basin's has `basin` in its tail only, for the demangler adds it to the name."""
    head = kind.lower()
    return f"{head.removesuffix('basin')}_bar_{number:02d}" + (f"_bar_{head}" if head.endswith("basin") else "")


def _scatter(dice: Dice, size: str, room: str, goal: Goal, numbers: Mapping[str, tuple[int, ...]]) -> Placed:
    thing, target = (_KIND[goal.object], _KIND[goal.target])
    things = [thing] * (2 + dice.below(2) if goal.count == 2 else dice.weighted((1, 2, 3), (5, 3, 2)))
    placed = [(thing, _place(dice, thing, numbers, avoid=target)) for thing in things]
    if goal.count == 0:
        placed.append((target, _place(dice, target, numbers)))
    others = [kind for kind in OBJECTS[room] if kind not in (thing, target) and _usual(kind, numbers)]
    left = Counter(dict.fromkeys(others, MOST_ALIKE[size]))
    left.update({kind: 1 - left[kind] for kind in FIXED & left.keys()})
    total = dice.between(*SIZE[size].objects)
    while len(placed) < total and others:
        kind = dice.choice(others)
        placed.append((kind, _place(dice, kind, numbers)))
        left[kind] -= 1
        if not left[kind]:
            others.remove(kind)
    return placed


def _usual(kind: str, numbers: Mapping[str, tuple[int, ...]], avoid: str | None = None) -> Sequence[str]:
    return [place for place in USUAL[kind] if place in numbers and place != avoid]


def _place(dice: Dice, kind: str, numbers: Mapping[str, tuple[int, ...]], avoid: str | None = None) -> int:
    places = _usual(kind, numbers, avoid)
    if not places:
        raise UsageError(f"no receptacle of this layout can have the {kind.lower()} of the goal; choose another layout")
    weights = [FALLOFF**rank for rank in range(len(places))]
    return dice.choice(numbers[dice.weighted(places, weights)])


def _objects(placed: Placed) -> tuple[Object, ...]:
    total = Counter(kind for kind, _ in placed)
    count: Counter[str] = Counter()
    objects = []
    for kind, r in sorted(placed, key=lambda pair: pair[0].lower()):
        count[kind] += 1
        lower, number = kind.lower(), count[kind]
        # The demangler numbers from the highest down in the order of ids.
        name = f"{lower} {total[kind] - number + 1}"
        objects.append(Object(f"{lower}_bar_{number:02d}", name, lower, _ABILITIES[kind], (r,), (r,)))
    return tuple(objects)


