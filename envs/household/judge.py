"""When a game is won."""

from __future__ import annotations

from collections.abc import Callable

from .game import Game
from .state import NOTHING, State

Judge = Callable[[State], bool]


def judge(game: Game) -> Judge:
    """The test of `game.goal`: a function of the state alone."""
    if game.goal.type == "look_at_obj_in_light":
        return _look(game)
    return _place(game)


def _place(game: Game) -> Judge:
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
            lies = inside[r]
            if lies and sum(good >> o & 1 for o in lies) >= count:
                return True
        return False

    return won


def _look(game: Game) -> Judge:
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
        if not lit or state.held == NOTHING or not wanted >> state.held & 1:
            return False
        return any(lit >> o & 1 for r in here[state.at] for o in state.inside[r])

    return won
