"""Expert for household tasks that uses observations only.

Its attempts serve as demonstrations. Its thoughts state what it knows and why it acts, in short sentences of a few
fixed forms.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from ...envs.household.catalog import APPLIANCE, OPENABLE, USUAL_RECEPTACLES
from ...envs.household.goals import Goal, read_goal
from ...errors import unknown
from .household_memory import STATE_AFTER, HouseholdMemory, kind_of

Order = Literal["listed", "random", "prior"]
ORDERS: tuple[Order, ...] = ("listed", "random", "prior")
"""Orders in which the expert may search the receptacles."""

_OPENABLE = frozenset(kind.lower() for kind in OPENABLE)
_USUAL_RECEPTACLES = {
    kind.lower(): tuple(place.lower() for place in places) for kind, places in USUAL_RECEPTACLES.items()
}
_RANK_DECAY = 0.6
"""Factor between the likelihoods of successive usual kinds of receptacles."""
_UNUSUAL_LIKELIHOOD = 0.001
"""Likelihood of kinds of receptacles that are not usual for the object."""
_MAX_RETRIES = 10
"""Maximum number of retries per step if the chosen action is not admissible."""

Step = tuple[str, str]
"""A thought and an action."""


class HouseholdExpert:
    """Expert for one attempt at a household task.

    Args:
        start: First observation of the episode. May be the task text alone, if the first call of `think_and_act`
            passes the first observation.
        seed: Seed of the random search order and of ties.
        order: Search order: `listed` (as in the first observation), `random`, or `prior` (likeliest kinds first).
        earlier_memory: Memory of an earlier attempt at the same task. The expert goes directly to objects seen there
            and does not search the same receptacles again.

    Raises:
        UsageError: If the order is unknown or the goal cannot be parsed.
    """

    def __init__(
        self, start: str, seed: int = 0, order: Order = "prior", earlier_memory: HouseholdMemory | None = None
    ) -> None:
        if order not in ORDERS:
            raise unknown("search order", order, ORDERS)
        self.memory = HouseholdMemory() if earlier_memory is None else earlier_memory.next_attempt()
        """Knowledge from the observations so far."""
        self.order = order
        self._random = random.Random(seed)
        self._rank: dict[str, float] = {}
        self._last_action: str | None = None
        self._target: str | None = None
        self.memory.update(None, start)
        self.goal: Goal = read_goal(self.memory.task or start)
        """The goal, parsed from the task text."""

    def think_and_act(self, observation: str, admissible: Sequence[str] | None = None) -> Step:
        """Process an observation and return the next thought and action.

        If another agent may take a different action, use `advise` and `observe` instead.

        Args:
            observation: Answer to the last action, or the first observation.
            admissible: Admissible actions. Only necessary if the episode starts at a receptacle, because the first
                observation then does not list the others. If given, the expert avoids actions that would be refused.

        Returns:
            Thought and action.
        """
        self.memory.update(self._last_action, observation)
        if admissible is not None:
            self.memory.note_admissible(admissible)
        thought, action = self.advise()
        for _ in range(_MAX_RETRIES):
            if admissible is None or action in admissible:
                break
            self.memory.note_refusal(action)
            thought, action = self.advise()
        self._last_action = action
        return thought, action

    def observe(self, action: str | None, observation: str) -> None:
        """Process the answer to an action, which another agent may have chosen."""
        self.memory.update(action, observation)
        self._last_action = None

    def advise(self) -> Step:
        """Return the next thought and action. The memory does not change; new receptacles may get a random rank."""
        goal, memory = self.goal, self.memory
        if memory.held is not None and not self._fits_goal(memory.held):
            return self._put_away(memory.held)
        if memory.held is None:
            return self._fetch()
        if goal.count == 0:
            return self._use_lamp(memory.held)
        state = STATE_AFTER.get(goal.treatment or "")
        if goal.treatment and state and state not in memory.states.get(memory.held, ()):
            return self._treat(memory.held, goal.treatment)
        return self._put(memory.held, state)

    def _fits_goal(self, name: str) -> bool:
        """Return whether the object has the goal's kind and can be treated, as far as is known."""
        return kind_of(name) == self.goal.object and not (self._appliances() and not self._usable_appliances(name))

    def _usable_appliances(self, name: str) -> list[str]:
        """Return the appliances that have not repeatedly refused to treat the object."""
        treatment = self.goal.treatment
        return [at for at in self._appliances() if not self._refused_twice_at(f"{treatment} {name} with {at}", at)]

    def _appliances(self) -> list[str]:
        return self._receptacles(APPLIANCE.get(self.goal.treatment or "", "").lower())

    def _receptacles(self, kind: str) -> list[str]:
        return [name for name in self.memory.receptacles if kind_of(name) == kind]

    def _fetch(self) -> Step:
        kind = self.goal.object
        more = "one more" if self._placed_objects() else "a"
        for name, place in self._misplaced_objects().items():
            if place != self.memory.location:
                return f"{name} is in {place}; I go there.", f"go to {place}"
            if self._is_closed(place):
                return f"{place} is closed; I open it.", f"open {place}"
            if self.memory.refusal_counts[f"take {name} from {place}", place] and not self.memory.hand_checked:
                return f"I cannot take {name}; is there something in my hand?", "inventory"
            return f"I see {name}; I take it.", f"take {name} from {place}"
        return self._search(f"I need {more} {kind}")

    def _search(self, need: str) -> Step:
        memory, here = self.memory, self.memory.location
        if here is not None and here not in memory.searched:
            if here in memory.closed:
                return f"{here} is closed; I open it.", f"open {here}"
            if not self._refused_twice(f"examine {here}"):
                return f"{need}; I am at {here}.", f"examine {here}"
        left = [name for name in memory.unsearched() if name != here]
        if not left:
            return f"{need} but I have looked everywhere.", "look" if memory.hand_checked else "inventory"
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
        return max(places, key=lambda place: (self._likelihood(place), self._rank[place]))

    def _likelihood(self, place: str) -> float:
        """Return the likelihood that the object is at this place, divided by the steps to look there."""
        wanted = self.goal.target if self.memory.held else self.goal.object
        usual, kind = _USUAL_RECEPTACLES.get(wanted, ()), kind_of(place)
        chance = _RANK_DECAY ** usual.index(kind) if kind in usual else _UNUSUAL_LIKELIHOOD
        alike = sum(kind_of(other) == kind for other in self.memory.receptacles)
        return chance / alike / (2 if kind in _OPENABLE else 1)

    def _treat(self, held: str, treatment: str) -> Step:
        appliance = self._nearest(self._usable_appliances(held))
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
        action = self._put_action(held, place)
        # If several receptacles share a place, the answer to `go to` only describes one of them.
        closed_unseen = (
            action in self.memory.refused and self._is_closed(place) and not self._refused_twice(f"open {place}")
        )
        if place in self.memory.closed or closed_unseen:
            return f"{place} is closed; I open it.", f"open {place}"
        if self._refused_twice(action):
            action = f"put {held} in/on {place}"
        return f"{begin}; I put it in {place}.", action

    def _put_action(self, held: str, place: str) -> str:
        return f"put {held} in/on {place}" if self.memory.older_wording else f"move {held} to {place}"

    def _use_lamp(self, held: str) -> Step:
        lamps = self.memory.objects_of_kind(self.goal.target)
        for lamp, place in lamps.items():
            if self._refused_twice_at(f"use {lamp}", place):
                continue
            if place != self.memory.location:
                return f"I hold {held}; {lamp} is in {place}.", f"go to {place}"
            return f"I hold {held} and see {lamp}; I use it.", f"use {lamp}"
        return self._search(f"I hold {held} and need a {self.goal.target}")

    def _put_away(self, held: str) -> Step:
        memory, thought = self.memory, f"I do not need {held}; I put it away."
        able = [name for name in memory.receptacles if not self._refused_twice(self._put_action(held, name))]
        free = [name for name in able if not self._is_closed(name)] or able
        if not free:
            return f"I do not need {held} but cannot put it away.", "look"
        place = memory.location if memory.location in free else free[0]
        if place != memory.location:
            return thought, f"go to {place}"
        if self._is_closed(place):
            return f"{place} is closed; I open it.", f"open {place}"
        return thought, self._put_action(held, place)

    def _nearest(self, places: Sequence[str]) -> str | None:
        """Return the receptacle that takes the fewest steps to use, the first one on ties, or None."""
        return min(places, key=lambda name: (name != self.memory.location, self._is_closed(name)), default=None)

    def _is_closed(self, place: str) -> bool:
        """Return whether the receptacle is closed, as far as is known. Openable kinds count as closed until visited."""
        memory = self.memory
        # The answer to `go to` says if a receptacle is closed. Not every cabinet can be closed.
        state_known = place in memory.opened or place in memory.visited
        closed = place in memory.closed or (kind_of(place) in _OPENABLE and not state_known)
        return closed and not self._refused_twice_at(f"open {place}", place)

    def _refused_twice(self, action: str) -> bool:
        """Return whether the action was refused twice. One refusal may have had a temporary reason."""
        return self.memory.refused.count(action) > 1

    def _refused_twice_at(self, action: str, place: str) -> bool:
        """Return whether the action was refused twice at this place, since its object was last picked up."""
        return self.memory.refusal_counts[action, place] > 1

    def _placed_objects(self) -> list[str]:
        """Return the objects that are already at the target."""
        if self.goal.count < 2 or self._target is None:
            return []
        return [name for name, place in self.memory.objects_of_kind(self.goal.object).items() if place == self._target]

    def _misplaced_objects(self) -> dict[str, str]:
        """Return the known usable objects that are not at the target yet, with their places, those here first."""
        memory, placed = self.memory, set(self._placed_objects())
        found = [
            (name, place)
            for name, place in memory.objects_of_kind(self.goal.object).items()
            if name not in placed
            and self._fits_goal(name)
            and not self._refused_twice_at(f"take {name} from {place}", place)
        ]
        return dict(sorted(found, key=lambda pair: pair[1] != memory.location))
