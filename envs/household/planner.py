"""Shortest plans, found by A* search over the states of the engine.

The search skips commands that cannot help. It moves only objects of the goal's kind and an object that
is in hand initially. It visits only receptacles that contain, treat or receive these objects. The plans stay optimal:
each place can be reached in one step from any other, and the agent carries one object at a time.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Mapping, Sequence

from .engine import Engine
from .state import NO_OBJECT, State
from .verbs import GO, MOVE, OPEN, TAKE, TREATMENTS, USE, Command

MAX_STATES = 1_000_000
"""Maximum number of states to visit. ALFWorld's games take hundreds."""


def shortest_plan(engine: Engine, state: State | None = None) -> tuple[str, ...] | None:
    """Return a shortest plan. Deterministic.

    Args:
        engine: The engine of the game.
        state: State in which the plan starts; the initial state if None.

    Returns:
        The commands of the plan, or None if the game cannot be won.

    Raises:
        RuntimeError: If the search visited `MAX_STATES` states without finding a plan.
    """
    start = engine.initial_state() if state is None else state
    search = _Search(engine, start)
    order = itertools.count()
    queue: list[tuple[int, int, int, State]] = []
    parents: dict[State, tuple[State, Command] | None] = {start: None}
    steps = {start: 0}
    estimate = search.lower_bound(start)
    if estimate is not None:
        heapq.heappush(queue, (estimate, 0, next(order), start))
    while queue:
        _, depth, _, at = heapq.heappop(queue)
        depth = -depth
        if depth > steps[at]:
            continue
        if engine.won(at):
            return _extract_plan(engine, at, parents)
        for command in search.useful(at):
            if command[0] not in engine.wording.commands:
                continue
            after = engine.next_state(at, command)
            if depth + 1 >= steps.get(after, MAX_STATES):
                continue
            estimate = search.lower_bound(after)
            if estimate is not None:
                steps[after], parents[after] = depth + 1, (at, command)
                heapq.heappush(queue, (depth + 1 + estimate, -depth - 1, next(order), after))
        if len(steps) > MAX_STATES:
            raise RuntimeError(
                f"the search for a plan for {engine.game.task!r} visited {MAX_STATES:,} states; expected fewer"
            )
    return None


def _extract_plan(engine: Engine, end: State, parents: dict[State, tuple[State, Command] | None]) -> tuple[str, ...]:
    plan: list[str] = []
    step = parents[end]
    while step is not None:
        before, command = step
        plan.append(engine.commands.text(*command))
        step = parents[before]
    return tuple(reversed(plan))


class _Search:
    """Useful commands and an admissible heuristic for A*."""

    def __init__(self, engine: Engine, start: State) -> None:
        game, goal = engine.game, engine.game.goal
        self.engine, self.game, self.goal = engine, game, goal
        self.treatment = next((entry for entry in TREATMENTS if entry[1] == goal.treatment), None)
        ability = self.treatment[2] if self.treatment else None
        self.things = [
            o
            for o, thing in enumerate(game.objects)
            if thing.kind == goal.object and (not ability or ability in thing.abilities)
        ]
        self.lamps = (
            [o for o, t in enumerate(game.objects) if t.kind == goal.target and "toggleable" in t.abilities]
            if goal.count == 0
            else []
        )
        kinds = [receptacle.kind for receptacle in game.receptacles]
        self.targets = [r for r, kind in enumerate(kinds) if kind == goal.target and goal.count]
        tools = game.tools[self.treatment[1]] if self.treatment else frozenset()
        self.tools = [r for r, kind in enumerate(kinds) if kind in tools]
        useful = {r for o in (*self.things, *self.lamps) for r in range(len(kinds)) if o in start.inside[r]}
        useful |= {*self.targets, *self.tools}
        if start.held != NO_OBJECT:
            # The object in hand may be the wrong one and has to be put somewhere first.
            held = game.objects[start.held].kind
            useful |= {r for r, kind in enumerate(kinds) if held in game.can_contain.get(kind, ())}
        place = engine.tables.place_of
        self.places = sorted({place[r] for r in useful if place[r] >= 0})
        self.tool_places = frozenset(place[r] for r in self.tools if place[r] >= 0)

    def useful(self, state: State) -> Iterable[Command]:
        """Yield the commands that can be part of a shortest plan."""
        game, here = self.game, self.engine.tables.receptacles_at
        for place in self.places:
            if place != state.at:
                yield GO, here[place][0], 0
        held = state.held
        for r in here[state.at]:
            receptacle = game.receptacles[r]
            closed = receptacle.openable and not state.opened >> r & 1
            if closed:
                yield OPEN, r, 0
            contents = state.inside[r]
            for o in contents:
                if o in self.lamps and not state.toggled >> o & 1:
                    yield USE, o, 0
            if held == NO_OBJECT and not closed:
                for o in self.things:
                    if o in contents and "pickupable" in game.objects[o].abilities:
                        yield TAKE, o, r
            if held != NO_OBJECT:
                thing = game.objects[held]
                if not closed and thing.kind in game.can_contain.get(receptacle.kind, ()):
                    yield MOVE, held, r
                if self.treatment and r in self.tools and self.treatment[2] in thing.abilities:
                    yield self.treatment[0], held, r

    def lower_bound(self, state: State) -> int | None:
        """Return a lower bound on the remaining steps, or None if the goal is out of reach."""
        if self.goal.count == 0:
            return self._bound_to_look(state)
        found = [steps for r in self.targets if (steps := self._bound_to_fill(state, r)) is not None]
        return min(found, default=None)

    def _bound_to_fill(self, state: State, target: int) -> int | None:
        """Bound the steps until `target` contains enough treated objects of the goal's kind."""
        place = self.engine.tables.place_of[target]
        done = self._done(state)
        there = [o for o in self.things if o in state.inside[target] and done >> o & 1]
        missing = self.goal.count - len(there)
        if missing <= 0:
            return 0
        if place < 0:
            return None
        costs = sorted(
            cost
            for o in self.things
            if o not in there and (cost := self._bound_to_bring(state, o, place, bool(done >> o & 1))) is not None
        )
        if len(costs) < missing:
            return None
        closed = self.game.receptacles[target].openable and not state.opened >> target & 1
        return sum(costs[:missing]) + closed

    def _done(self, state: State) -> int:
        if self.treatment is None:
            return -1
        return {"heat": state.hot, "cool": state.cool, "clean": state.clean}[self.treatment[1]]

    def _bound_to_bring(self, state: State, o: int, place: int, treated: bool) -> int | None:
        """Bound the steps to take, treat and put down one object, without moves that another object may share."""
        steps = 1
        at: frozenset[int] = frozenset({state.at})
        if state.held != o:
            at = frozenset(self._places_of(state, o))
            if not at:
                return None
            # If one of two objects lies at the target's place, the move there may be shared with the other object.
            shared = self.goal.count > 1 and place in at
            steps += 1 + (state.at not in at and not shared)
        if not treated:
            if not self.tool_places:
                return None
            steps += 1 + (not at & self.tool_places)
            at = self.tool_places
        return steps + (place not in at)

    def _places_of(self, state: State, o: int) -> list[int]:
        place = self.engine.tables.place_of
        if "pickupable" not in self.game.objects[o].abilities:
            return []
        return [place[r] for r, contents in enumerate(state.inside) if o in contents and place[r] >= 0]

    def _bound_to_look(self, state: State) -> int | None:
        lamp_places = {
            place: lit
            for lit in (0, 1)
            for o in self.lamps
            if state.toggled >> o & 1 == lit
            for r, contents in enumerate(state.inside)
            if o in contents and (place := self.engine.tables.place_of[r]) >= 0
        }
        if state.held in self.lamps:
            return 1
        if state.held in self.things:
            return _nearest_lamp([state.at], lamp_places)
        found = []
        for o in self.things:
            places = self._places_of(state, o)
            steps = _nearest_lamp(places, lamp_places)
            if places and steps is not None:
                found.append(1 + (state.at not in places) + steps)
        return min(found, default=None)


def _nearest_lamp(places: Sequence[int], lamp_places: Mapping[int, int]) -> int | None:
    """Return the steps from one of `places` to a lamp, including `use` if it is not lit."""
    return min(((place not in places) + (not lit) for place, lit in lamp_places.items()), default=None)
