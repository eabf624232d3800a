"""Writer of game files that ALFWorld can play."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..game import Game, Object, Receptacle
from ..goals import Goal
from ..language.domain import bundled_text
from .files import GAME_FILE_NAME
from .problem import ABILITY_PREDICATES, STATE_PREDICATES

TREATMENT_PREDICATES = {
    "heat": ("heatable", "isHot"),
    "cool": ("coolable", "isCool"),
    "clean": ("cleanable", "isClean"),
}
"""For each treatment, the predicates of the ability and of the resulting state."""


def goal_pddl(goal: Goal) -> str:
    """Return the goal in PDDL, in ALFWorld's form."""
    if goal.count == 0:
        return (
            "(:goal (and (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and "
            f"(objectType ?ot {goal.target}Type) (toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l) "
            "(atLocation ?a ?l) (inReceptacle ?ot ?r))) (exists (?o - object ?a - agent) (and "
            f"(objectType ?o {goal.object}Type) (holds ?a ?o)))))"
        )
    place = f"(objectType ?o {goal.object}Type) (receptacleType ?r {goal.target}Type) (inReceptacle ?o ?r)"
    if goal.count == 2:
        other = f"(objectType ?p {goal.object}Type) (receptacleType ?r {goal.target}Type) (inReceptacle ?p ?r)"
        place += f" (exists (?p - object) (and (not (= ?o ?p)) {other}))"
    if goal.treatment:
        able, done = TREATMENT_PREDICATES[goal.treatment]
        place += f" ({able} ?o) ({done} ?o)"
    return f"(:goal (and (exists (?r - receptacle) (exists (?o - object) (and {place})))))"


def problem_pddl(game: Game) -> str:
    """Return the initial state and the goal of a game as a PDDL problem."""
    places = game.place_ids or tuple(f"loc_bar_{number:03d}" for number in range(game.places))
    objects = {r.id: "receptacle" for r in game.receptacles} | {o.id: "object" for o in game.objects}
    objects |= dict.fromkeys(places, "location") | {game.agent.strip(): "agent"}
    return "\n".join(
        [
            "(define (problem household)",
            "(:domain alfred)",
            "(:objects",
            *[f"  {name} - {type_}" for name, type_ in [*_types(game).items(), *sorted(objects.items())]],
            ")",
            "(:init",
            *[f"  ({' '.join(fact)})" for fact in _facts(game, places)],
            ")",
            goal_pddl(game.goal),
            ")",
            "",
        ]
    )


def _types(game: Game) -> dict[str, str]:
    """Return the kinds that the problem or the domain mentions, as PDDL objects with their types."""
    receptacles = {r.kind for r in game.receptacles} | set(game.can_contain)
    objects = {o.kind for o in game.objects} | {kind for kinds in game.can_contain.values() for kind in kinds}
    for name, kinds in game.tools.items():
        (objects if name == "slice" else receptacles).update(kinds)
    (objects if game.goal.count == 0 else receptacles).add(game.goal.target)
    objects.add(game.goal.object)
    types = {f"{kind}Type": "rtype" for kind in sorted(receptacles) if kind}
    return types | {f"{kind}Type": "otype" for kind in sorted(objects) if kind}


def _facts(game: Game, places: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    agent = game.agent.strip()
    yield "atLocation", agent, places[game.start]
    for kind, things in sorted(game.can_contain.items()):
        for thing in sorted(things):
            yield "canContain", f"{kind}Type", f"{thing}Type"
    for receptacle in game.receptacles:
        yield from _receptacle(receptacle, places)
    for item in game.objects:
        yield from _object(item, game, places)
    if game.held >= 0:
        yield "holds", agent, game.objects[game.held].id
        yield "holdsAny", agent


def _receptacle(receptacle: Receptacle, places: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    if receptacle.kind:
        yield "receptacleType", receptacle.id, f"{receptacle.kind}Type"
    if receptacle.place >= 0:
        yield "receptacleAtLocation", receptacle.id, places[receptacle.place]
    if receptacle.openable:
        yield "openable", receptacle.id
    if receptacle.opened:
        yield "opened", receptacle.id


def _object(thing: Object, game: Game, places: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    if thing.kind:
        yield "objectType", thing.id, f"{thing.kind}Type"
    for name, word in (ABILITY_PREDICATES | STATE_PREDICATES).items():
        if word in (thing.abilities if name in ABILITY_PREDICATES else thing.states):
            yield name, thing.id
    for r in thing.inside:
        yield "inReceptacle", thing.id, game.receptacles[r].id
    for place in thing.near:
        yield "objectAtLocation", thing.id, places[place]
    for inner in thing.contents:
        yield "inReceptacleObject", game.objects[inner].id, thing.id


def game_file(game: Game, walkthrough: Iterable[str]) -> dict[str, Any]:
    """Return the content of a `game.tw-pddl`, with the domain and grammar of this package.

    Args:
        game: The game.
        walkthrough: Commands of a plan that wins the game.

    Returns:
        The fields of the file.
    """
    return {
        "pddl_domain": bundled_text("domain.pddl"),
        "grammar": bundled_text("grammar.twl2").replace("UNKNOWN GOAL", game.task),
        "pddl_problem": problem_pddl(game),
        "solvable": True,
        "walkthrough": list(walkthrough),
    }


def write_game(folder: Path, game: Game, walkthrough: Iterable[str]) -> Path:
    """Write a game to a folder, together with the `traj_data.json` by which ALFWorld finds it.

    Args:
        folder: Folder for this game. Created if necessary.
        game: The game.
        walkthrough: Commands of a plan that wins the game.

    Returns:
        Path of the game file.
    """
    return write_content(folder, game_file(game, walkthrough), game.goal.type)


def write_content(folder: Path, content: Mapping[str, Any], type_: str) -> Path:
    """Write the content of a `game.tw-pddl` and its `traj_data.json`; see `write_game`.

    Args:
        folder: Folder for this game. Created if necessary.
        content: Fields of the game file.
        type_: Task type of the game.

    Returns:
        Path of the game file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    described = {"task_type": type_, "task_id": folder.name}
    (folder / "traj_data.json").write_text(json.dumps(described), encoding="utf-8")
    path = folder / GAME_FILE_NAME
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
