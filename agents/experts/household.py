"""An expert for household tasks that knows only what it was told: it searches, remembers and thinks in short sentences.

It is used for demonstrations, so its thoughts say what it knows and why it acts, in a few fixed forms.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from ...envs.household.catalog import APPLIANCE, OPENABLE, USUAL
from ...envs.household.goals import Goal, read_goal
from ...errors import unknown
from .household_memory import TREATED, HouseholdMemory, kind_of

Order = Literal["listed", "random", "prior"]
ORDERS: tuple[Order, ...] = ("listed", "random", "prior")

_OPENABLE = frozenset(kind.lower() for kind in OPENABLE)
_USUAL = {kind.lower(): tuple(place.lower() for place in places) for kind, places in USUAL.items()}
_LIKELIHOOD = 0.6
"""How much less likely each next usual kind of receptacle is held to be."""
_UNUSUAL = 0.001
_SECOND_THOUGHTS = 10
"""How often it thinks again when what it wants is not admissible."""

Step = tuple[str, str]
"""A thought and an action."""


class HouseholdExpert:
    """Solves one task; made anew for every attempt.

    `start` is the first observation of the episode, or the task text alone (then the first observation has to come
    with the first `think_and_act`). `order` is how it searches: as the receptacles are listed, in an order drawn from
    `seed`, or the likeliest first, by common knowledge of where things are (ties drawn from `seed`).
    `known` is the memory of an earlier attempt at the same task: it goes straight to what was seen there and does not
    search again what was searched.
    """

    def __init__(self, start: str, seed: int = 0, order: Order = "prior", known: HouseholdMemory | None = None) -> None:
        if order not in ORDERS:
            raise unknown("search order", order, ORDERS)
        self.memory = HouseholdMemory() if known is None else known.next_attempt()
        """What it was told so far."""
        self.order = order
        self._random = random.Random(seed)
        self._rank: dict[str, float] = {}
        self._last_action: str | None = None
        self._target: str | None = None
        self.memory.update(None, start)
        self.goal: Goal = read_goal(self.memory.task or start)
        """What it understood the task to be."""

    def think_and_act(self, observation: str, admissible: Sequence[str] | None = None) -> Step:
        """Read the answer to the last action (or the first observation) and return the next thought and action.

        `admissible` is not needed, except where an episode begins in front of a receptacle (the others are not listed
        then); with it, no step is lost on what would be refused. When the agent that acts does not follow the advice,
        use `advise` and tell `observe` what it did instead.
        """
        self.memory.update(self._last_action, observation)
        if admissible is not None:
            self.memory.note_admissible(admissible)
        thought, action = self.advise()
        for _ in range(_SECOND_THOUGHTS):
            if admissible is None or action in admissible:
                break
            self.memory.note_refusal(action)
            thought, action = self.advise()
        self._last_action = action
        return thought, action

    def observe(self, action: str | None, observation: str) -> None:
        """Read the answer to an action that somebody else chose."""
        self.memory.update(action, observation)
        self._last_action = None

    def advise(self) -> Step:
        """The next thought and action for what is known now; changes nothing but the search order's draws."""
        goal, memory = self.goal, self.memory
        if memory.held is not None and not self._wanted(memory.held):
            return self._put_away(memory.held)
        if memory.held is None:
            return self._fetch()
        if goal.count == 0:
            return self._light(memory.held)
        state = TREATED.get(goal.treatment or "")
        if goal.treatment and state and state not in memory.states.get(memory.held, ()):
            return self._treat(memory.held, goal.treatment)
        return self._put(memory.held, state)

    def _wanted(self, name: str) -> bool:
        """Whether it is of the goal's kind and not known to withstand its treatment."""
        return kind_of(name) == self.goal.object and not (self._appliances() and not self._able(name))

    def _able(self, name: str) -> list[str]:
        """Appliances that have not refused to treat it."""
        treatment = self.goal.treatment
        return [at for at in self._appliances() if not self._refused_at(f"{treatment} {name} with {at}", at)]

    def _appliances(self) -> list[str]:
        return self._receptacles(APPLIANCE.get(self.goal.treatment or "", "").lower())

    def _receptacles(self, kind: str) -> list[str]:
        return [name for name in self.memory.receptacles if kind_of(name) == kind]

    def _fetch(self) -> Step:
        kind = self.goal.object
        more = "one more" if self._placed() else "a"
        for name, place in self._loose().items():
            if place != self.memory.location:
                return f"{name} is in {place}; I go there.", f"go to {place}"
            if self._is_closed(place):
                return f"{place} is closed; I open it.", f"open {place}"
            if self.memory.tried[f"take {name} from {place}", place] and not self.memory.asked:
                return f"I cannot take {name}; is there something in my hand?", "inventory"
            return f"I see {name}; I take it.", f"take {name} from {place}"
        return self._search(f"I need {more} {kind}")

    def _search(self, need: str) -> Step:
        memory, here = self.memory, self.memory.location
        if here is not None and here not in memory.searched:
            if here in memory.closed:
                return f"{here} is closed; I open it.", f"open {here}"
            if not self._gave_up(f"examine {here}"):
                return f"{need}; I am at {here}.", f"examine {here}"
        left = [name for name in memory.unsearched() if name != here]
        if not left:
            return f"{need} but I have looked everywhere.", "look" if memory.asked else "inventory"
        place = self._choose(left)
        return f"{need}; I have not looked in {place}.", f"go to {place}"

    def _choose(self, places: Sequence[str]) -> str:
        if self.order == "listed":
            return places[0]
        for place in places:
            if place not in self._rank:
                self._rank[place] = self._random.random()
        if self.order == "random":
            return min(places, key=lambda place: self._rank[place])
        return max(places, key=lambda place: (self._promise(place), self._rank[place]))

    def _promise(self, place: str) -> float:
        """How likely the object is there, for one step of search."""
        wanted = self.goal.target if self.memory.held else self.goal.object
        usual, kind = _USUAL.get(wanted, ()), kind_of(place)
        chance = _LIKELIHOOD ** usual.index(kind) if kind in usual else _UNUSUAL
        alike = sum(kind_of(other) == kind for other in self.memory.receptacles)
        return chance / alike / (2 if kind in _OPENABLE else 1)

    def _treat(self, held: str, treatment: str) -> Step:
        appliance = self._nearest(self._able(held))
        if appliance is None:
            return f"I hold {held} but there is nothing to {treatment} it with.", "look"
        thought = f"I hold {held}; next {treatment} it."
        if appliance != self.memory.location:
            return thought, f"go to {appliance}"
        return thought, f"{treatment} {held} with {appliance}"

    def _put(self, held: str, state: str | None) -> Step:
        if self._target is None:
            self._target = self._nearest(self._receptacles(self.goal.target))
        place = self._target
        if place is None:
            return f"I hold {held} but there is no {self.goal.target}.", "look"
        if place != self.memory.location:
            begin = f"{held} is {state}" if state else f"I hold {held}"
            return f"{begin}; I put it in {place}.", f"go to {place}"
        begin = f"{held} is {state}" if state else f"I hold {held}"
        action = self._putting(held, place)
        # Of several receptacles at one place, one was told of the one that one went to.
        untold = action in self.memory.refused and self._is_closed(place) and not self._gave_up(f"open {place}")
        if place in self.memory.closed or untold:
            return f"{place} is closed; I open it.", f"open {place}"
        if self._gave_up(action):
            action = f"put {held} in/on {place}"
        return f"{begin}; I put it in {place}.", action

    def _putting(self, held: str, place: str) -> str:
        return f"put {held} in/on {place}" if self.memory.older else f"move {held} to {place}"

    def _light(self, held: str) -> Step:
        lamps = self.memory.known(self.goal.target)
        for lamp, place in lamps.items():
            if self._refused_at(f"use {lamp}", place):
                continue
            if place != self.memory.location:
                return f"I hold {held}; {lamp} is in {place}.", f"go to {place}"
            return f"I hold {held} and see {lamp}; I use it.", f"use {lamp}"
        return self._search(f"I hold {held} and need a {self.goal.target}")

    def _put_away(self, held: str) -> Step:
        memory, thought = self.memory, f"I do not need {held}; I put it away."
        able = [name for name in memory.receptacles if not self._gave_up(self._putting(held, name))]
        free = [name for name in able if not self._is_closed(name)] or able
        if not free:
            return f"I do not need {held} but cannot put it away.", "look"
        place = memory.location if memory.location in free else free[0]
        if place != memory.location:
            return thought, f"go to {place}"
        if self._is_closed(place):
            return f"{place} is closed; I open it.", f"open {place}"
        return thought, self._putting(held, place)

    def _nearest(self, places: Sequence[str]) -> str | None:
        """The receptacle that takes the fewest steps to use; the first of equals."""
        return min(places, key=lambda name: (name != self.memory.location, self._is_closed(name)), default=None)

    def _is_closed(self, place: str) -> bool:
        """Whether it is closed, as far as is known; what opens is taken to start closed."""
        memory = self.memory
        # Whoever was there was told when it is closed: not every cabinet has a door.
        told = place in memory.opened or place in memory.visited
        closed = place in memory.closed or (kind_of(place) in _OPENABLE and not told)
        return closed and not self._refused_at(f"open {place}", place)

    def _gave_up(self, action: str) -> bool:
        """Refused twice: the first time, it may have been meant for another moment."""
        return self.memory.refused.count(action) > 1

    def _refused_at(self, action: str, place: str) -> bool:
        """The same, of an action that can only be meant for this place."""
        return self.memory.tried[action, place] > 1

    def _placed(self) -> list[str]:
        """Objects that already are where they have to be."""
        if self.goal.count < 2 or self._target is None:
            return []
        return [name for name, place in self.memory.known(self.goal.object).items() if place == self._target]

    def _loose(self) -> dict[str, str]:
        """Known objects of the goal that still have to be brought, what is at hand first."""
        memory, placed = self.memory, set(self._placed())
        found = [
            (name, place)
            for name, place in memory.known(self.goal.object).items()
            if name not in placed and self._wanted(name) and not self._refused_at(f"take {name} from {place}", place)
        ]
        return dict(sorted(found, key=lambda pair: pair[1] != memory.location))
