"""The commands that a state admits, in TextWorld's order, and what each of them means."""

from __future__ import annotations

import functools
from bisect import bisect_left

from .game import Game
from .state import NOTHING, State
from .wording import Wording

GO, OPEN, CLOSE, TAKE, MOVE, HEAT, COOL, CLEAN, SLICE, USE = range(10)
EXAMINE_OBJECT, EXAMINE_RECEPTACLE, INVENTORY, LOOK, HELP = range(10, 15)
Command = tuple[int, int, int]
"""Verb and two entities: receptacle, object and receptacle, or object and knife; 0 where there is none."""

TREATMENTS = (
    (HEAT, "heatable", "microwave"),
    (COOL, "coolable", "fridge"),
    (CLEAN, "cleanable", "sinkbasin"),
)
"""What is done, the ability that an object needs for it, and the kind of receptacle where it is done."""
KNIVES = frozenset({"knife", "butterknife"})
REMEMBERED = 512
"""How many lists are kept; all are forgotten when there are so many."""


@functools.lru_cache(maxsize=256)
def _always(receptacles: tuple[str, ...], wording: Wording) -> tuple[list[str], list[str]]:
    """The commands to go to each of `receptacles`, to list what one carries, to look and to ask for help.

    As they are and sorted, none twice; kept because many worlds have the same receptacles.
    """
    texts = [wording.go.format(r=name) for name in receptacles] + [wording.inventory, wording.look, wording.help]
    return texts, sorted(set(texts))


class Commands:
    """Lists the admissible commands of the states of one game."""

    def __init__(self, game: Game, wording: Wording) -> None:
        self._game = game
        self._wording = wording
        here: list[list[int]] = [[] for _ in range(game.places)]
        for r, receptacle in enumerate(game.receptacles):
            here[receptacle.place].append(r)
        self.here = tuple(map(tuple, here))
        """For every place the receptacles that one faces there."""
        self.meaning: dict[str, Command] = {}
        """What every command that was listed so far means."""
        self._mask = [sum(1 << r for r in numbers) for numbers in self.here]
        self._knives = frozenset(o for o, thing in enumerate(game.objects) if thing.kind in KNIVES)
        lamps = [o for o, thing in enumerate(game.objects) if "toggleable" in thing.abilities]
        self._lamps = frozenset(lamps)
        # With something in hand, what lies about matters for the lamps in it alone.
        self._lamps_stay = not any("pickupable" in game.objects[o].abilities for o in lamps)
        self._text: dict[Command, str] = {}
        commands: list[Command] = [(GO, r, 0) for r in range(len(game.receptacles))]
        commands += [(INVENTORY, 0, 0), (LOOK, 0, 0), (HELP, 0, 0)]
        texts, self._everywhere = _always(tuple([receptacle.name for receptacle in game.receptacles]), wording)
        self._text.update(zip(commands, texts, strict=True))
        # The first of two commands that read alike is meant.
        self.meaning.update(zip(reversed(texts), reversed(commands), strict=True))
        self._base: dict[int, list[str]] = {}
        self._lists: dict[tuple[object, ...], tuple[str, ...]] = {}

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

    def _say(self, verb: int, a: int = 0, b: int = 0) -> str:
        command = (verb, a, b)
        text = self._text.get(command)
        if text is None:
            text = self._text[command] = self._format(verb, a, b)
            self.meaning.setdefault(text, command)
        return text

    def _format(self, verb: int, a: int, b: int) -> str:
        w, objects, receptacles = self._wording, self._game.objects, self._game.receptacles
        if verb in (GO, OPEN, CLOSE):
            return (w.go if verb == GO else w.open if verb == OPEN else w.close).format(r=receptacles[a].name)
        if verb in (TAKE, MOVE, HEAT, COOL, CLEAN):
            pattern = {TAKE: w.take, MOVE: w.move, HEAT: w.heat, COOL: w.cool, CLEAN: w.clean}[verb]
            return pattern.format(o=objects[a].name, r=receptacles[b].name)
        if verb == SLICE:
            return w.slice.format(o=objects[a].name, k=objects[b].name)
        if verb == USE:
            return w.use.format(o=objects[a].name)
        if verb in (EXAMINE_OBJECT, EXAMINE_RECEPTACLE):
            return w.examine.format(x=(objects if verb == EXAMINE_OBJECT else receptacles)[a].name)
        return {INVENTORY: w.inventory, LOOK: w.look, HELP: w.help}[verb]

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
        text = self._text.get((verb, a, b)) or self._say(verb, a, b)
        place = bisect_left(found, text)
        if place == len(found) or found[place] != text:
            found.insert(place, text)

    def _anyway(self, at: int) -> list[str]:
        """What can be done in this place whatever else holds, sorted."""
        found = self._base.get(at)
        if found is None:
            here = {self._say(GO, r) for r in self.here[at]}
            found = self._base[at] = [text for text in self._everywhere if text not in here]
        return found

    def _add_of_receptacle(self, found: list[str], state: State, r: int) -> None:
        add, held, objects, receptacle = self._add, state.held, self._game.objects, self._game.receptacles[r]
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
        if within_reach and thing.kind in self._game.holds.get(receptacle.kind, ()):
            add(found, MOVE, held, r)
        for verb, ability, appliance in TREATMENTS:
            if receptacle.kind == appliance and ability in thing.abilities:
                add(found, verb, held, r)
