"""Judged attempts of the household corpus.

Rules label each step Good, Bad or Uncertain, using the observations of the attempt only.
"""

from __future__ import annotations

import copy
import random

from ...agents.experts.household_memory import STATE_AFTER, HouseholdMemory, kind_of
from ...agents.models.core import Message
from ...agents.trajectory import Trajectory
from ...agents.verifier import JUDGEMENT, REVISION_THOUGHT, Judgement, VerifierConfig, opening_messages, render_step
from ...envs.household.catalog import APPLIANCE
from ...envs.household.goals import Goal, read_goal

MAX_JUDGED = 8
"""Maximum number of judged steps in one chat. The chat ends earlier at the first bad step."""

REASONS: dict[Judgement, str] = {
    "good": "That brings the task forward.",
    "bad": REVISION_THOUGHT,
    "uncertain": "That may help.",
}
"""Thought for each judgement.

One sentence per judgement, because several equivalent ones would divide the probability, and greedy decoding could
then choose a different judgement.
"""


def verifier_chat(attempt: Trajectory, rng: random.Random) -> list[Message]:
    """Return a verifier's chat about `attempt`, from a random step to the first bad one.

    Args:
        attempt: The attempt.
        rng: Chooses the first step.

    Returns:
        The chat, with at most `MAX_JUDGED` judged steps.
    """
    start = rng.randrange(len(attempt.steps))
    judgements = label_steps(attempt)
    answers = [step.observation for step in attempt.steps[1:]] + [attempt.final_observation]
    chat: list[Message] = []
    for number in range(start, min(start + MAX_JUDGED, len(attempt.steps))):
        step, answer = attempt.steps[number], answers[number]
        if chat:
            chat.append(Message("user", render_step(step, answer)))
        else:
            earlier_steps = attempt.steps[:start]
            chat = opening_messages(attempt.task.env_id, attempt.goal, earlier_steps, step, answer, VerifierConfig())
        judgement = judgements[number]
        reply = f"Thought: {REASONS[judgement]}{JUDGEMENT}{judgement.capitalize()}"
        chat.append(Message("assistant", reply))
        if judgement == "bad":
            break
    return chat


def label_steps(attempt: Trajectory) -> list[Judgement]:
    """Return a judgement for each step, based on the observations up to its result."""
    goal, memory = read_goal(attempt.goal), HouseholdMemory()
    memory.update(None, attempt.steps[0].observation)
    answers = [step.observation for step in attempt.steps[1:]] + [attempt.final_observation]
    found: list[Judgement] = []
    for step, answer in zip(attempt.steps, answers, strict=True):
        before = copy.deepcopy(memory)
        memory.update(step.action, answer)
        found.append(_label(goal, before, memory, step.action, answer))
    return found


def _label(goal: Goal, before: HouseholdMemory, after: HouseholdMemory, action: str, answer: str) -> Judgement:
    if answer == "Nothing happens.":
        return "bad"
    return _label_change(goal, before, after, action) or _label_view(goal, before, after)


def _label_change(goal: Goal, before: HouseholdMemory, after: HouseholdMemory, action: str) -> Judgement | None:
    """Label an action that moves or changes an object; return None for other actions."""
    verb, held = action.partition(" ")[0], before.held
    if verb == "take":
        place = before.seen.get(after.held or "", "")
        wanted = kind_of(after.held or "") == goal.object and not (goal.count > 1 and kind_of(place) == goal.target)
        return "good" if wanted else "bad"
    if verb in ("move", "put"):
        wanted = held is not None and kind_of(held) == goal.object
        return "good" if wanted == _placed_as_wanted(goal, before, after, held) else "bad"
    if verb in ("heat", "cool", "clean"):
        return "good" if verb == goal.treatment and held is not None and kind_of(held) == goal.object else "bad"
    if verb == "use":
        return "good" if goal.count == 0 and held is not None and kind_of(held) == goal.object else "bad"
    return "bad" if verb == "close" else None


def _placed_as_wanted(goal: Goal, before: HouseholdMemory, after: HouseholdMemory, thing: str | None) -> bool:
    """Return whether the object was put down at the target, after the required treatment."""
    state = STATE_AFTER.get(goal.treatment or "")
    treated = state is None or state in before.states.get(thing or "", ())
    return treated and kind_of(after.seen.get(thing or "", "")) == goal.target


def _label_view(goal: Goal, before: HouseholdMemory, after: HouseholdMemory) -> Judgement:
    """Label an action that goes somewhere or looks: bad if it shows nothing new and leads to no needed place."""
    held_wanted = before.held is not None and kind_of(before.held) == goal.object
    found = [name for name in after.first_seen if name not in before.first_seen]
    looked_for = goal.target if held_wanted and goal.count == 0 else goal.object
    if any(kind_of(name) == looked_for for name in found):
        return "good"
    place = after.location
    if place is not None and place != before.location and _is_needed_place(goal, before, place, held_wanted):
        return "good"
    if place in after.opened and place not in before.opened and held_wanted:
        return "good"
    new = len(after.searched) > len(before.searched) or len(after.closed) > len(before.closed)
    return "uncertain" if new else "bad"


def _is_needed_place(goal: Goal, memory: HouseholdMemory, place: str, held_wanted: bool) -> bool:
    """Return whether the next thing that the task needs is known to be at `place`."""
    if not held_wanted:
        misplaced = [
            p
            for p in memory.objects_of_kind(goal.object).values()
            if not (goal.count > 1 and kind_of(p) == goal.target)
        ]
        return place in misplaced
    if goal.count == 0:
        return place in memory.objects_of_kind(goal.target).values()
    state = STATE_AFTER.get(goal.treatment or "")
    if state is not None and state not in memory.states.get(memory.held or "", ()):
        return kind_of(place) == APPLIANCE[goal.treatment or ""].lower()
    return kind_of(place) == goal.target
