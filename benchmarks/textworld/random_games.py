"""Random ALFWorld games that are valid and odd: what real games have now and then, these have often.

Several receptacles share a place, objects lie in two receptacles or in none, count as being elsewhere than they lie,
are hot or sliced or in hand at the beginning, contain others; receptacles are open at first or have no place.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...envs.household.alfworld.export import goal_pddl
from ...envs.household.alfworld.files import load_engine, parse_file
from ...envs.household.catalog import ABILITIES, APPLIANCE, FIXED, HOLDS, OPENABLE, USUAL
from ...envs.household.goals import TASK_TYPES, TREATMENT, Goal
from ...envs.household.planner import shortest_plan

SCENERY = ("Window", "StoveKnob", "Chair", "LightSwitch", "Sink", "Mirror")
"""Kinds of objects that lie in no receptacle and can do nothing."""
TREATED = {"heat": "heatable", "cool": "coolable", "clean": "cleanable"}
WORDINGS = ("present", "older")
"""`older` says `put X in/on Y` and `You arrive at loc 15.`"""


@dataclass
class _Draft:
    """A problem in the making."""

    rng: random.Random
    lamp_in_hand: bool = False
    """Whether what is in hand at the beginning, if anything, is something that cannot be picked up."""
    entities: dict[str, str] = field(default_factory=dict)
    facts: list[str] = field(default_factory=list)
    at: dict[str, str] = field(default_factory=dict)
    """For every receptacle its place."""
    kinds: dict[str, str] = field(default_factory=dict)
    """For every receptacle and object its kind."""

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

    def say(self, *words: str) -> None:
        self.facts.append("(" + " ".join(words) + ")")


def random_game(seed: int, size: int, texts: Mapping[str, str], wording: str = "present") -> dict[str, Any]:
    """The content of a `game.tw-pddl`; `texts` are the domain and the grammar that it gets.

    `size` is the number of receptacles; there are about one and a half times as many objects. The six task types
    come in turn. `walkthrough` is a shortest way to the goal; it is empty where the game is won at the beginning, and
    where it cannot be won, since what is in hand fits nowhere: then `solvable` is false.
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
        grammar = older(grammar)
    game = {
        "pddl_domain": texts["pddl_domain"],
        "grammar": grammar,
        "pddl_problem": problem,
    }
    where = f"random game {seed}"
    found = shortest_plan(load_engine(parse_file(json.dumps(game).encode(), where), where))
    return {**game, "solvable": found is not None, "walkthrough": list(found or ())}


def older(grammar: str) -> str:
    """A grammar in the wording before November 2024."""
    for new, old in (
        ("You arrive at {r.name}.", "You arrive at {lend.name}."),
        ("move {o} to {r}", "put {o} in/on {r}"),
        ("You move the {o.name} to the {r.name}.", "You put the {o.name} in/on the {r.name}."),
    ):
        assert new in grammar, new
        grammar = grammar.replace(new, old)
    return grammar


def _goal(rng: random.Random, type_: str) -> Goal:
    movable = [kind for kind in USUAL if kind not in FIXED]
    if type_ == "look_at_obj_in_light":
        return Goal(type_, rng.choice(movable), "DeskLamp")
    treatment = TREATMENT.get(type_)
    able = [kind for kind in movable if not treatment or kind in ABILITIES[TREATED[treatment]]]
    thing = rng.choice(able)
    targets = [kind for kind in HOLDS if thing in HOLDS[kind] and kind != APPLIANCE.get(treatment or "")]
    return Goal(type_, thing, rng.choice(targets))


def _places(draft: _Draft, size: int) -> list[str]:
    return [draft.entity("loc", "location") for _ in range(max(2, size - draft.rng.randint(0, size // 3)))]


def _receptacles(draft: _Draft, goal: Goal, size: int, places: Sequence[str]) -> list[str]:
    rng = draft.rng
    wanted = [] if goal.count == 0 else [goal.target]
    wanted += [APPLIANCE[goal.treatment]] if goal.treatment else []
    wanted += ["Fridge", "Microwave", "SinkBasin", "CounterTop", "Cabinet"]
    kinds = [*wanted, *[rng.choice([*HOLDS, "Toaster"]) for _ in range(max(0, size - len(wanted)))]]
    found = []
    for number, kind in enumerate(kinds):
        if kind.endswith("Basin"):
            id_ = draft.entity(kind.removesuffix("Basin"), "receptacle", f"_bar_{kind}")
            draft.kinds[id_] = kind
        else:
            id_ = draft.entity(kind, "receptacle")
        found.append(id_)
        draft.say("receptacleType", id_, f"{kind}Type")
        if number < len(wanted) or rng.random() < 0.97:
            draft.at[id_] = rng.choice(places)
            draft.say("receptacleAtLocation", id_, draft.at[id_])
        if kind in OPENABLE and rng.random() < 0.8:
            draft.say("openable", id_)
        if rng.random() < 0.1:
            draft.say("opened", id_)
    return found


def _things(
    draft: _Draft, goal: Goal, size: int, receptacles: Sequence[str], places: Sequence[str]
) -> dict[str, list[str]]:
    """For every object the receptacles that it is in."""
    rng = draft.rng
    kinds = [goal.object] * rng.randint(max(1, goal.count), 3) + (["DeskLamp"] if goal.count == 0 else [])
    needed = len(kinds)
    kinds += rng.choices([*USUAL], k=size)
    kinds += ["Knife", "Apple", "Mug"][: rng.randint(0, 3)] + rng.choices(SCENERY, k=rng.randint(0, 3))
    found: dict[str, list[str]] = {}
    for number, kind in enumerate(kinds):
        id_ = draft.entity(kind, "object")
        draft.say("objectType", id_, f"{kind}Type")
        for ability, able in ABILITIES.items():
            if kind in able and (number < needed or rng.random() < 0.9):
                draft.say("isReceptacleObject" if ability == "container" else ability, id_)
        if kind in SCENERY:
            found[id_] = []
            draft.say("objectAtLocation", id_, rng.choice(places))
            continue
        if kind not in FIXED:
            draft.say("pickupable", id_)
        inside = rng.sample(receptacles, 1 if rng.random() < 0.93 else 2)
        if number < needed:
            inside = [rng.choice([r for r in receptacles if r in draft.at])]
        found[id_] = inside
        for r in inside:
            draft.say("inReceptacle", id_, r)
        near = draft.at.get(inside[0], rng.choice(places)) if rng.random() < 0.93 else rng.choice(places)
        draft.say("objectAtLocation", id_, near)
    return found


def _states(draft: _Draft, things: Mapping[str, Sequence[str]]) -> None:
    rng = draft.rng
    for id_ in things:
        for state in ("isHot", "isClean", "isSliced", "isToggled"):
            if rng.random() < 0.02:
                draft.say(state, id_)
    for id_ in things:
        if rng.random() < 0.05:
            outer = rng.choice([*things])
            if outer != id_:
                draft.say("inReceptacleObject", id_, outer)


def _start(draft: _Draft, things: Mapping[str, Sequence[str]], places: Sequence[str]) -> None:
    rng = draft.rng
    draft.entities["agent1"] = "agent"
    if rng.random() < 0.8:
        start = draft.entity("loc", "location")
    else:
        start = rng.choice(places)
    draft.say("atLocation", "agent1", start)
    if rng.random() < 0.1:
        free = [id_ for id_ in things if draft.kinds[id_] in USUAL and draft.kinds[id_] not in FIXED]
        fixed = [id_ for id_ in things if draft.kinds[id_] in FIXED]
        held = rng.choice(free)
        if fixed and draft.lamp_in_hand:
            # It can be put down but not taken again.
            held = fixed[0]
            for kind in sorted({draft.kinds[r] for r in draft.at}):
                draft.say("canContain", f"{kind}Type", f"{draft.kinds[held]}Type")
        draft.facts = [fact for fact in draft.facts if not fact.startswith(f"(inReceptacle {held} ")]
        draft.say("holds", "agent1", held)
        draft.say("holdsAny", "agent1")


def _problem(draft: _Draft, goal: Goal) -> str:
    kinds = {*HOLDS, "Toaster"}
    types = {f"{kind}Type": "rtype" for kind in sorted(kinds)}
    types |= {f"{kind}Type": "otype" for kind in sorted({*USUAL, *SCENERY})}
    entities = {**types, **draft.entities}
    facts = [
        f"(canContain {kind}Type {thing}Type)" for kind in sorted(HOLDS) for thing in sorted(HOLDS[kind] & {*USUAL})
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
