"""The rules: which commands a state admits, what they change and what is said.

They are TextWorld's for `alfred.pddl`, its oddities included: going to where one stands is refused, only what is held
can be examined, appliances work closed, a lamp in a closed receptacle can be used, a second `use` still turns on.

Commands are looked up, not parsed. The admissible ones of a state depend on little of it (where one stands, what one
holds, what is open and lies there), so they are remembered by that part and built once for many states; so are most
answers.
"""

from __future__ import annotations

from .commands import Commands, entities
from .game import Game
from .judge import judge
from .language.relations import Tables
from .state import NOTHING, State
from .verbs import CLEAN, CLOSE, COOL, GO, HEAT, MOVE, OPEN, SLICE, TAKE, USE, Command
from .wording import UNKNOWN_GOAL, Wording, present

REMEMBERED = 2048
"""How many answers an engine keeps; it forgets all when it has so many."""

STATES = ("hot", "cool", "clean", "sliced", "toggled")
"""What an object can be, in the order of the state's fields."""

_tuple = tuple.__new__


class Engine:
    """Plays one game. Holds no state of play: every method takes the state, so one engine serves many episodes."""

    def __init__(self, game: Game, wording: Wording | None = None) -> None:
        self.game = game
        self.wording = wording or present()
        self.tables = Tables(game)
        self.commands = Commands(game, self.wording, self.tables)
        self.won = judge(game)
        """Whether a state wins the game."""
        self._place = self.tables.place
        self._shared = [place >= 0 and len(self.tables.here[place]) > 1 for place in self._place]
        self._said: dict[tuple[object, ...], str] = {}
        reads = {verb: text.reads for verb, text in self.wording.answers.items()}
        self._by_content = frozenset(verb for verb, what in reads.items() if what in ("opened", "inside"))
        self._always_the_same = frozenset(verb for verb, what in reads.items() if what == "nothing")
        self._by_view = frozenset(verb for verb, what in reads.items() if what == "view")
        self._first = self._begin()
        self._intro = ""

    def __reduce__(self) -> tuple[type[Engine], tuple[Game, Wording]]:
        return Engine, (self.game, self.wording)

    def initial(self) -> State:
        """The state at the beginning."""
        return self._first

    def _begin(self) -> State:
        game = self.game
        inside: list[list[int]] = [[] for _ in game.receptacles]
        near: list[list[int]] = [[] for _ in range(game.places)]
        bits = dict.fromkeys(STATES, 0)
        for o, thing in enumerate(game.objects):
            for r in thing.inside:
                inside[r].append(o)
            for place in thing.near:
                near[place].append(o)
            for state in thing.states:
                bits[state] |= 1 << o
        opened = sum(1 << r for r, receptacle in enumerate(game.receptacles) if receptacle.opened)
        lies, close = tuple(map(tuple, inside)), tuple(map(tuple, near))
        hot, cool, clean, sliced, toggled = bits.values()
        return State(game.start, game.held, opened, lies, close, hot, cool, clean, sliced, toggled)

    def intro(self, state: State) -> str:
        """TextWorld's first observation, its banner included."""
        if state is self._first and self._intro:
            return self._intro
        text = self.wording.intro.say(self.tables, state).replace(UNKNOWN_GOAL, self.game.task)
        if state is self._first:
            self._intro = text
        return text

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
        verb, a, _ = command
        if verb == GO:
            # Three times as fast as State(...), and most steps go somewhere.
            after = _tuple(State, (self._place[a], *state[1:]))
        else:
            after = self.change(state, command)
        if verb in self._by_content:
            key: tuple[object, ...] = (verb, a, after[2] >> a & 1, after[3][a])
        elif verb in self._always_the_same:
            key = command
        elif verb in self._by_view:
            key = (command, after[0], after[1], after[4], after[10])
        else:
            return after, self._answer(state, after, command)
        text = self._said.get(key)
        if text is None:
            if len(self._said) >= REMEMBERED:
                self._said.clear()
            text = self._said[key] = self._answer(state, after, command)
        return after, text

    def _answer(self, before: State, after: State, command: Command) -> str:
        verb, a, _ = command
        lamp_in = 0
        if verb == USE:
            lamp_in = next(r for r in self.tables.here[before.at] if a in before.inside[r])
        return self.wording.answers[verb].say(self.tables, after, *entities(command, before.at, after.at, lamp_in))

    def change(self, state: State, command: Command) -> State:
        """The next state alone."""
        verb, a, b = command
        if verb == GO:
            return _tuple(State, (self._place[a], *state[1:]))
        if verb == TAKE:
            return self._take(state, a, b)
        if verb == MOVE:
            return self._move(state, a, b)
        if verb in (OPEN, CLOSE):
            return state._replace(opened=state.opened ^ 1 << a)
        bit = 1 << a
        if verb == HEAT:
            return state._replace(hot=state.hot | bit, cool=state.cool & ~bit)
        if verb == COOL:
            return state._replace(cool=state.cool | bit, hot=state.hot & ~bit)
        if verb == CLEAN:
            return state._replace(clean=state.clean | bit)
        if verb == SLICE:
            return state._replace(sliced=state.sliced | bit)
        return state._replace(toggled=state.toggled | bit) if verb == USE else state

    def _take(self, state: State, o: int, r: int) -> State:
        at, _, opened, inside, near, hot, cool, clean, sliced, toggled, taken = state
        lies = tuple([x for x in inside[r] if x != o])
        close = tuple([x for x in near[at] if x != o])
        inside = (*inside[:r], lies, *inside[r + 1 :])
        near = (*near[:at], close, *near[at + 1 :])
        if self._shared[r]:
            taken |= {(o, r)}
        return State(at, o, opened, inside, near, hot, cool, clean, sliced, toggled, taken)

    def _move(self, state: State, o: int, r: int) -> State:
        at, _, opened, inside, near, hot, cool, clean, sliced, toggled, taken = state
        inside = (*inside[:r], tuple(sorted({*inside[r], o})), *inside[r + 1 :])
        near = (*near[:at], tuple(sorted({*near[at], o})), *near[at + 1 :])
        if taken:
            taken -= {(o, r)}
        return State(at, NOTHING, opened, inside, near, hot, cool, clean, sliced, toggled, taken)
