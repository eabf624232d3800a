"""Generator of household tasks.

The room, goal and layout of a task depend only on its split, size, seed and index.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from ...errors import UsageError, unknown
from ..core import Task, TaskSet
from ..portable_rng import PortableRng, seed_from_text
from .catalog import ABILITIES, APPLIANCE, CAN_CONTAIN, FIXED, USUAL_RECEPTACLES
from .goals import TASK_TYPES, TREATMENT
from .rooms import N_SEEN_LAYOUTS, ROOM_OBJECTS, ROOM_RECEPTACLES, SIZE_RANGES, SIZES, Layout, layouts

ENV_ID = "kintsugi/Household-v0"
SPLITS: Mapping[str, int] = {"train": 2000, "valid_seen": 200, "valid_unseen": 200}
"""Default number of tasks of each split."""
HELD_OUT_EVERY = 5
"""One in `HELD_OUT_EVERY` combinations of object and target is reserved for `valid_unseen`."""
_OBJECT_NUMBER = {thing: number for number, thing in enumerate(sorted(USUAL_RECEPTACLES))}
_TARGET_NUMBER = {target: number for number, target in enumerate(sorted({*CAN_CONTAIN, *FIXED}))}
_ABILITY = {"heat": "heatable", "cool": "coolable", "clean": "cleanable"}

Combination = tuple[str, str, str]
"""Room, object and target of a goal."""


def make_tasks(split: str, n: int | None, seed: int, size: str) -> TaskSet:
    """Return the first `n` tasks of a split, cycling through the six task types.

    Args:
        split: A key of `SPLITS`.
        n: Number of tasks; the default of the split if None.
        seed: Selects a different stream of tasks.
        size: `small`, `medium` or `kitchen`.

    Returns:
        The task set.

    Raises:
        UsageError: If the split or size is unknown, or `n` is negative.
    """
    if split not in SPLITS:
        raise unknown("household split", split, SPLITS)
    if size not in SIZE_RANGES:
        raise unknown("household size", size, SIZES)
    if n is not None and n < 0:
        raise UsageError(f"the number of household tasks is {n}; expected at least 0")
    return TaskSet(make_task(split, index, seed, size) for index in range(SPLITS[split] if n is None else n))


def make_task(split: str, index: int, seed: int, size: str) -> Task:
    """Return task number `index` of a split. Deterministic."""
    world = seed_from_text(f"household/{size}/{split}/{seed}/{index}")
    rng = PortableRng(world)
    type_ = TASK_TYPES[index % len(TASK_TYPES)]
    unseen = split == "valid_unseen"
    room, thing, target = rng.choice(combinations(size, type_, unseen))
    fitting = _fitting_layouts(size, type_, room, thing, target, unseen)
    params = {
        "size": size,
        "type": type_,
        "room": room,
        "layout": rng.choice(fitting),
        "object": thing,
        "target": target,
    }
    name = f"{index:05d}" if seed == 0 else f"{seed}-{index:05d}"
    return Task(f"{size}/{split}/{name}", ENV_ID, split, world, params)


def is_held_out(thing: str, target: str) -> bool:
    """Return whether this combination of object and target occurs in `valid_unseen` only.

    Held-out combinations lie on diagonals of the object-target table. Each object and each target is therefore
    held out in some combinations and seen in others.
    """
    return (2 * _OBJECT_NUMBER[thing] + _TARGET_NUMBER[target]) % HELD_OUT_EVERY == 0


@functools.cache
def combinations(size: str, type_: str, unseen: bool) -> tuple[Combination, ...]:
    """Return the combinations that a split may use: those that at least one of its layouts allows."""
    return tuple(
        (room, thing, target)
        for room in ROOM_OBJECTS
        for thing in ROOM_OBJECTS[room]
        for target in _targets(type_, room, thing)
        if is_held_out(thing, target) == unseen and _fitting_layouts(size, type_, room, thing, target, unseen)
    )


def _targets(type_: str, room: str, thing: str) -> Sequence[str]:
    if thing in FIXED:
        return ()
    if type_ == "look_at_obj_in_light":
        return ("DeskLamp",) if "DeskLamp" in ROOM_OBJECTS[room] else ()
    treatment = TREATMENT.get(type_)
    if treatment and (
        thing not in ABILITIES[_ABILITY[treatment]] or APPLIANCE[treatment] not in ROOM_RECEPTACLES[room]
    ):
        return ()
    appliance = APPLIANCE[treatment] if treatment else None
    return tuple(kind for kind in ROOM_RECEPTACLES[room] if thing in CAN_CONTAIN.get(kind, ()) and kind != appliance)


@functools.cache
def _fitting_layouts(size: str, type_: str, room: str, thing: str, target: str, unseen: bool) -> tuple[int, ...]:
    numbers = range(N_SEEN_LAYOUTS, len(layouts(size, room))) if unseen else range(N_SEEN_LAYOUTS)
    return tuple(n for n in numbers if _fits(layouts(size, room)[n], type_, thing, target))


def _fits(layout: Layout, type_: str, thing: str, target: str) -> bool:
    kinds = {kind for kind, _ in layout}
    if type_ == "look_at_obj_in_light":
        return any(kind in kinds for kind in USUAL_RECEPTACLES[target]) and any(
            kind in kinds for kind in USUAL_RECEPTACLES[thing]
        )
    treatment = TREATMENT.get(type_)
    if target not in kinds or (treatment and APPLIANCE[treatment] not in kinds):
        return False
    return any(kind in kinds and kind != target for kind in USUAL_RECEPTACLES[thing])
