"""Judged attempts for the household corpus: each step good, bad or uncertain by what the attempt itself was shown."""

from __future__ import annotations

import copy
import random

from ...agents.experts.household_memory import TREATED, HouseholdMemory, kind_of
from ...agents.models.core import Message
from ...agents.trajectory import Trajectory
from ...agents.verifier import JUDGEMENT, MISTAKE, Judgement, VerifierConfig, opening, step_shown
from ...envs.household.catalog import APPLIANCE
from ...envs.household.goals import Goal, read_goal

MOST_JUDGED = 8
"""Steps of one chat that are judged at most; it ends with the first bad one."""

REASONS: dict[Judgement, str] = {
    "good": "That brings the task forward.",
    "bad": MISTAKE,
    "uncertain": "That may help.",
}
"""One sentence each: several that mean the same would share their probability, and the likeliest answer be another."""


def verifier_chat(attempt: Trajectory, rng: random.Random) -> list[Message]:
    """A stretch of `attempt` from a step drawn by `rng`, judged step by step up to the first bad one."""
    start = rng.randrange(len(attempt.steps))
    judged = judgements(attempt)
    after = [step.observation for step in attempt.steps[1:]] + [attempt.final_observation]
    chat: list[Message] = []
    for number in range(start, min(start + MOST_JUDGED, len(attempt.steps))):
        step, seen = attempt.steps[number], after[number]
        if chat:
            chat.append(Message("user", step_shown(step, seen)))
        else:
            known = attempt.steps[:start]
            chat = opening(attempt.task.env_id, attempt.goal, known, step, seen, VerifierConfig())
        judgement = judged[number]
        said = f"Thought: {REASONS[judgement]}{JUDGEMENT}{judgement.capitalize()}"
        chat.append(Message("assistant", said))
        if judgement == "bad":
            break
    return chat


def judgements(attempt: Trajectory) -> list[Judgement]:
    """A judgement of every step by a reader who knows no more than the attempt was shown up to then."""
    goal, memory = read_goal(attempt.goal), HouseholdMemory()
    memory.update(None, attempt.steps[0].observation)
    after = [step.observation for step in attempt.steps[1:]] + [attempt.final_observation]
    found: list[Judgement] = []
    for step, seen in zip(attempt.steps, after, strict=True):
        before = copy.deepcopy(memory)
        memory.update(step.action, seen)
        found.append(_judged(goal, before, memory, step.action, seen))
    return found


def _judged(goal: Goal, before: HouseholdMemory, after: HouseholdMemory, action: str, seen: str) -> Judgement:
    if seen == "Nothing happens.":
        return "bad"
    return _change(goal, before, after, action) or _view(goal, before, after)


def _change(goal: Goal, before: HouseholdMemory, after: HouseholdMemory, action: str) -> Judgement | None:
    """Of an action that moved or changed something; None for one that went somewhere or looked."""
    verb, held = action.partition(" ")[0], before.held
    if verb == "take":
        place = before.seen.get(after.held or "", "")
        wanted = kind_of(after.held or "") == goal.object and not (goal.count > 1 and kind_of(place) == goal.target)
        return "good" if wanted else "bad"
    if verb in ("move", "put"):
        wanted = held is not None and kind_of(held) == goal.object
        return "good" if wanted == _belongs(goal, before, after, held) else "bad"
    if verb in ("heat", "cool", "clean"):
        return "good" if verb == goal.treatment and held is not None and kind_of(held) == goal.object else "bad"
    if verb == "use":
        return "good" if goal.count == 0 and held is not None and kind_of(held) == goal.object else "bad"
    return "bad" if verb == "close" else None


def _belongs(goal: Goal, before: HouseholdMemory, after: HouseholdMemory, thing: str | None) -> bool:
    """Whether the thing that was put down now is where the task wants it, as the task wants it."""
    state = TREATED.get(goal.treatment or "")
    treated = state is None or state in before.states.get(thing or "", ())
    return treated and kind_of(after.seen.get(thing or "", "")) == goal.target


def _view(goal: Goal, before: HouseholdMemory, after: HouseholdMemory) -> Judgement:
    """Of an action that went somewhere or looked: bad when it neither showed nor led to anything of use."""
    held_wanted = before.held is not None and kind_of(before.held) == goal.object
    found = [name for name in after.first_seen if name not in before.first_seen]
    looked_for = goal.target if held_wanted and goal.count == 0 else goal.object
    if any(kind_of(name) == looked_for for name in found):
        return "good"
    place = after.location
    if place is not None and place != before.location and _useful(goal, before, place, held_wanted):
        return "good"
    if place in after.opened and place not in before.opened and held_wanted:
        return "good"
    new = len(after.searched) > len(before.searched) or len(after.closed) > len(before.closed)
    return "uncertain" if new else "bad"


def _useful(goal: Goal, known: HouseholdMemory, place: str, held_wanted: bool) -> bool:
    """Whether `place` is where the next thing that the task needs is known to be."""
    if not held_wanted:
        loose = [p for p in known.known(goal.object).values() if not (goal.count > 1 and kind_of(p) == goal.target)]
        return place in loose
    if goal.count == 0:
        return place in known.known(goal.target).values()
    state = TREATED.get(goal.treatment or "")
    if state is not None and state not in known.states.get(known.held or "", ()):
        return kind_of(place) == APPLIANCE[goal.treatment or ""].lower()
    return kind_of(place) == goal.target
