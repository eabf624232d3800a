"""Games written as ALFWorld's own files, which stock ALFWorld plays."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..game import Game, Object, Receptacle
from ..goals import Goal
from ..language.domain import own
from .files import NAME
from .problem import ABILITIES, STATES

TREATED = {"heat": ("heatable", "isHot"), "cool": ("coolable", "isCool"), "clean": ("cleanable", "isClean")}


def goal_pddl(goal: Goal) -> str:
    """The goal as PDDL, as ALFWorld writes it."""
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
        able, done = TREATED[goal.treatment]
        place += f" ({able} ?o) ({done} ?o)"
    return f"(:goal (and (exists (?r - receptacle) (exists (?o - object) (and {place})))))"


def problem_pddl(game: Game) -> str:
    """The world of a game and its goal as a PDDL problem."""
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
    """The kinds that the problem speaks of, and those that the domain does."""
    receptacles = {r.kind for r in game.receptacles} | set(game.holds)
    objects = {o.kind for o in game.objects} | {kind for kinds in game.holds.values() for kind in kinds}
    for name, kinds in game.tools.items():
        (objects if name == "slice" else receptacles).update(kinds)
    (objects if game.goal.count == 0 else receptacles).add(game.goal.target)
    objects.add(game.goal.object)
    types = {f"{kind}Type": "rtype" for kind in sorted(receptacles) if kind}
    return types | {f"{kind}Type": "otype" for kind in sorted(objects) if kind}


def _facts(game: Game, places: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    agent = game.agent.strip()
    yield "atLocation", agent, places[game.start]
    for kind, things in sorted(game.holds.items()):
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
    for name, word in (ABILITIES | STATES).items():
        if word in (thing.abilities if name in ABILITIES else thing.states):
            yield name, thing.id
    for r in thing.inside:
        yield "inReceptacle", thing.id, game.receptacles[r].id
    for place in thing.near:
        yield "objectAtLocation", thing.id, places[place]
    for inner in thing.contents:
        yield "inReceptacleObject", game.objects[inner].id, thing.id


def game_file(game: Game, walkthrough: Iterable[str]) -> dict[str, Any]:
    """The content of a `game.tw-pddl`: our domain and grammar, this world, and a plan that wins it."""
    return {
        "pddl_domain": own("domain.pddl"),
        "grammar": own("grammar.twl2").replace("UNKNOWN GOAL", game.task),
        "pddl_problem": problem_pddl(game),
        "solvable": True,
        "walkthrough": list(walkthrough),
    }


def write_game(folder: Path, game: Game, walkthrough: Iterable[str]) -> Path:
    """Write the game and the `traj_data.json` by which ALFWorld finds it into a folder of its own."""
    return write_content(folder, game_file(game, walkthrough), game.goal.type)


def write_content(folder: Path, content: Mapping[str, Any], type_: str) -> Path:
    """The same for the content of a `game.tw-pddl` with a task of type `type_`."""
    folder.mkdir(parents=True, exist_ok=True)
    described = {"task_type": type_, "task_id": folder.name}
    (folder / "traj_data.json").write_text(json.dumps(described), encoding="utf-8")
    path = folder / NAME
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
