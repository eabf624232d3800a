"""Reasons why a command is not admissible. They reveal nothing that the agent cannot observe."""

from __future__ import annotations

import re

from .engine import Engine
from .game import Object, Receptacle
from .state import NO_OBJECT, State
from .verbs import MOVE

MAX_SHOWN_CHARACTERS = 60
"""Maximum number of characters of a command that a refusal quotes."""
_FORM = re.compile(
    r"(?P<verb>go to|open|close|take|move|put|heat|cool|clean|slice|use|examine) (?P<a>.+?)"
    r"(?: (?:from|to|in/on|with) (?P<b>.+))?"
)


def explain(engine: Engine, state: State, command: object) -> str:
    """Return the reason why `command` is not admissible as one clause, such as `cabinet 2 is closed`.

    The length of the clause is bounded for any command.
    """
    if not isinstance(command, str):
        return f"an action is a text, not {type(command).__name__}"
    text = command.strip()
    if not text:
        return "the action is empty"
    if len(text) > 200 or not text.isprintable():
        return f"{_quote(text)} is not a command (it has {len(text)} characters, some unprintable or too many)"
    match = _FORM.fullmatch(text)
    if match is None:
        return f"{_quote(text)} is not a command; help lists them"
    return _explain(engine, state, match["verb"], match["a"], match["b"]) or f"{_quote(text)} cannot be done now"


def _quote(text: str) -> str:
    return repr(text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "…")


def _explain(engine: Engine, state: State, verb: str, a: str, b: str | None) -> str | None:
    receptacles = {receptacle.name: r for r, receptacle in enumerate(engine.game.receptacles)}
    for name in (a, b) if verb != "go to" else ():
        if name is not None and name in receptacles and not _is_here(engine, state, receptacles[name]):
            return f"you are not at {name}"
    if verb in ("go to", "open", "close"):
        return _explain_receptacle(engine, state, verb, a, receptacles)
    held = None if state.held == NO_OBJECT else engine.game.objects[state.held]
    if verb == "take":
        return _explain_take(engine, state, a, b, held, receptacles)
    if verb == "use":
        return f"{a} is not here or cannot be used"
    if verb == "slice":
        return f"you do not hold {b}, it is no knife, or {a} is not here to be sliced"
    if held is None or held.name != a:
        return f"you do not hold {a}"
    if b is None or b not in receptacles:
        return f"there is no {b}" if b is not None else None
    receptacle = engine.game.receptacles[receptacles[b]]
    if verb in ("move", "put"):
        return _closed(state, receptacles[b], receptacle) or (
            f"a {held.kind} does not go in a {receptacle.kind}"
            if verb == _move_verb(engine)
            else f"the verb is not {verb}"
        )
    return f"you cannot {verb} a {held.kind} with a {receptacle.kind}"


def _move_verb(engine: Engine) -> str:
    """Return the verb for putting down an object: `move`, or `put` in older games."""
    return engine.commands.text(MOVE).partition(" ")[0]


def _explain_receptacle(engine: Engine, state: State, verb: str, a: str, receptacles: dict[str, int]) -> str:
    if a not in receptacles:
        return f"there is no receptacle {a}"
    if verb == "go to":
        return f"you are already at {a}"
    receptacle = engine.game.receptacles[receptacles[a]]
    if not receptacle.openable:
        return f"{a} does not open or close"
    return f"{a} is already {'open' if verb == 'open' else 'closed'}"


def _explain_take(
    engine: Engine, state: State, a: str, b: str | None, held: Object | None, receptacles: dict[str, int]
) -> str | None:
    if held is not None:
        return f"you already hold {held.name}"
    if b is None or b not in receptacles:
        return f"there is no receptacle {b}" if b is not None else f"say where from: take {a} from ..."
    r = receptacles[b]
    closed = _closed(state, r, engine.game.receptacles[r])
    if closed:
        return closed
    if a in (engine.game.objects[o].name for o in state.inside[r]):
        return f"{a} cannot be picked up"
    return f"there is no {a} in or on {b}"


def _closed(state: State, r: int, receptacle: Receptacle) -> str | None:
    return f"{receptacle.name} is closed" if receptacle.openable and not state.opened >> r & 1 else None


def _is_here(engine: Engine, state: State, r: int) -> bool:
    return r in engine.commands.receptacles_at[state.at]
