"""The admissible commands of a state in TextWorld's order, and their parsed forms."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from .game import Game
from .language.relations import Tables
from .language.texts import Text
from .state import NO_OBJECT, State
from .verbs import (
    CLEAN,
    CLOSE,
    COOL,
    EXAMINE_OBJECT,
    EXAMINE_RECEPTACLE,
    GO,
    HEAT,
    HELP,
    INVENTORY,
    LOOK,
    MOVE,
    OPEN,
    SLICE,
    TAKE,
    TREATMENTS,
    USE,
    Command,
)
from .wording import Wording

ANY_STATE = State(0, NO_OBJECT, 0, (), ())
"""Placeholder state for rendering commands, whose texts do not depend on the state."""
MAX_CACHED_LISTS = 512
"""Maximum number of cached command lists. A full cache is emptied."""


def action_arguments(command: Command, start: int, place: int, lamp_in: int = 0) -> tuple[int, ...]:
    """Return the arguments of a command's PDDL action, in the order of its parameters.

    Args:
        command: The parsed command.
        start: Place of the agent before the command.
        place: Place that the agent goes to, for `go to`.
        lamp_in: Receptacle of the lamp, for `use`.

    Returns:
        Indices of the entities. The agent is 0.
    """
    verb, a, b = command
    if verb == GO:
        return 0, start, place, a
    if verb in (TAKE, MOVE, SLICE):
        return 0, start, a, b
    if verb in (HEAT, COOL, CLEAN):
        return 0, start, b, a
    if verb in (OPEN, CLOSE):
        return 0, start, a
    if verb == USE:
        return 0, start, a, lamp_in
    if verb in (EXAMINE_OBJECT, EXAMINE_RECEPTACLE):
        return 0, a
    return (0, start) if verb == LOOK else (0,)


CommandFormatter = Callable[[int, int], str]
"""Function that renders the command of one verb on two entities."""


def _make_formatter(verb: int, text: Text, tables: Tables) -> CommandFormatter:
    """Return the formatter of a verb. Templates of literals around one or two names get a fast one."""
    # The markers 1 and 2 show which slots hold the first and the second entity of the command.
    markers = action_arguments((verb, 1, 2), 0, 0)
    names = [part for part in text.parts if not isinstance(part, str)]
    if text.parts and len(names) in (1, 2) and all(markers[name.slot] for name in names):
        literals = ["", "", ""]
        count = 0
        for part in text.parts:
            if isinstance(part, str):
                literals[count] = part
            else:
                count += 1
        before, between, after = literals
        first = tables.names[names[0].kind]
        if len(names) == 1:
            if markers[names[0].slot] == 1:
                return lambda a, b: before + first[a] + between
            return lambda a, b: before + first[b] + between
        second = tables.names[names[1].kind]
        if (markers[names[0].slot], markers[names[1].slot]) == (1, 2):
            return lambda a, b: before + first[a] + between + second[b] + after

    def format_command(a: int, b: int) -> str:
        place = tables.place_of[a] if verb == GO else 0
        return text.render(tables, ANY_STATE, *action_arguments((verb, a, b), 0, place))

    return format_command


class Commands:
    """Lists the admissible commands of the states of one game."""

    def __init__(self, game: Game, wording: Wording, tables: Tables) -> None:
        self._game = game
        self._wording = wording
        self._tables = tables
        self.receptacles_at = tables.receptacles_at
        """For each place, the receptacles that the agent reaches from there."""
        self.by_text: dict[str, Command] = {}
        """Parsed form of each command listed so far."""
        self._mask = [sum(1 << r for r in numbers) for numbers in self.receptacles_at]
        self._knives = frozenset(o for o, thing in enumerate(game.objects) if thing.kind in game.tools["slice"])
        lamps = [o for o, thing in enumerate(game.objects) if "toggleable" in thing.abilities]
        self._lamps = frozenset(lamps)
        # With an object in hand, the contents of the receptacles only matter if a lamp can be moved.
        self._lamps_fixed = not any("pickupable" in game.objects[o].abilities or o == game.held for o in lamps)
        self._text: dict[Command, str] = {}
        self._formatters = {verb: _make_formatter(verb, text, tables) for verb, text in wording.commands.items()}
        self._always_by_place: dict[int, list[str]] = {}
        self._list_cache: dict[tuple[object, ...], tuple[str, ...]] = {}
        for r, place in enumerate(tables.place_of):
            if place >= 0:
                self.text(GO, r)
        for verb in (INVENTORY, LOOK, HELP):
            self.text(verb)
        self._in_every_place = sorted(set(self._text.values()) - {""})

    def admissible(self, state: State) -> tuple[str, ...]:
        """Return the admissible commands, sorted and without duplicates."""
        at, held, opened, inside, near = state[:5]
        here = self.receptacles_at[at]
        if held != NO_OBJECT and self._lamps_fixed:
            key: tuple[object, ...] = (at, held, opened & self._mask[at], near[at] if held in self._knives else None)
        else:
            contents = inside[here[0]] if len(here) == 1 else tuple([inside[r] for r in here])
            key = (at, held, opened & self._mask[at], contents, near[at] if held in self._knives else None)
        commands = self._list_cache.get(key)
        if commands is None:
            if len(self._list_cache) >= MAX_CACHED_LISTS:
                self._list_cache.clear()
            commands = self._list_cache[key] = self._collect(state)
        return commands

    def text(self, verb: int, a: int = 0, b: int = 0) -> str:
        """Return the text of a command, or an empty text if the game lacks the verb.

        If two commands have the same text, the text stands for the one rendered first.
        """
        command = (verb, a, b)
        text = self._text.get(command)
        if text is None:
            format_command = self._formatters.get(verb)
            text = "" if format_command is None else format_command(a, b)
            self._text[command] = text
            self.by_text.setdefault(text.strip(), command)
        return text

    def _collect(self, state: State) -> tuple[str, ...]:
        held = state.held
        commands = self._always_admissible(state.at).copy()
        for r in self.receptacles_at[state.at]:
            self._add_receptacle_commands(commands, state, r)
        if held != NO_OBJECT:
            self._add(commands, EXAMINE_OBJECT, held)
        if held in self._knives:
            for o in state.near[state.at]:
                if "sliceable" in self._game.objects[o].abilities:
                    self._add(commands, SLICE, o, held)
        return tuple(commands)

    def _add(self, commands: list[str], verb: int, a: int, b: int = 0) -> None:
        text = self._text.get((verb, a, b)) or self.text(verb, a, b)
        if not text:
            return
        index = bisect_left(commands, text)
        if index == len(commands) or commands[index] != text:
            commands.insert(index, text)

    def _always_admissible(self, at: int) -> list[str]:
        """Return the commands that are admissible at this place in any state, sorted."""
        commands = self._always_by_place.get(at)
        if commands is None:
            here = {self.text(GO, r) for r in self.receptacles_at[at]}
            commands = self._always_by_place[at] = [text for text in self._in_every_place if text not in here]
        return commands

    def _add_receptacle_commands(self, commands: list[str], state: State, r: int) -> None:
        add, held, game = self._add, state.held, self._game
        objects, receptacle = game.objects, game.receptacles[r]
        is_open = state.opened >> r & 1
        add(commands, EXAMINE_RECEPTACLE, r)
        if receptacle.openable:
            add(commands, CLOSE if is_open else OPEN, r)
        within_reach = is_open or not receptacle.openable
        for o in state.inside[r]:
            if o in self._lamps:
                add(commands, USE, o)
            if held == NO_OBJECT and within_reach and "pickupable" in objects[o].abilities:
                add(commands, TAKE, o, r)
        if held == NO_OBJECT:
            return
        thing = objects[held]
        if within_reach and thing.kind in game.can_contain.get(receptacle.kind, ()):
            add(commands, MOVE, held, r)
        for verb, name, ability in TREATMENTS:
            if ability in thing.abilities and receptacle.kind in game.tools[name]:
                add(commands, verb, held, r)
