"""Kinds of receptacles and objects: permitted contents, abilities and usual receptacles.

Names are those of ALFRED's scenes, such as `CounterTop` and `SoapBar`. Games show them in lower case.
"""

from __future__ import annotations

from collections.abc import Mapping

_SURFACE = (
    "AlarmClock Apple BaseballBat BasketBall Book Bowl Box Bread ButterKnife CD Candle CellPhone Cloth CreditCard Cup "
    "DishSponge Egg Fork Glassbottle HandTowel Kettle KeyChain Knife Ladle Laptop Lettuce Mug Newspaper Pan PaperTowel "
    "Pen Pencil PepperShaker Plate Pot Potato RemoteControl SaltShaker SoapBar SoapBottle Spatula Spoon SprayBottle "
    "Statue TennisRacket TissueBox ToiletPaper ToiletPaperRoll Tomato Vase Watch WateringCan WineBottle"
)
_SEAT = "BasketBall Book Box CellPhone Cloth CreditCard KeyChain Laptop Newspaper Pillow RemoteControl"
_DRESSER = (
    "AlarmClock BasketBall Book Bowl Box CD Candle CellPhone Cloth CreditCard Cup Glassbottle KeyChain Laptop Mug "
    "Newspaper Pen Pencil Plate RemoteControl SprayBottle Statue TennisRacket TissueBox ToiletPaper ToiletPaperRoll "
    "Vase Watch WateringCan WineBottle"
)

CAN_CONTAIN: Mapping[str, frozenset[str]] = {
    receptacle: frozenset(objects.split())
    for receptacle, objects in {
        "ArmChair": _SEAT,
        "BathtubBasin": "Cloth DishSponge HandTowel SoapBar",
        "Bed": "BaseballBat BasketBall Book CellPhone Laptop Newspaper Pillow TennisRacket",
        "Cabinet": (
            "Book Bowl Box CD Candle Cloth Cup DishSponge Glassbottle HandTowel Kettle Ladle Mug Newspaper Pan "
            "PepperShaker Plate Plunger Pot SaltShaker SoapBar SoapBottle SprayBottle TissueBox ToiletPaper "
            "ToiletPaperRoll Vase WateringCan WineBottle"
        ),
        "Cart": (
            "Candle Cloth DishSponge HandTowel Mug PaperTowel Plunger SoapBar SoapBottle SprayBottle Statue TissueBox "
            "ToiletPaper ToiletPaperRoll Vase"
        ),
        "CoffeeMachine": "Mug",
        "CoffeeTable": _SURFACE,
        "CounterTop": _SURFACE,
        "Desk": _DRESSER + " SoapBottle",
        "DiningTable": _SURFACE,
        "Drawer": (
            "Book ButterKnife CD Candle CellPhone Cloth CreditCard DishSponge Fork HandTowel KeyChain Knife Ladle "
            "Newspaper Pen Pencil PepperShaker RemoteControl SaltShaker SoapBar SoapBottle Spatula Spoon SprayBottle "
            "TissueBox ToiletPaper ToiletPaperRoll Watch WateringCan"
        ),
        "Dresser": _DRESSER,
        "Fridge": "Apple Bowl Bread Cup Egg Glassbottle Lettuce Mug Pan Plate Pot Potato Tomato WineBottle",
        "GarbageCan": (
            "Apple Bread CD Cloth DishSponge Egg HandTowel Lettuce Newspaper PaperTowel Pen Pencil Potato SoapBar "
            "SoapBottle SprayBottle TissueBox ToiletPaper ToiletPaperRoll Tomato WineBottle"
        ),
        "HandTowelHolder": "HandTowel",
        "LaundryHamper": "Cloth",
        "Microwave": "Apple Bowl Bread Cup Egg Glassbottle Mug Plate Potato Tomato",
        "Ottoman": _SEAT,
        "Safe": "CD CellPhone CreditCard KeyChain Statue Vase Watch",
        "Shelf": (
            "AlarmClock Book Bowl Box CD Candle CellPhone Cloth CreditCard Cup DishSponge Glassbottle HandTowel Kettle "
            "KeyChain Mug Newspaper PaperTowel Pen Pencil PepperShaker Plate Pot RemoteControl SaltShaker SoapBar "
            "SoapBottle SprayBottle Statue TissueBox ToiletPaper ToiletPaperRoll Vase Watch WateringCan WineBottle"
        ),
        "SideTable": _SURFACE,
        "SinkBasin": (
            "Apple Bowl ButterKnife Cloth Cup DishSponge Egg Fork Glassbottle HandTowel Kettle Knife Ladle Lettuce Mug "
            "Pan Plate Pot Potato SoapBar Spatula Spoon Tomato"
        ),
        "Sofa": _SEAT,
        "StoveBurner": "Kettle Pan Pot",
        "TVStand": "TissueBox",
        "Toilet": (
            "Candle Cloth DishSponge HandTowel Newspaper PaperTowel SoapBar SoapBottle SprayBottle TissueBox "
            "ToiletPaper ToiletPaperRoll"
        ),
        "ToiletPaperHanger": "ToiletPaper ToiletPaperRoll",
        "TowelHolder": "Towel",
    }.items()
}
"""For each kind of receptacle, the kinds of objects that may be put there."""

OPENABLE = frozenset({"Cabinet", "Drawer", "Fridge", "Microwave", "Safe"})
"""Kinds of receptacles that can be opened. They are closed initially."""

ABILITIES: Mapping[str, frozenset[str]] = {
    "heatable": frozenset("Apple Bread Cup Egg Mug Plate Potato Tomato".split()),
    "coolable": frozenset("Apple Bowl Bread Cup Egg Lettuce Mug Pan Plate Pot Potato Tomato WineBottle".split()),
    "cleanable": frozenset(
        (
            "Apple Bowl ButterKnife Cloth Cup DishSponge Egg Fork Kettle Knife Ladle Lettuce Mug Pan Plate Pot Potato "
            "SoapBar Spatula Spoon Tomato"
        ).split()
    ),
    "toggleable": frozenset({"DeskLamp", "FloorLamp"}),
    "sliceable": frozenset("Apple Bread Egg Lettuce Potato Tomato".split()),
    "container": frozenset("Bowl Box Cup Mug Pan Plate Pot".split()),
}
"""Kinds of objects with each ability, except `pickupable`. `container` only affects the answer to `examine`."""

FIXED = frozenset({"DeskLamp", "FloorLamp"})
"""Kinds of objects that cannot be picked up."""
KNIVES = frozenset({"ButterKnife", "Knife"})
"""Kinds of objects that slice."""

APPLIANCE: Mapping[str, str] = {"heat": "Microwave", "cool": "Fridge", "clean": "SinkBasin"}
"""Kind of receptacle for each treatment."""

USUAL_RECEPTACLES: Mapping[str, tuple[str, ...]] = {
    thing: tuple(places.split())
    for thing, places in {
        "AlarmClock": "SideTable Desk Dresser Shelf",
        "Apple": "CounterTop Fridge DiningTable GarbageCan SinkBasin",
        "BaseballBat": "Bed CoffeeTable",
        "BasketBall": "Bed Desk Dresser ArmChair",
        "Book": "Desk Bed Shelf CoffeeTable Sofa Drawer DiningTable",
        "Bowl": "CounterTop Cabinet Fridge DiningTable Shelf Desk Dresser",
        "Box": "CoffeeTable Sofa ArmChair Dresser DiningTable SideTable",
        "Bread": "CounterTop DiningTable Fridge GarbageCan",
        "ButterKnife": "CounterTop Drawer DiningTable SinkBasin",
        "CD": "Desk Shelf Drawer Dresser Safe GarbageCan",
        "Candle": "CounterTop Toilet Shelf Cabinet Cart Drawer",
        "CellPhone": "Desk Bed SideTable Dresser Drawer Sofa CoffeeTable",
        "Cloth": "SinkBasin CounterTop BathtubBasin Cabinet Drawer Toilet Shelf Cart",
        "CreditCard": "Desk CoffeeTable SideTable Drawer Dresser Sofa ArmChair Shelf",
        "Cup": "CounterTop Cabinet SinkBasin Fridge DiningTable Shelf",
        "DeskLamp": "Desk SideTable Dresser Shelf CoffeeTable",
        "DishSponge": "SinkBasin CounterTop Drawer Cabinet Toilet",
        "Egg": "Fridge CounterTop SinkBasin DiningTable GarbageCan",
        "Fork": "Drawer CounterTop DiningTable SinkBasin",
        "HandTowel": "HandTowelHolder SinkBasin CounterTop",
        "Kettle": "StoveBurner CounterTop Cabinet",
        "KeyChain": "SideTable CoffeeTable Drawer Sofa Dresser Safe Desk ArmChair",
        "Knife": "CounterTop Drawer DiningTable SinkBasin",
        "Ladle": "CounterTop Drawer Cabinet SinkBasin",
        "Laptop": "Desk Bed Sofa CoffeeTable ArmChair DiningTable",
        "Lettuce": "CounterTop Fridge DiningTable SinkBasin",
        "Mug": "CounterTop CoffeeMachine Cabinet SinkBasin Desk Shelf Dresser",
        "Newspaper": "Sofa CoffeeTable ArmChair SideTable Drawer Toilet",
        "Pan": "StoveBurner CounterTop Cabinet SinkBasin",
        "PaperTowel": "CounterTop Cart Shelf Toilet",
        "Pen": "Desk Drawer SideTable Dresser Shelf GarbageCan",
        "Pencil": "Desk Drawer SideTable Dresser Shelf GarbageCan",
        "PepperShaker": "CounterTop Cabinet Drawer DiningTable Shelf",
        "Pillow": "Bed Sofa ArmChair",
        "Plate": "CounterTop Cabinet DiningTable SinkBasin Fridge Shelf",
        "Plunger": "Cabinet Cart",
        "Pot": "StoveBurner CounterTop Cabinet SinkBasin Fridge",
        "Potato": "CounterTop Fridge SinkBasin DiningTable GarbageCan",
        "RemoteControl": "Sofa CoffeeTable ArmChair SideTable Drawer",
        "SaltShaker": "CounterTop Cabinet Drawer DiningTable Shelf",
        "SoapBar": "SinkBasin CounterTop BathtubBasin Toilet Cabinet Drawer GarbageCan",
        "SoapBottle": "CounterTop Toilet Cabinet Cart Drawer GarbageCan",
        "Spatula": "CounterTop Drawer SinkBasin DiningTable",
        "Spoon": "Drawer CounterTop DiningTable SinkBasin",
        "SprayBottle": "CounterTop Cabinet Toilet Shelf GarbageCan Cart Drawer",
        "Statue": "Shelf SideTable CoffeeTable Dresser Desk Safe",
        "TennisRacket": "Bed Dresser Desk",
        "TissueBox": "SideTable TVStand CoffeeTable Toilet Drawer Shelf Cart",
        "ToiletPaper": "ToiletPaperHanger Toilet Cabinet Shelf Drawer GarbageCan",
        "Tomato": "CounterTop Fridge SinkBasin DiningTable GarbageCan",
        "Towel": "TowelHolder",
        "Vase": "Shelf CoffeeTable SideTable Cabinet Safe DiningTable",
        "Watch": "SideTable Drawer Dresser CoffeeTable Shelf Safe Desk",
        "WateringCan": "SideTable Shelf Drawer CoffeeTable",
        "WineBottle": "CounterTop Fridge Cabinet GarbageCan Shelf",
    }.items()
}
"""For each kind of object, its usual kinds of receptacles, the likeliest first.

The generator places objects by this table, and the expert searches by it. It stands for common knowledge.
"""
