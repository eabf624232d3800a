"""The rooms of the task generator: their receptacles and objects.

A *layout* is the multiset of receptacles of one room. Each room has 30 different layouts per size. The first 24 belong
to `train` and `valid_seen`, the last 6 to `valid_unseen`, as ALFRED reserves scenes for its unseen splits.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from ..portable_rng import PortableRng

SIZES = ("small", "medium", "kitchen")
N_LAYOUTS = 30
"""Number of layouts per room and size."""
N_SEEN_LAYOUTS = 24
"""Number of layouts in `train` and `valid_seen`; the rest belong to `valid_unseen`."""


@dataclass(frozen=True)
class WorldSize:
    """Size of a world. The ranges include both ends."""

    receptacles: tuple[int, int]
    """Range of the number of receptacles."""
    objects: tuple[int, int]
    """Range of the number of objects."""


SIZE_RANGES: Mapping[str, WorldSize] = {
    "small": WorldSize((6, 8), (8, 12)),
    "medium": WorldSize((10, 16), (16, 24)),
    "kitchen": WorldSize((30, 38), (40, 50)),
}

Range = tuple[int, int]
ROOM_RECEPTACLES: Mapping[str, Mapping[str, tuple[Range, Range, Range]]] = {
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
"""Range of the number of receptacles of each kind in each room, for a small, medium and kitchen-sized world."""

ROOM_OBJECTS: Mapping[str, tuple[str, ...]] = {
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
"""Kinds of objects that a room may contain."""

Layout = tuple[tuple[str, int], ...]
"""Kinds of receptacles with their counts, sorted by kind."""


def _draw_layout(size: str, room: str, rng: PortableRng) -> Layout:
    column = SIZES.index(size)
    ranges = {kind: columns[column] for kind, columns in ROOM_RECEPTACLES[room].items()}
    counts = {kind: low for kind, (low, _) in ranges.items()}
    total = rng.between(*SIZE_RANGES[size].receptacles)
    while sum(counts.values()) < total:
        open_kinds = [kind for kind, (_, high) in ranges.items() if counts[kind] < high]
        counts[rng.choice(open_kinds)] += 1
    return tuple(sorted((kind, count) for kind, count in counts.items() if count))


@functools.cache
def layouts(size: str, room: str) -> tuple[Layout, ...]:
    """Return the layouts of a room. Deterministic; the first `N_SEEN_LAYOUTS` are seen in training."""
    rng = PortableRng(f"layouts/{size}/{room}")
    found: dict[Layout, None] = {}
    while len(found) < N_LAYOUTS:
        found.setdefault(_draw_layout(size, room, rng))
    return tuple(found)
