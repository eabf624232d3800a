"""One small house, laid out by hand, with what the rules distinguish."""

from collections.abc import Callable

import pytest
from kintsugi.envs.household.game import Game, Object, Receptacle, number_names
from kintsugi.envs.household.goals import Goal
from kintsugi.envs.household.worlds import HOLDS_BY_NAME

RECEPTACLES = {
    # Kind, place, whether it opens, whether it is open. Both cabinets are reached from place 0.
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
    """The house with this goal."""
    names = number_names([*RECEPTACLES, *THINGS])
    numbers = {id_: number for number, id_ in enumerate(RECEPTACLES)}
    things = [
        Object(id_, names[id_], kind, frozenset(abilities.split()), (numbers[inside],), (RECEPTACLES[inside][1],))
        for id_, (kind, inside, abilities) in THINGS.items()
    ]
    return Game(
        receptacles=tuple(Receptacle(id_, names[id_], *entry) for id_, entry in RECEPTACLES.items()),
        objects=tuple(things),
        holds=HOLDS_BY_NAME,
        places=8,
        start=7,
        goal=goal,
        task=goal.text(0),
    )


@pytest.fixture
def house() -> Callable[[str, str, str], Game]:
    """`house(type, object, target)` is the game."""
    return lambda type_, thing, target: lay_out(Goal(type_, thing, target))
