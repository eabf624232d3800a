"""Makes household tasks and the games they stand for; everything is a function of split, size, seed and index."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import UsageError, unknown
from ..core import Task, TaskSet
from .catalog import ABILITIES, APPLIANCE, FIXED, HOLDS, OPENABLE, USUAL
from .dice import Dice, seed_of
from .game import Game, Object, Receptacle, number_names
from .goals import TASK_TYPES, TREATMENT, Goal
from .rooms import OBJECTS, RECIPES, SEEN_LAYOUTS, SIZE, SIZES, Layout, layouts

ENV_ID = "kintsugi/Household-v0"
SPLITS: Mapping[str, int] = {"train": 2000, "valid_seen": 200, "valid_unseen": 200}
"""The splits, and how many tasks they give when no number is asked for."""
HELD_OUT = 6
"""One in so many combinations of object and target is kept for `valid_unseen`."""
MOST_ALIKE = 3
"""How many objects of one kind a world has at most, unless the goal needs more."""

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
    dice = Dice(world)
    type_ = TASK_TYPES[index % len(TASK_TYPES)]
    unseen = split == "valid_unseen"
    room, thing, target = dice.choice(combinations(size, type_, unseen))
    fitting = _fitting_layouts(size, type_, room, thing, target, unseen)
    params = {
        "size": size,
        "type": type_,
        "room": room,
        "layout": dice.choice(fitting),
        "object": thing,
        "target": target,
    }
    name = f"{index:05d}" if seed == 0 else f"{seed}-{index:05d}"
    return Task(f"{size}/{split}/{name}", ENV_ID, split, world, params)


def is_held_out(thing: str, target: str) -> bool:
    """Whether this combination of object and target is met in `valid_unseen` only."""
    return seed_of(f"combination/{thing}/{target}") % HELD_OUT == 0


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


_ABILITY = {"heat": "heatable", "cool": "coolable", "clean": "cleanable"}


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


def make_game(task: Task) -> Game:
    """The game that a task stands for. Raises `UsageError` for params that the generator does not make."""
    params = _checked(task.params, task.id)
    dice = Dice(f"world/{task.seed}")
    type_, thing, target = params["type"], params["object"], params["target"]
    counts = layouts(params["size"], params["room"])[params["layout"]]
    placed = _scatter(dice, counts, params)
    goal = Goal(type_, thing.lower(), target.lower())
    receptacles = _receptacles(counts)
    objects = _objects(dice, placed, receptacles)
    return Game(
        receptacles=receptacles,
        objects=objects,
        holds=_HOLDS,
        places=len(receptacles) + 1,
        start=len(receptacles),
        goal=goal,
        task=goal.text(dice.below(2)),
    )
