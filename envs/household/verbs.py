"""The fifteen verbs: their numbers, what ALFWorld's domain calls them, and what a command is."""

from __future__ import annotations

GO, OPEN, CLOSE, TAKE, MOVE, HEAT, COOL, CLEAN, SLICE, USE = range(10)
EXAMINE_OBJECT, EXAMINE_RECEPTACLE, INVENTORY, LOOK, HELP = range(10, 15)
Command = tuple[int, int, int]
"""Verb and two entities: receptacle, object and receptacle, or object and knife; 0 where there is none."""

ACTIONS = {
    GO: "GotoLocation",
    OPEN: "OpenObject",
    CLOSE: "CloseObject",
    TAKE: "PickupObject",
    MOVE: "PutObject",
    HEAT: "HeatObject",
    COOL: "CoolObject",
    CLEAN: "CleanObject",
    SLICE: "SliceObject",
    USE: "ToggleObject",
    EXAMINE_OBJECT: "examineObject",
    EXAMINE_RECEPTACLE: "examineReceptacle",
    INVENTORY: "inventory",
    LOOK: "look",
    HELP: "help",
}
"""What ALFWorld's domain calls the verbs."""
TREATMENTS = ((HEAT, "heat", "heatable"), (COOL, "cool", "coolable"), (CLEAN, "clean", "cleanable"))
"""What is done, what it is called, and the ability that an object needs for it."""
