"""The rules of the game: admissible commands, state changes and answers.

The rules are those of TextWorld for `alfred.pddl`, including its peculiarities: the agent cannot go to its own place,
only the object in hand can be examined, closed appliances work, a lamp in a closed receptacle can be used, and a second
`use` turns the lamp on again.

Commands are looked up, not parsed. The admissible commands depend on a small part of the state: the agent's place, the
object in hand, the open receptacles and the objects at this place. They are cached by that part. Most answers are
cached as well.
"""

from __future__ import annotations

from .commands import Commands, action_arguments
from .game import Game
from .language.relations import Tables
from .state import NO_OBJECT, State
from .verbs import CLEAN, CLOSE, COOL, GO, HEAT, MOVE, OPEN, SLICE, TAKE, USE, Command
from .win_condition import win_condition
from .wording import UNKNOWN_GOAL, Wording, current_wording

MAX_CACHED_ANSWERS = 2048
"""Maximum number of answers cached per engine. A full cache is emptied."""

OBJECT_STATES = ("hot", "cool", "clean", "sliced", "toggled")
"""States of an object, in the order of the fields of `State`."""

_tuple = tuple.__new__


class Engine:
    """Rules of one game.

    Each method takes the state as an argument, so one engine serves many episodes.

    Args:
        game: The game to play.
        wording: Texts of commands and answers; ALFWorld's current ones if None.
    """

    def __init__(self, game: Game, wording: Wording | None = None) -> None:
        self.game = game
        self.wording = wording or current_wording()
        self.tables = Tables(game)
        self.commands = Commands(game, self.wording, self.tables)
        self.won = win_condition(game)
        """Function that returns whether a state satisfies the goal."""
        self._place = self.tables.place_of
        self._shared = [place >= 0 and len(self.tables.receptacles_at[place]) > 1 for place in self._place]
        self._answer_cache: dict[tuple[object, ...], str] = {}
        dependency = {verb: text.depends_on for verb, text in self.wording.answers.items()}
        self._content_verbs = frozenset(verb for verb, what in dependency.items() if what in ("opened", "inside"))
        self._constant_verbs = frozenset(verb for verb, what in dependency.items() if what == "nothing")
        self._view_verbs = frozenset(verb for verb, what in dependency.items() if what == "view")
        self._initial = self._make_initial()
        self._intro = ""

    def __reduce__(self) -> tuple[type[Engine], tuple[Game, Wording]]:
        return Engine, (self.game, self.wording)

    def initial_state(self) -> State:
        """Return the initial state."""
        return self._initial

    def _make_initial(self) -> State:
        game = self.game
        inside: list[list[int]] = [[] for _ in game.receptacles]
        near: list[list[int]] = [[] for _ in range(game.places)]
        bits = dict.fromkeys(OBJECT_STATES, 0)
        for o, thing in enumerate(game.objects):
            for r in thing.inside:
                inside[r].append(o)
            for place in thing.near:
                near[place].append(o)
            for state in thing.states:
                bits[state] |= 1 << o
        opened = sum(1 << r for r, receptacle in enumerate(game.receptacles) if receptacle.opened)
        contents, nearby = tuple(map(tuple, inside)), tuple(map(tuple, near))
        hot, cool, clean, sliced, toggled = bits.values()
        return State(game.start, game.held, opened, contents, nearby, hot, cool, clean, sliced, toggled)

    def intro(self, state: State) -> str:
        """Return the first observation, with TextWorld's banner."""
        if state is self._initial and self._intro:
            return self._intro
        text = self.wording.intro.render(self.tables, state).replace(UNKNOWN_GOAL, self.game.task)
        if state is self._initial:
            self._intro = text
        return text

    def admissible(self, state: State) -> tuple[str, ...]:
        """Return the admissible commands, sorted and without duplicates, as TextWorld lists them."""
        return self.commands.admissible(state)

    def step(self, state: State, command: str) -> tuple[State, str] | None:
        """Return the next state and the answer, or None if `command` is not admissible. Outer blanks are ignored."""
        command = command.strip()
        if command not in self.commands.admissible(state):
            return None
        return self.execute(state, self.commands.by_text[command])

    def execute(self, state: State, command: Command) -> tuple[State, str]:
        """Return the next state and the answer for an admissible command, given in its parsed form."""
        verb, a, _ = command
        if verb == GO:
            # Three times as fast as State(...), and most steps are `go to`.
            after = _tuple(State, (self._place[a], *state[1:]))
        else:
            after = self.next_state(state, command)
        if verb in self._content_verbs:
            key: tuple[object, ...] = (verb, a, after[2] >> a & 1, after[3][a])
        elif verb in self._constant_verbs:
            key = command
        elif verb in self._view_verbs:
            key = (command, after[0], after[1], after[4], after[10])
        else:
            return after, self._answer(state, after, command)
        text = self._answer_cache.get(key)
        if text is None:
            if len(self._answer_cache) >= MAX_CACHED_ANSWERS:
                self._answer_cache.clear()
            text = self._answer_cache[key] = self._answer(state, after, command)
        return after, text

    def _answer(self, before: State, after: State, command: Command) -> str:
        verb, a, _ = command
        lamp_in = 0
        if verb == USE:
            lamp_in = next(r for r in self.tables.receptacles_at[before.at] if a in before.inside[r])
        return self.wording.answers[verb].render(
            self.tables, after, *action_arguments(command, before.at, after.at, lamp_in)
        )

    def next_state(self, state: State, command: Command) -> State:
        """Return the next state, without rendering the answer."""
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
        contents = tuple([x for x in inside[r] if x != o])
        nearby = tuple([x for x in near[at] if x != o])
        inside = (*inside[:r], contents, *inside[r + 1 :])
        near = (*near[:at], nearby, *near[at + 1 :])
        if self._shared[r]:
            taken |= {(o, r)}
        return State(at, o, opened, inside, near, hot, cool, clean, sliced, toggled, taken)

    def _move(self, state: State, o: int, r: int) -> State:
        at, _, opened, inside, near, hot, cool, clean, sliced, toggled, taken = state
        inside = (*inside[:r], tuple(sorted({*inside[r], o})), *inside[r + 1 :])
        near = (*near[:at], tuple(sorted({*near[at], o})), *near[at + 1 :])
        if taken:
            taken -= {(o, r)}
        return State(at, NO_OBJECT, opened, inside, near, hot, cool, clean, sliced, toggled, taken)
