"""The fifteen verbs, their action names in ALFWorld's domain, and the parsed form of a command."""

from __future__ import annotations

GO, OPEN, CLOSE, TAKE, MOVE, HEAT, COOL, CLEAN, SLICE, USE = range(10)
EXAMINE_OBJECT, EXAMINE_RECEPTACLE, INVENTORY, LOOK, HELP = range(10, 15)
Command = tuple[int, int, int]
"""A verb and two entities: a receptacle, an object and a receptacle, or an object and a knife. Unused ones are 0."""

ACTION_NAMES = {
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
"""Action names of the verbs in ALFWorld's domain."""
TREATMENTS = ((HEAT, "heat", "heatable"), (COOL, "cool", "coolable"), (CLEAN, "clean", "cleanable"))
"""Verbs that treat an object, with their names and the ability that the object needs."""
