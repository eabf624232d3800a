"""The rules: which commands a state admits, what they change and what is said.

They are TextWorld's for `alfred.pddl`, its oddities included: going to where one stands is refused, only what is held
can be examined, appliances work closed, a lamp in a closed receptacle can be used, a second `use` still turns on.

Commands are looked up, not parsed. The admissible ones of a state depend on little of it (where one stands, what one
holds, what is open and lies there), so they are remembered by that part and built once for many states.
"""

from __future__ import annotations

from .commands import (
    CLEAN,
    CLOSE,
    COOL,
    EXAMINE_OBJECT,
    EXAMINE_RECEPTACLE,
    GO,
    HEAT,
    INVENTORY,
    LOOK,
    MOVE,
    OPEN,
    SLICE,
    TAKE,
    USE,
    Command,
    Commands,
)
from .game import Game
from .judge import judge
from .state import NOTHING, State
from .wording import BANNER, HELP, PRESENT, Wording, describe_object, listing, with_articles

REMEMBERED = 512
"""How many answers to `go to` an engine keeps; it forgets all when it has so many."""

_tuple = tuple.__new__


class Engine:
    """Plays one game. Holds no state of play: every method takes the state, so one engine serves many episodes."""

    def __init__(self, game: Game, wording: Wording = PRESENT) -> None:
        self.game = game
        self.wording = wording
        self.commands = Commands(game, wording)
        self.won = judge(game)
        """Whether a state wins the game."""
        self._receptacles = [r.name for r in game.receptacles]
        self._objects = [o.name for o in game.objects]
        self._place = [r.place for r in game.receptacles]
        self._openable = [r.openable for r in game.receptacles]
        self._went: dict[tuple[int, int, tuple[int, ...]], str] = {}

    def __reduce__(self) -> tuple[type[Engine], tuple[Game, Wording]]:
        return Engine, (self.game, self.wording)

    def initial(self) -> State:
        """The state at the beginning."""
        game = self.game
        inside: list[list[int]] = [[] for _ in game.receptacles]
        near: list[list[int]] = [[] for _ in range(game.places)]
        for o, thing in enumerate(game.objects):
            for r in thing.inside:
                inside[r].append(o)
            for place in thing.near:
                near[place].append(o)
        opened = sum(1 << r for r, receptacle in enumerate(game.receptacles) if receptacle.opened)
        return State(game.start, NOTHING, opened, tuple(map(tuple, inside)), tuple(map(tuple, near)))

    def intro(self, state: State) -> str:
        """TextWorld's first observation, its banner included."""
        around = self._facing(state)
        if not self.commands.here[state.at]:
            around = self.wording.room.format(seen=with_articles(self._receptacles))
        return f"{BANNER}{around}\n\n{self.wording.task.format(task=self.game.task)}"

    def admissible(self, state: State) -> tuple[str, ...]:
        """The commands that `state` admits, sorted as TextWorld sorts them."""
        return self.commands.admissible(state)

    def step(self, state: State, command: str) -> tuple[State, str] | None:
        """The next state and what is said; None when `command` is not admissible (blanks around it do not matter)."""
        command = command.strip()
        if command not in self.commands.admissible(state):
            return None
        return self.carry_out(state, self.commands.meaning[command])

    def carry_out(self, state: State, command: Command) -> tuple[State, str]:
        """The next state and what is said, for the meaning of a command that `state` admits."""
        verb, a, b = command
        if verb == GO:
            return self._go(state, a)
        if verb == TAKE:
            return self._take(state, a, b)
        if verb == MOVE:
            return self._move(state, a, b)
        if verb in (OPEN, CLOSE):
            return self._open_or_close(state, a, verb == OPEN)
        if verb in (HEAT, COOL, CLEAN, SLICE, USE):
            return self._change(state, verb, a, b)
        return state, self._tell(state, verb, a)

    def _go(self, state: State, r: int) -> tuple[State, str]:
        _, held, opened, inside, near, hot, cool, clean, sliced, toggled, taken = state
        # Twice as fast as State(...), and most steps go somewhere.
        after = _tuple(State, (self._place[r], held, opened, inside, near, hot, cool, clean, sliced, toggled, taken))
        key = (r, opened >> r & 1, inside[r])
        text = self._went.get(key)
        if text is None:
            if len(self._went) >= REMEMBERED:
                self._went.clear()
            text = self.wording.went.format(r=self._receptacles[r], seen=self._look_into(state, r))
            self._went[key] = text
        return after, text

    def _open_or_close(self, state: State, r: int, opening: bool) -> tuple[State, str]:
        at, held, opened, inside, near, hot, cool, clean, sliced, toggled, taken = state
        after = State(at, held, opened ^ 1 << r, inside, near, hot, cool, clean, sliced, toggled, taken)
        if opening:
            return after, self.wording.did_open.format(r=self._receptacles[r], seen=self._look_into(after, r))
        return after, self.wording.did_close.format(r=self._receptacles[r])

    def _take(self, state: State, o: int, r: int) -> tuple[State, str]:
        at, _, opened, inside, near, hot, cool, clean, sliced, toggled, taken = state
        lies = tuple(x for x in inside[r] if x != o)
        close = tuple(x for x in near[at] if x != o)
        inside = (*inside[:r], lies, *inside[r + 1 :])
        near = (*near[:at], close, *near[at + 1 :])
        if len(self.commands.here[at]) > 1:
            taken |= {(o, r)}
        after = State(at, o, opened, inside, near, hot, cool, clean, sliced, toggled, taken)
        return after, self.wording.took.format(o=self._objects[o], r=self._receptacles[r])

    def _move(self, state: State, o: int, r: int) -> tuple[State, str]:
        at, _, opened, inside, near, hot, cool, clean, sliced, toggled, taken = state
        inside = (*inside[:r], tuple(sorted({*inside[r], o})), *inside[r + 1 :])
        near = (*near[:at], tuple(sorted({*near[at], o})), *near[at + 1 :])
        if taken:
            taken -= {(o, r)}
        after = State(at, NOTHING, opened, inside, near, hot, cool, clean, sliced, toggled, taken)
        return after, self.wording.moved.format(o=self._objects[o], r=self._receptacles[r])

    def _change(self, state: State, verb: int, o: int, b: int) -> tuple[State, str]:
        bit, name, w = 1 << o, self._objects[o], self.wording
        if verb == HEAT:
            state = state._replace(hot=state.hot | bit, cool=state.cool & ~bit)
            return state, w.heated.format(o=name, r=self._receptacles[b])
        if verb == COOL:
            state = state._replace(cool=state.cool | bit, hot=state.hot & ~bit)
            return state, w.cooled.format(o=name, r=self._receptacles[b])
        if verb == CLEAN:
            return state._replace(clean=state.clean | bit), w.cleaned.format(o=name, r=self._receptacles[b])
        if verb == SLICE:
            return state._replace(sliced=state.sliced | bit), w.did_slice.format(o=name, k=self._objects[b])
        return state._replace(toggled=state.toggled | bit), w.used.format(o=name)

    def _tell(self, state: State, verb: int, a: int) -> str:
        if verb == EXAMINE_RECEPTACLE:
            return self._look_into(state, a)
        if verb == EXAMINE_OBJECT:
            return self._describe(state, a)
        if verb == INVENTORY:
            carrying, empty = self.wording.carrying, self.wording.empty_handed
            return empty if state.held == NOTHING else carrying.format(o=self._objects[state.held])
        return self._facing(state) if verb == LOOK else HELP

    def _look_into(self, state: State, r: int) -> str:
        name, w = self._receptacles[r], self.wording
        if self._openable[r] and not state.opened >> r & 1:
            return w.shut.format(r=name)
        seen = with_articles([self._objects[o] for o in state.inside[r]])
        return (w.inside if self._openable[r] else w.upon).format(r=name, seen=seen)

    def _facing(self, state: State) -> str:
        here = self.commands.here[state.at]
        if not here:
            return self.wording.room.format(seen="nothing")
        beside = [self._objects[o] for o in state.near[state.at] for r in here if (o, r) in state.taken]
        names = listing([self._receptacles[r] for r in here])
        return self.wording.facing.format(r=names, seen=with_articles(beside))

    def _describe(self, state: State, o: int) -> str:
        abilities = self.game.objects[o].abilities
        return describe_object(
            self._objects[o],
            container="container" in abilities,
            hot=bool(state.hot >> o & 1),
            cool=bool(state.cool >> o & 1),
            clean=bool(state.clean >> o & 1),
            sliced=bool(state.sliced >> o & 1),
            on=bool(state.toggled >> o & 1),
        )
