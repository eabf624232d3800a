"""Training corpus of the household seed policy.

It consists of expert demonstrations, failed attempts with a reflection and a mended attempt, and attempts with judged
steps. Reflections and judgements only use the observations of the attempt, never hidden state.
"""

from __future__ import annotations

import random
import re
from dataclasses import replace

from ...agents.experts.household import HouseholdExpert
from ...agents.experts.household_memory import HouseholdMemory, kind_of
from ...agents.models.core import Message
from ...agents.reflector import REFLECTION_PREFIX
from ...agents.trajectory import Outcome, Step, Trajectory
from ...agents.verifier import JUDGEMENT
from ...envs.core import Task
from ...envs.household import HouseholdEnv
from ...envs.household.catalog import APPLIANCE
from .family import Family, Mended, SeedRecipe
from .household_verifier import verifier_chat

SIZES = ("small", "medium")
"""Sizes of the worlds in the corpus."""


def _tasks(n: int, seed: int) -> list[Task]:
    share = n // len(SIZES)
    return [task for size in SIZES for task in HouseholdEnv.tasks("train", share, seed, size=size)]


def play_expert(task: Task, seed: int, earlier_memory: HouseholdMemory | None = None) -> Trajectory:
    """Return the expert's attempt at `task`. With `earlier_memory`, the expert uses what an earlier attempt saw."""
    env = HouseholdEnv()
    observation, info = env.reset(options={"task": task})
    expert = HouseholdExpert(observation, seed, "listed", earlier_memory)
    steps, done, truncated = [], False, False
    goal, attempt_memory = info["goal"], HouseholdMemory()
    attempt_memory.update(None, observation)
    while not (done or truncated):
        thought, action = expert.think_and_act(observation, info["admissible"])
        steps.append(Step(observation, _without_prior_knowledge(thought, attempt_memory), action))
        observation, _, done, truncated, info = env.step(action)
        attempt_memory.update(action, observation)
    return _trajectory(task, steps, observation, "success" if done else "truncated", "expert", seed, goal)


def _without_prior_knowledge(thought: str, attempt_memory: HouseholdMemory) -> str:
    """Return the thought without knowledge from an earlier attempt.

    The agent is trained on mended attempts without the failed attempt that the reflector saw. A thought that states a
    place only seen there would teach the agent to invent places.

    Args:
        thought: Thought of an expert with the memory of an earlier attempt.
        attempt_memory: Memory of this attempt.

    Returns:
        The thought, rephrased as a search if this attempt has not seen the object yet.
    """
    match = re.fullmatch(r"(\w+ \d+) is in (\w+ \d+); I go there\.", thought)
    if match and match[1] not in attempt_memory.seen:
        return f"I need a {kind_of(match[1])}; I have not looked in {match[2]}."
    match = re.fullmatch(r"(I hold \w+ \d+); (\w+ \d+) is in (\w+ \d+)\.", thought)
    if match and match[2] not in attempt_memory.seen:
        return f"{match[1]} and need a {kind_of(match[2])}; I have not looked in {match[3]}."
    return thought


def failed_and_mended(task: Task, seed: int) -> Mended | None:
    """Return a failed attempt, a reflection on it and a mended attempt.

    Returns None if the clumsy expert succeeds or the mended attempt fails.
    """
    rng = random.Random(seed)
    failure, memory = play_clumsily(task, rng)
    if failure is None:
        return None
    mended = play_expert(task, seed, earlier_memory=memory)
    if not mended.success:
        return None
    passed = replace(mended, source="reflection")
    return Mended(failure, reflection_on(failure, memory), passed)


def judged_attempt(task: Task, seed: int) -> list[Message]:
    """Return the verifier's chat about a failed attempt, or about an expert's attempt if the clumsy expert succeeds."""
    rng = random.Random(seed)
    failure, _ = play_clumsily(task, rng)
    return verifier_chat(failure or play_expert(task, rng.randrange(1 << 30)), rng)


def play_clumsily(task: Task, rng: random.Random) -> tuple[Trajectory | None, HouseholdMemory]:
    """Play an expert that makes random mistakes: repeated actions, wrong names, needless moves, no progress.

    Args:
        task: The task.
        rng: Source of the mistakes, their rate and the step limit.

    Returns:
        The failed attempt, or None if the expert succeeds anyway, and the expert's memory.
    """
    env = HouseholdEnv(max_steps=rng.choice((15, 25, 50)))
    observation, info = env.reset(options={"task": task})
    expert = HouseholdExpert(observation, rng.randrange(1 << 30), "listed")
    clumsiness, stuck_from = rng.uniform(0.15, 0.9), rng.choice((3, 6, 10, 20, 99))
    goal, done, truncated = info["goal"], False, False
    steps: list[Step] = []
    while not (done or truncated):
        thought, action = expert.advise()
        if len(steps) >= stuck_from or rng.random() < clumsiness:
            action = _clumsy_action(rng, action, info["admissible"], steps[-3:])
        steps.append(Step(observation, thought, action))
        observation, _, done, truncated, info = env.step(action)
        steps[-1] = replace(steps[-1], invalid=info.get("invalid"))
        expert.observe(action, observation)
    if done:
        return None, expert.memory
    return _trajectory(task, steps, observation, "truncated", "expert", 0, goal), expert.memory


def _clumsy_action(rng: random.Random, action: str, admissible: tuple[str, ...], recent: list[Step]) -> str:
    draw = rng.random()
    if draw < 0.35 and recent:
        return rng.choice(recent).action
    if draw < 0.5 and action[-1].isdigit():
        return f"{action.rpartition(' ')[0]} {rng.randint(1, 4)}"
    going = [a for a in admissible if a.startswith("go to ")]
    return rng.choice(going if draw < 0.8 and going else [a for a in admissible if a != "help"])


def reflection_on(failure: Trajectory, memory: HouseholdMemory) -> str:
    """Return a reflection: the better course of action, as far as the failed attempt shows it."""
    goal = HouseholdExpert(f"Your task is to: {failure.goal}").goal
    found = [(name, place) for name, place in memory.first_seen.items() if kind_of(name) == goal.object]
    if not found:
        left = memory.unsearched()[:3]
        places = " and ".join(left) if left else "every place"
        return f"{REFLECTION_PREFIX} looked for a {goal.object} in {places}."
    name, place = found[0]
    if goal.count == 0:
        then = f"used a {goal.target}"
    elif goal.treatment:
        then = f"gone to a {APPLIANCE[goal.treatment].lower()} to {goal.treatment} it"
    else:
        then = f"put it in a {goal.target}"
    return f"{REFLECTION_PREFIX} taken {name} from {place} and {then}."


def _trajectory(
    task: Task, steps: list[Step], last: str, outcome: Outcome, source: str, seed: int, goal: str
) -> Trajectory:
    return Trajectory(
        task=task,
        steps=tuple(steps),
        final_observation=last,
        outcome=outcome,
        score=float(outcome == "success"),
        source=source,
        model="household-expert",
        seed=seed,
        goal=goal,
    )


FAMILY = Family(
    SeedRecipe(judged_attempts=500),
    _tasks,
    play_expert,
    failed_and_mended,
    judge=judged_attempt,
    single_tokens=(JUDGEMENT,),
)
