"""The commands that a state admits, in TextWorld's order, and what each of them means."""

from __future__ import annotations

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
        self._text: dict[Command, str] = {}
        self._everywhere = [self._say(verb) for verb in (INVENTORY, LOOK, HELP)]
        self._lists: dict[object, tuple[str, ...]] = {}

    def admissible(self, state: State) -> tuple[str, ...]:
        """The commands that `state` admits, sorted, none twice."""
        at, held, inside = state.at, state.held, state.inside
        here = self.here[at]
        lies = inside[here[0]] if len(here) == 1 else tuple([inside[r] for r in here])
        key = (at, held, state.opened & self._mask[at], lies, state.near[at] if held in self._knives else None)
        found = self._lists.get(key)
        if found is None:
            if len(self._lists) >= REMEMBERED:
                self._lists.clear()
            found = self._lists[key] = tuple(sorted(set(self._collect(state))))
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

    def _collect(self, state: State) -> list[str]:
        say, at, held = self._say, state.at, state.held
        found = [say(GO, r) for r, receptacle in enumerate(self._game.receptacles) if receptacle.place != at]
        found += self._everywhere
        for r in self.here[at]:
            found += self._of_receptacle(state, r)
        if held != NOTHING:
            found.append(say(EXAMINE_OBJECT, held))
        if held in self._knives:
            objects = self._game.objects
            found += [say(SLICE, o, held) for o in state.near[at] if "sliceable" in objects[o].abilities]
        return found

    def _of_receptacle(self, state: State, r: int) -> list[str]:
        say, held, objects, receptacle = self._say, state.held, self._game.objects, self._game.receptacles[r]
        is_open = state.opened >> r & 1
        found = [say(EXAMINE_RECEPTACLE, r)]
        found += [say(USE, o) for o in state.inside[r] if "toggleable" in objects[o].abilities]
        if receptacle.openable:
            found.append(say(CLOSE if is_open else OPEN, r))
        if held == NOTHING:
            if is_open or not receptacle.openable:
                found += [say(TAKE, o, r) for o in state.inside[r] if "pickupable" in objects[o].abilities]
            return found
        thing = objects[held]
        if (is_open or not receptacle.openable) and thing.kind in self._game.holds.get(receptacle.kind, ()):
            found.append(say(MOVE, held, r))
        for verb, ability, appliance in TREATMENTS:
            if receptacle.kind == appliance and ability in thing.abilities:
                found.append(say(verb, held, r))
        return found
