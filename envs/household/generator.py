"""Makes household tasks: which room, which goal, which layout; a function of split, size, seed and index alone."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from ...errors import UsageError, unknown
from ..core import Task, TaskSet
from ..portable_rng import PortableRng, seed_of
from .catalog import ABILITIES, APPLIANCE, FIXED, HOLDS, USUAL
from .goals import TASK_TYPES, TREATMENT
from .rooms import OBJECTS, RECIPES, SEEN_LAYOUTS, SIZE, SIZES, Layout, layouts

ENV_ID = "kintsugi/Household-v0"
SPLITS: Mapping[str, int] = {"train": 2000, "valid_seen": 200, "valid_unseen": 200}
"""The splits, and how many tasks they give when no number is asked for."""
HELD_OUT = 5
"""One in so many combinations of object and target is kept for `valid_unseen`."""
_OBJECT_NUMBER = {thing: number for number, thing in enumerate(sorted(USUAL))}
_TARGET_NUMBER = {target: number for number, target in enumerate(sorted({*HOLDS, *FIXED}))}
_ABILITY = {"heat": "heatable", "cool": "coolable", "clean": "cleanable"}

Combination = tuple[str, str, str]
"""Room, object, target: what a goal is about."""


def make_tasks(split: str, n: int | None, seed: int, size: str) -> TaskSet:
    """The first `n` tasks of a split, the six types in turn. Raises `UsageError` for an unknown split or size."""
    if split not in SPLITS:
        raise unknown("household split", split, SPLITS)
    if size not in SIZE:
        raise unknown("household size", size, SIZES)
    if n is not None and n < 0:
        raise UsageError(f"asked for {n} household tasks; expected 0 or more")
    return TaskSet(make_task(split, index, seed, size) for index in range(SPLITS[split] if n is None else n))


def make_task(split: str, index: int, seed: int, size: str) -> Task:
    """Task number `index` of a split."""
    world = seed_of(f"household/{size}/{split}/{seed}/{index}")
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
    """Whether this combination of object and target is met in `valid_unseen` only.

    Counted along diagonals, so that every object and every target is held out with some partners and seen with others.
    """
    return (2 * _OBJECT_NUMBER[thing] + _TARGET_NUMBER[target]) % HELD_OUT == 0


@functools.cache
def combinations(size: str, type_: str, unseen: bool) -> tuple[Combination, ...]:
    """The goals that a split may ask for: those that at least one of its layouts allows."""
    return tuple(
        (room, thing, target)
        for room in OBJECTS
        for thing in OBJECTS[room]
        for target in _targets(type_, room, thing)
        if is_held_out(thing, target) == unseen and _fitting_layouts(size, type_, room, thing, target, unseen)
    )


def _targets(type_: str, room: str, thing: str) -> Sequence[str]:
    if thing in FIXED:
        return ()
    if type_ == "look_at_obj_in_light":
        return ("DeskLamp",) if "DeskLamp" in OBJECTS[room] else ()
    treatment = TREATMENT.get(type_)
    if treatment and (thing not in ABILITIES[_ABILITY[treatment]] or APPLIANCE[treatment] not in RECIPES[room]):
        return ()
    appliance = APPLIANCE[treatment] if treatment else None
    return tuple(kind for kind in RECIPES[room] if thing in HOLDS.get(kind, ()) and kind != appliance)


@functools.cache
def _fitting_layouts(size: str, type_: str, room: str, thing: str, target: str, unseen: bool) -> tuple[int, ...]:
    numbers = range(SEEN_LAYOUTS, len(layouts(size, room))) if unseen else range(SEEN_LAYOUTS)
    return tuple(n for n in numbers if _fits(layouts(size, room)[n], type_, thing, target))


def _fits(layout: Layout, type_: str, thing: str, target: str) -> bool:
    kinds = {kind for kind, _ in layout}
    if type_ == "look_at_obj_in_light":
        return any(kind in kinds for kind in USUAL[target]) and any(kind in kinds for kind in USUAL[thing])
    treatment = TREATMENT.get(type_)
    if target not in kinds or (treatment and APPLIANCE[treatment] not in kinds):
        return False
    return any(kind in kinds and kind != target for kind in USUAL[thing])
