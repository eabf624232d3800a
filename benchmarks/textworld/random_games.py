"""Random valid ALFWorld games, in which the special cases of real games are frequent.

Several receptacles share a place. Objects lie in two receptacles or in none, have a location different from their
receptacle's, contain other objects, or are hot, sliced or in hand initially. Receptacles are open initially or have no
place.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...envs.household.alfworld.export import goal_pddl
from ...envs.household.alfworld.files import load_engine, parse_file
from ...envs.household.catalog import ABILITIES, APPLIANCE, CAN_CONTAIN, FIXED, OPENABLE, USUAL_RECEPTACLES
from ...envs.household.goals import TASK_TYPES, TREATMENT, Goal
from ...envs.household.planner import shortest_plan

SCENERY = ("Window", "StoveKnob", "Chair", "LightSwitch", "Sink", "Mirror")
"""Kinds of objects without abilities that lie in no receptacle."""
ABILITY_OF_TREATMENT = {"heat": "heatable", "cool": "coolable", "clean": "cleanable"}
"""Ability that an object needs for each treatment."""
WORDINGS = ("present", "older")
"""Wordings of games. `older` uses `put X in/on Y` and `You arrive at loc 15.`."""


@dataclass
class _Draft:
    """A problem under construction."""

    rng: random.Random
    """Source of all random choices."""
    lamp_in_hand: bool = False
    """Whether the object in hand initially, if any, should be a lamp, which cannot be picked up."""
    entities: dict[str, str] = field(default_factory=dict)
    """Types of the entities."""
    facts: list[str] = field(default_factory=list)
    """Facts in PDDL."""
    at: dict[str, str] = field(default_factory=dict)
    """Places of the receptacles."""
    kinds: dict[str, str] = field(default_factory=dict)
    """Kinds of the receptacles and objects."""

    def entity(self, kind: str, type_: str, tail: str = "") -> str:
        rng = self.rng
        while True:
            spots = "_bar_".join(
                f"_{rng.choice(('plus', 'minus'))}_{rng.randint(0, 4):02d}_dot_{rng.randint(0, 99):02d}"
                for _ in range(rng.randint(1, 3))
            )
            id_ = f"{kind}_bar_{spots}{tail}"
            if id_ not in self.entities:
                self.entities[id_] = type_
                self.kinds[id_] = kind
                return id_

    def add_fact(self, *words: str) -> None:
        self.facts.append("(" + " ".join(words) + ")")


def random_game(seed: int, size: int, texts: Mapping[str, str], wording: str = "present") -> dict[str, Any]:
    """Return the content of a random `game.tw-pddl`. Deterministic.

    Args:
        seed: Number of the game. The task types cycle with it.
        size: Number of receptacles. There are about one and a half times as many objects.
        texts: Domain (`pddl_domain`) and grammar (`grammar`) of the game.
        wording: One of `WORDINGS`.

    Returns:
        The fields of the file. `walkthrough` is a shortest plan. It is empty if the game is won initially. It is also
        empty if the game cannot be won because the object in hand fits nowhere; then `solvable` is false.
    """
    rng = random.Random(seed)
    type_ = TASK_TYPES[seed % len(TASK_TYPES)]
    goal = _goal(rng, type_)
    draft = _Draft(rng, lamp_in_hand=random.Random(f"hand/{seed}").random() < 0.3)
    places = _places(draft, size)
    receptacles = _receptacles(draft, goal, size, places)
    things = _things(draft, goal, size, receptacles, places)
    _states(draft, things)
    _start(draft, things, places)
    problem = _problem(draft, goal)
    lower = Goal(goal.type, goal.object.lower(), goal.target.lower())
    grammar = texts["grammar"].replace("UNKNOWN GOAL", lower.text(rng.randrange(2)))
    if wording == "older":
        grammar = with_older_wording(grammar)
    game = {
        "pddl_domain": texts["pddl_domain"],
        "grammar": grammar,
        "pddl_problem": problem,
    }
    where = f"random game {seed}"
    found = shortest_plan(load_engine(parse_file(json.dumps(game).encode(), where), where))
    return {**game, "solvable": found is not None, "walkthrough": list(found or ())}


def with_older_wording(grammar: str) -> str:
    """Return the grammar with the wording before November 2024."""
    for new, old in (
        ("You arrive at {r.name}.", "You arrive at {lend.name}."),
        ("move {o} to {r}", "put {o} in/on {r}"),
        ("You move the {o.name} to the {r.name}.", "You put the {o.name} in/on the {r.name}."),
    ):
        assert new in grammar, new
        grammar = grammar.replace(new, old)
    return grammar


def _goal(rng: random.Random, type_: str) -> Goal:
    movable = [kind for kind in USUAL_RECEPTACLES if kind not in FIXED]
    if type_ == "look_at_obj_in_light":
        return Goal(type_, rng.choice(movable), "DeskLamp")
    treatment = TREATMENT.get(type_)
    able = [kind for kind in movable if not treatment or kind in ABILITIES[ABILITY_OF_TREATMENT[treatment]]]
    thing = rng.choice(able)
    targets = [kind for kind in CAN_CONTAIN if thing in CAN_CONTAIN[kind] and kind != APPLIANCE.get(treatment or "")]
    return Goal(type_, thing, rng.choice(targets))


def _places(draft: _Draft, size: int) -> list[str]:
    return [draft.entity("loc", "location") for _ in range(max(2, size - draft.rng.randint(0, size // 3)))]


def _receptacles(draft: _Draft, goal: Goal, size: int, places: Sequence[str]) -> list[str]:
    rng = draft.rng
    wanted = [] if goal.count == 0 else [goal.target]
    wanted += [APPLIANCE[goal.treatment]] if goal.treatment else []
    wanted += ["Fridge", "Microwave", "SinkBasin", "CounterTop", "Cabinet"]
    kinds = [*wanted, *[rng.choice([*CAN_CONTAIN, "Toaster"]) for _ in range(max(0, size - len(wanted)))]]
    found = []
    for number, kind in enumerate(kinds):
        if kind.endswith("Basin"):
            id_ = draft.entity(kind.removesuffix("Basin"), "receptacle", f"_bar_{kind}")
            draft.kinds[id_] = kind
        else:
            id_ = draft.entity(kind, "receptacle")
        found.append(id_)
        draft.add_fact("receptacleType", id_, f"{kind}Type")
        if number < len(wanted) or rng.random() < 0.97:
            draft.at[id_] = rng.choice(places)
            draft.add_fact("receptacleAtLocation", id_, draft.at[id_])
        if kind in OPENABLE and rng.random() < 0.8:
            draft.add_fact("openable", id_)
        if rng.random() < 0.1:
            draft.add_fact("opened", id_)
    return found


def _things(
    draft: _Draft, goal: Goal, size: int, receptacles: Sequence[str], places: Sequence[str]
) -> dict[str, list[str]]:
    """Add objects. Return the receptacles of each."""
    rng = draft.rng
    kinds = [goal.object] * rng.randint(max(1, goal.count), 3) + (["DeskLamp"] if goal.count == 0 else [])
    needed = len(kinds)
    kinds += rng.choices([*USUAL_RECEPTACLES], k=size)
    kinds += ["Knife", "Apple", "Mug"][: rng.randint(0, 3)] + rng.choices(SCENERY, k=rng.randint(0, 3))
    found: dict[str, list[str]] = {}
    for number, kind in enumerate(kinds):
        id_ = draft.entity(kind, "object")
        draft.add_fact("objectType", id_, f"{kind}Type")
        for ability, able in ABILITIES.items():
            if kind in able and (number < needed or rng.random() < 0.9):
                draft.add_fact("isReceptacleObject" if ability == "container" else ability, id_)
        if kind in SCENERY:
            found[id_] = []
            draft.add_fact("objectAtLocation", id_, rng.choice(places))
            continue
        if kind not in FIXED:
            draft.add_fact("pickupable", id_)
        inside = rng.sample(receptacles, 1 if rng.random() < 0.93 else 2)
        if number < needed:
            inside = [rng.choice([r for r in receptacles if r in draft.at])]
        found[id_] = inside
        for r in inside:
            draft.add_fact("inReceptacle", id_, r)
        near = draft.at.get(inside[0], rng.choice(places)) if rng.random() < 0.93 else rng.choice(places)
        draft.add_fact("objectAtLocation", id_, near)
    return found


def _states(draft: _Draft, things: Mapping[str, Sequence[str]]) -> None:
    rng = draft.rng
    for id_ in things:
        for state in ("isHot", "isClean", "isSliced", "isToggled"):
            if rng.random() < 0.02:
                draft.add_fact(state, id_)
    for id_ in things:
        if rng.random() < 0.05:
            outer = rng.choice([*things])
            if outer != id_:
                draft.add_fact("inReceptacleObject", id_, outer)


def _start(draft: _Draft, things: Mapping[str, Sequence[str]], places: Sequence[str]) -> None:
    rng = draft.rng
    draft.entities["agent1"] = "agent"
    if rng.random() < 0.8:
        start = draft.entity("loc", "location")
    else:
        start = rng.choice(places)
    draft.add_fact("atLocation", "agent1", start)
    if rng.random() < 0.1:
        free = [id_ for id_ in things if draft.kinds[id_] in USUAL_RECEPTACLES and draft.kinds[id_] not in FIXED]
        fixed = [id_ for id_ in things if draft.kinds[id_] in FIXED]
        held = rng.choice(free)
        if fixed and draft.lamp_in_hand:
            # The lamp can be put down but not picked up again.
            held = fixed[0]
            for kind in sorted({draft.kinds[r] for r in draft.at}):
                draft.add_fact("canContain", f"{kind}Type", f"{draft.kinds[held]}Type")
        draft.facts = [fact for fact in draft.facts if not fact.startswith(f"(inReceptacle {held} ")]
        draft.add_fact("holds", "agent1", held)
        draft.add_fact("holdsAny", "agent1")


def _problem(draft: _Draft, goal: Goal) -> str:
    kinds = {*CAN_CONTAIN, "Toaster"}
    types = {f"{kind}Type": "rtype" for kind in sorted(kinds)}
    types |= {f"{kind}Type": "otype" for kind in sorted({*USUAL_RECEPTACLES, *SCENERY})}
    entities = {**types, **draft.entities}
    facts = [
        f"(canContain {kind}Type {thing}Type)"
        for kind in sorted(CAN_CONTAIN)
        for thing in sorted(CAN_CONTAIN[kind] & {*USUAL_RECEPTACLES})
    ]
    lines = [f"    {name} - {type_}" for name, type_ in entities.items()]
    return "\n".join(
        [
            "(define (problem random)",
            "(:domain alfred)",
            "(:objects",
            *lines,
            ")",
            "(:init",
            *[f"    {fact}" for fact in [*facts, *draft.facts]],
            ")",
            goal_pddl(goal),
            ")",
        ]
    )
