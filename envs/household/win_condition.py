"""The win condition of a game."""

from __future__ import annotations

from collections.abc import Callable

from .game import Game
from .state import NO_OBJECT, State

WinCondition = Callable[[State], bool]
"""Function that returns whether a state satisfies the goal."""


def win_condition(game: Game) -> WinCondition:
    """Return the win condition for `game.goal`."""
    if game.goal.type == "look_at_obj_in_light":
        return _look_condition(game)
    return _place_condition(game)


def _place_condition(game: Game) -> WinCondition:
    goal = game.goal
    ability = {"heat": "heatable", "cool": "coolable", "clean": "cleanable"}.get(goal.treatment or "")
    wanted = sum(
        1 << o
        for o, thing in enumerate(game.objects)
        if thing.kind == goal.object and (ability is None or ability in thing.abilities)
    )
    targets = tuple(r for r, receptacle in enumerate(game.receptacles) if receptacle.kind == goal.target)
    treatment, count = goal.treatment, goal.count

    def won(state: State) -> bool:
        good = wanted
        if treatment is not None:
            good &= state.hot if treatment == "heat" else state.cool if treatment == "cool" else state.clean
            if not good:
                return False
        inside = state.inside
        for r in targets:
            contents = inside[r]
            if contents and sum(good >> o & 1 for o in contents) >= count:
                return True
        return False

    return won


def _look_condition(game: Game) -> WinCondition:
    goal = game.goal
    wanted = sum(1 << o for o, thing in enumerate(game.objects) if thing.kind == goal.object)
    lamps = sum(
        1 << o for o, thing in enumerate(game.objects) if thing.kind == goal.target and "toggleable" in thing.abilities
    )
    here = tuple(
        tuple(r for r, receptacle in enumerate(game.receptacles) if receptacle.place == place)
        for place in range(game.places)
    )

    def won(state: State) -> bool:
        lit = lamps & state.toggled
        if not lit or state.held == NO_OBJECT or not wanted >> state.held & 1:
            return False
        return any(lit >> o & 1 for r in here[state.at] for o in state.inside[r])

    return won
