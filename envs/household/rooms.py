"""The rooms of the procedural generator: which receptacles they have, in which numbers, and which objects lie about.

A *layout* is the multiset of receptacles of one room. Every room has 30 layouts a size, all different; the first 24
are those of `train` and `valid_seen`, the last 6 are kept for `valid_unseen` (ALFRED's own proportion of scenes).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from ..portable_rng import PortableRng

SIZES = ("small", "medium", "kitchen")
LAYOUTS = 30
SEEN_LAYOUTS = 24


@dataclass(frozen=True)
class Size:
    """How large a world is; both ends of every range are included."""

    receptacles: tuple[int, int]
    """Number of receptacles."""
    objects: tuple[int, int]
    """Number of objects."""


SIZE: Mapping[str, Size] = {
    "small": Size((6, 8), (8, 12)),
    "medium": Size((10, 16), (16, 24)),
    "kitchen": Size((30, 38), (40, 50)),
}

Range = tuple[int, int]
RECIPES: Mapping[str, Mapping[str, tuple[Range, Range, Range]]] = {
    "kitchen": {
        "Fridge": ((1, 1), (1, 1), (1, 1)),
        "Microwave": ((1, 1), (1, 1), (1, 1)),
        "SinkBasin": ((1, 1), (1, 1), (1, 1)),
        "CounterTop": ((1, 2), (1, 3), (2, 4)),
        "Cabinet": ((0, 2), (1, 4), (6, 12)),
        "Drawer": ((0, 2), (1, 3), (5, 9)),
        "StoveBurner": ((0, 1), (1, 4), (4, 4)),
        "CoffeeMachine": ((0, 1), (0, 1), (1, 1)),
        "DiningTable": ((0, 1), (0, 1), (0, 2)),
        "Shelf": ((0, 1), (0, 2), (0, 4)),
        "SideTable": ((0, 1), (0, 1), (0, 1)),
        "GarbageCan": ((0, 1), (1, 1), (1, 1)),
        "Toaster": ((0, 1), (0, 1), (1, 1)),
    },
    "bedroom": {
        "Bed": ((1, 1), (1, 1), (1, 2)),
        "Desk": ((0, 1), (1, 2), (1, 2)),
        "SideTable": ((1, 2), (1, 2), (2, 3)),
        "Dresser": ((0, 1), (0, 1), (1, 2)),
        "Drawer": ((1, 3), (3, 6), (8, 12)),
        "Shelf": ((0, 2), (1, 4), (6, 10)),
        "GarbageCan": ((0, 1), (1, 1), (1, 2)),
        "Safe": ((0, 1), (0, 1), (0, 1)),
        "ArmChair": ((0, 1), (0, 1), (1, 2)),
        "LaundryHamper": ((0, 1), (0, 1), (1, 1)),
        "Cabinet": ((0, 1), (0, 2), (2, 5)),
    },
    "bathroom": {
        "Toilet": ((1, 1), (1, 1), (1, 1)),
        "SinkBasin": ((1, 1), (1, 2), (2, 3)),
        "CounterTop": ((1, 1), (1, 2), (1, 3)),
        "Cabinet": ((0, 2), (1, 4), (6, 10)),
        "Drawer": ((0, 2), (0, 3), (4, 8)),
        "Shelf": ((0, 1), (0, 2), (2, 6)),
        "GarbageCan": ((0, 1), (1, 1), (1, 1)),
        "ToiletPaperHanger": ((0, 1), (1, 1), (1, 2)),
        "TowelHolder": ((0, 1), (1, 2), (2, 4)),
        "HandTowelHolder": ((0, 1), (1, 2), (2, 4)),
        "BathtubBasin": ((0, 1), (0, 1), (1, 1)),
        "Cart": ((0, 1), (0, 1), (0, 2)),
    },
    "livingroom": {
        "Sofa": ((1, 1), (1, 1), (1, 2)),
        "ArmChair": ((0, 1), (1, 2), (2, 4)),
        "CoffeeTable": ((1, 1), (1, 2), (1, 2)),
        "SideTable": ((1, 1), (1, 2), (2, 4)),
        "TVStand": ((0, 1), (0, 1), (1, 1)),
        "Shelf": ((0, 2), (1, 4), (6, 9)),
        "Drawer": ((0, 2), (1, 4), (6, 10)),
        "Cabinet": ((0, 1), (0, 3), (3, 6)),
        "Dresser": ((0, 1), (0, 1), (0, 1)),
        "Desk": ((0, 1), (0, 1), (0, 1)),
        "DiningTable": ((0, 1), (0, 1), (0, 1)),
        "Ottoman": ((0, 1), (0, 1), (0, 2)),
        "GarbageCan": ((0, 1), (1, 1), (1, 1)),
        "Safe": ((0, 1), (0, 1), (0, 1)),
    },
}
"""For every room and kind of receptacle, how many there may be in a small, a medium and a kitchen-sized world."""

OBJECTS: Mapping[str, tuple[str, ...]] = {
    room: tuple(objects.split())
    for room, objects in {
        "kitchen": (
            "Apple Bowl Bread ButterKnife Cup DishSponge Egg Fork Kettle Knife Ladle Lettuce Mug Pan PepperShaker "
            "Plate Pot Potato SaltShaker SoapBottle Spatula Spoon Tomato WineBottle"
        ),
        "bedroom": (
            "AlarmClock BaseballBat BasketBall Book Bowl CD CellPhone CreditCard DeskLamp KeyChain Laptop Mug Pen "
            "Pencil Pillow Statue TennisRacket TissueBox Watch"
        ),
        "bathroom": (
            "Candle Cloth DishSponge HandTowel PaperTowel Plunger SoapBar SoapBottle SprayBottle TissueBox "
            "ToiletPaper Towel"
        ),
        "livingroom": (
            "Book Box CellPhone CreditCard DeskLamp KeyChain Laptop Newspaper Pen Pencil Pillow RemoteControl Statue "
            "TissueBox Vase Watch WateringCan"
        ),
    }.items()
}
"""The kinds of objects that lie about in a room."""

Layout = tuple[tuple[str, int], ...]
"""Kinds of receptacles with their numbers, in alphabetical order."""


def _draw_layout(size: str, room: str, rng: PortableRng) -> Layout:
    column = SIZES.index(size)
    ranges = {kind: columns[column] for kind, columns in RECIPES[room].items()}
    counts = {kind: low for kind, (low, _) in ranges.items()}
    total = rng.between(*SIZE[size].receptacles)
    while sum(counts.values()) < total:
        open_kinds = [kind for kind, (_, high) in ranges.items() if counts[kind] < high]
        counts[rng.choice(open_kinds)] += 1
    return tuple(sorted((kind, count) for kind, count in counts.items() if count))


@functools.cache
def layouts(size: str, room: str) -> tuple[Layout, ...]:
    """The 30 different layouts of a room; the first 24 are seen in training."""
    rng = PortableRng(f"layouts/{size}/{room}")
    found: dict[Layout, None] = {}
    while len(found) < LAYOUTS:
        found.setdefault(_draw_layout(size, room, rng))
    return tuple(found)
