"""The commands that a state admits, in TextWorld's order, and what each of them means."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from .game import Game
from .language.relations import Tables
from .language.texts import Text
from .state import NOTHING, State
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

NOWHEN = State(0, NOTHING, 0, (), ())
"""Commands read the same in every state, so any will do."""
REMEMBERED = 512
"""How many lists are kept; all are forgotten when there are so many."""


def entities(command: Command, start: int, place: int, lamp_in: int = 0) -> tuple[int, ...]:
    """What the parameters of a command's action stand for, in the domain's order.

    `start` is where the agent stands, `place` where it goes to, `lamp_in` the receptacle of a lamp.
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


Make = Callable[[int, int], str]
"""The text of a verb's command on two entities."""


def _maker(verb: int, text: Text, tables: Tables) -> Make:
    """How a verb's commands are made; literals around names, which nearly all are, without detours."""
    # What the slots stand for, told by what `entities` puts there.
    markers = entities((verb, 1, 2), 0, 0)
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

    def make(a: int, b: int) -> str:
        place = tables.place[a] if verb == GO else 0
        return text.say(tables, NOWHEN, *entities((verb, a, b), 0, place))

    return make


class Commands:
    """Lists the admissible commands of the states of one game."""

    def __init__(self, game: Game, wording: Wording, tables: Tables) -> None:
        self._game = game
        self._wording = wording
        self._tables = tables
        self.here = tables.here
        """For every place the receptacles that one faces there."""
        self.meaning: dict[str, Command] = {}
        """What every command that was listed so far means."""
        self._mask = [sum(1 << r for r in numbers) for numbers in self.here]
        self._knives = frozenset(o for o, thing in enumerate(game.objects) if thing.kind in game.tools["slice"])
        lamps = [o for o, thing in enumerate(game.objects) if "toggleable" in thing.abilities]
        self._lamps = frozenset(lamps)
        # With something in hand, what lies about matters for the lamps in it alone.
        self._lamps_stay = not any("pickupable" in game.objects[o].abilities or o == game.held for o in lamps)
        self._text: dict[Command, str] = {}
        self._make = {verb: _maker(verb, text, tables) for verb, text in wording.commands.items()}
        self._here_text: dict[int, list[str]] = {}
        self._lists: dict[tuple[object, ...], tuple[str, ...]] = {}
        for r, place in enumerate(tables.place):
            if place >= 0:
                self.text(GO, r)
        for verb in (INVENTORY, LOOK, HELP):
            self.text(verb)
        self._everywhere = sorted(set(self._text.values()) - {""})

    def admissible(self, state: State) -> tuple[str, ...]:
        """The commands that `state` admits, sorted, none twice."""
        at, held, opened, inside, near = state[:5]
        here = self.here[at]
        if held != NOTHING and self._lamps_stay:
            key: tuple[object, ...] = (at, held, opened & self._mask[at], near[at] if held in self._knives else None)
        else:
            lies = inside[here[0]] if len(here) == 1 else tuple([inside[r] for r in here])
            key = (at, held, opened & self._mask[at], lies, near[at] if held in self._knives else None)
        found = self._lists.get(key)
        if found is None:
            if len(self._lists) >= REMEMBERED:
                self._lists.clear()
            found = self._lists[key] = self._collect(state)
        return found

    def text(self, verb: int, a: int = 0, b: int = 0) -> str:
        """The text of a command; empty when the game has no such verb. The first that reads so is meant."""
        command = (verb, a, b)
        text = self._text.get(command)
        if text is None:
            make = self._make.get(verb)
            text = "" if make is None else make(a, b)
            self._text[command] = text
            self.meaning.setdefault(text.strip(), command)
        return text

    def _collect(self, state: State) -> tuple[str, ...]:
        held = state.held
        found = self._anyway(state.at).copy()
        for r in self.here[state.at]:
            self._add_of_receptacle(found, state, r)
        if held != NOTHING:
            self._add(found, EXAMINE_OBJECT, held)
        if held in self._knives:
            for o in state.near[state.at]:
                if "sliceable" in self._game.objects[o].abilities:
                    self._add(found, SLICE, o, held)
        return tuple(found)

    def _add(self, found: list[str], verb: int, a: int, b: int = 0) -> None:
        text = self._text.get((verb, a, b)) or self.text(verb, a, b)
        if not text:
            return
        place = bisect_left(found, text)
        if place == len(found) or found[place] != text:
            found.insert(place, text)

    def _anyway(self, at: int) -> list[str]:
        """What can be done in this place whatever else holds, sorted."""
        found = self._here_text.get(at)
        if found is None:
            here = {self.text(GO, r) for r in self.here[at]}
            found = self._here_text[at] = [text for text in self._everywhere if text not in here]
        return found

    def _add_of_receptacle(self, found: list[str], state: State, r: int) -> None:
        add, held, game = self._add, state.held, self._game
        objects, receptacle = game.objects, game.receptacles[r]
        is_open = state.opened >> r & 1
        add(found, EXAMINE_RECEPTACLE, r)
        if receptacle.openable:
            add(found, CLOSE if is_open else OPEN, r)
        within_reach = is_open or not receptacle.openable
        for o in state.inside[r]:
            if o in self._lamps:
                add(found, USE, o)
            if held == NOTHING and within_reach and "pickupable" in objects[o].abilities:
                add(found, TAKE, o, r)
        if held == NOTHING:
            return
        thing = objects[held]
        if within_reach and thing.kind in game.holds.get(receptacle.kind, ()):
            add(found, MOVE, held, r)
        for verb, name, ability in TREATMENTS:
            if ability in thing.abilities and receptacle.kind in game.tools[name]:
                add(found, verb, held, r)
