"""A small hand-made house that covers all cases of the rules."""

from collections.abc import Callable

import pytest
from kintsugi.envs.household.game import Game, Object, Receptacle, display_names
from kintsugi.envs.household.goals import Goal
from kintsugi.envs.household.worlds import CAN_CONTAIN_LOWER

RECEPTACLES = {
    # Kind, place, openable, opened. Both cabinets are reached from place 0.
    "cabinet_bar_01": ("cabinet", 0, True, False),
    "cabinet_bar_02": ("cabinet", 0, True, True),
    "countertop_bar_01": ("countertop", 1, False, False),
    "desk_bar_01": ("desk", 2, False, False),
    "drawer_bar_01": ("drawer", 3, True, False),
    "fridge_bar_01": ("fridge", 4, True, False),
    "microwave_bar_01": ("microwave", 5, True, False),
    "sink_bar_01_bar_sinkbasin": ("sinkbasin", 6, False, False),
}
THINGS = {
    "apple_bar_01": ("apple", "countertop_bar_01", "pickupable heatable coolable cleanable sliceable"),
    "apple_bar_02": ("apple", "fridge_bar_01", "pickupable heatable coolable cleanable sliceable"),
    "book_bar_01": ("book", "drawer_bar_01", "pickupable"),
    "desklamp_bar_01": ("desklamp", "desk_bar_01", "toggleable"),
    "knife_bar_01": ("knife", "countertop_bar_01", "pickupable cleanable"),
    "mug_bar_01": ("mug", "cabinet_bar_01", "pickupable heatable coolable cleanable container"),
    "mug_bar_02": ("mug", "cabinet_bar_02", "pickupable heatable coolable cleanable container"),
    "mug_bar_03": ("mug", "desk_bar_01", "pickupable heatable coolable cleanable container"),
    "spoon_bar_01": ("spoon", "drawer_bar_01", "pickupable cleanable"),
}


def lay_out(goal: Goal) -> Game:
    """Return the house with this goal."""
    names = display_names([*RECEPTACLES, *THINGS])
    numbers = {id_: number for number, id_ in enumerate(RECEPTACLES)}
    things = [
        Object(id_, names[id_], kind, frozenset(abilities.split()), (numbers[inside],), (RECEPTACLES[inside][1],))
        for id_, (kind, inside, abilities) in THINGS.items()
    ]
    return Game(
        receptacles=tuple(Receptacle(id_, names[id_], *entry) for id_, entry in RECEPTACLES.items()),
        objects=tuple(things),
        can_contain=CAN_CONTAIN_LOWER,
        places=8,
        start=7,
        goal=goal,
        task=goal.text(0),
    )


@pytest.fixture
def house() -> Callable[[str, str, str], Game]:
    """Return `house(type, object, target)`, which returns the game."""
    return lambda type_, thing, target: lay_out(Goal(type_, thing, target))
