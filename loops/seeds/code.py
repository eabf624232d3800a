"""The training corpus of the code seed policy.

It consists of expert attempts, and of failed attempts with a reflection and a new attempt. The mistakes are a wrong
step, a wrong constant, a missing step, two swapped steps, or a missing character. Reflections use only what the attempt
shows: the phrases of the task and the code that was written.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from ...agents import react, reflector
from ...agents.core import Episode, RuleAgent
from ...agents.experts.code import CodeExpert, first_deviation, plan_thought, read_goal, step_expression
from ...agents.reflector import REFLECTION_PREFIX
from ...agents.rollout import Job, play, run_sync
from ...agents.trajectory import Step, Trajectory
from ...envs.code import CodeEnv
from ...envs.code.env import ACTIONS
from ...envs.code.family import STEPS
from ...envs.code.family.generator import ENTRY, Chain, is_well_typed, write_solution
from ...envs.core import Task
from ...errors import InfraError
from .config import PretrainConfig
from .family import Family, Mended, SeedRecipe

DRAFT_SHARE = 0.4
"""Share of the demonstrations that begin with a wrong draft, which the visible tests reveal."""


def _tasks(n: int, seed: int) -> Iterable[Task]:
    return CodeEnv.tasks("train", n, seed)


def demonstrate(task: Task, seed: int) -> Trajectory:
    """Play the expert on a task. With probability `DRAFT_SHARE`, it writes a wrong draft first."""
    rng = random.Random(seed)
    drafts = [faulty_solution(chain_of(task), rng)] if rng.random() < DRAFT_SHARE else []
    return _play_attempt(Job(task, CodeExpert(drafts), seed, source="expert"))


def failed_and_mended(task: Task, seed: int) -> Mended | None:
    """Play a failed attempt, write the reflection on it, and play a successful attempt.

    Returns None if the first attempt succeeds or the second one fails.
    """
    failure = _play_attempt(Job(task, FaultyExpert(random.Random(seed)), seed, source="expert"))
    passed = _play_attempt(Job(task, CodeExpert(), seed, source="reflection"))
    if failure.success or not passed.success:
        return None
    return Mended(failure, reflection_on(failure), passed)


class FaultyExpert(RuleAgent):
    """An expert that writes a random number of wrong solutions, with or without running the tests, and submits."""

    name = "code-bungler"

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._max_solutions = rng.choice((1, 1, 1, 2, 2, 3, 99))
        self._tests = rng.random() < 0.8

    async def act(self, episode: Episode) -> Step:
        """Return the next turn."""
        rng, chain = self._rng, chain_of(episode.task)
        written = sum(step.action.startswith("write") for step in episode.steps)
        last = episode.steps[-1].action if episode.steps else ""
        if last.startswith("write") and self._tests:
            return Step(episode.observation, "I run the visible tests.", "test")
        if written >= self._max_solutions:
            return Step(episode.observation, "I submit it.", "submit")
        return Step(episode.observation, plan_thought(chain), f"write {faulty_solution(chain, rng)}")


def chain_of(task: Task) -> Chain:
    """Parse the chain of steps from a task's goal."""
    return read_goal(str(task.params["goal"]))[1]


def faulty_solution(chain: Chain, rng: random.Random) -> str:
    """Return a solution with one or two mistakes."""
    right = write_solution(chain)
    while True:
        wrong = chain
        for _ in range(rng.choice((1, 1, 2))):
            wrong = _alter_chain(wrong, rng)
        text = _drop_character(write_solution(wrong), rng) if rng.random() < 0.15 else write_solution(wrong)
        if text != right:
            return text


def _alter_chain(chain: Chain, rng: random.Random) -> Chain:
    at, kind = rng.randrange(len(chain)), rng.random()
    name = chain[at][0]
    step = STEPS[name]
    if kind < 0.25 and len(step.constants) > 1:
        return (*chain[:at], (name, rng.choice(step.constants)), *chain[at + 1 :])
    shorter = (*chain[:at], *chain[at + 1 :])
    if kind < 0.4 and len(chain) > 1 and is_well_typed(shorter, STEPS[chain[0][0]].input_kind):
        return shorter
    swapped = (*chain[:at], *chain[at : at + 2][::-1], *chain[at + 2 :])
    if kind < 0.5 and is_well_typed(swapped, STEPS[chain[0][0]].input_kind):
        return swapped
    replacements = [
        each for each in STEPS.values() if (each.input_kind, each.output_kind) == (step.input_kind, step.output_kind)
    ]
    other = rng.choice(replacements)
    return (*chain[:at], (other.name, rng.choice(other.constants)), *chain[at + 1 :])


def _drop_character(text: str, rng: random.Random) -> str:
    """Remove one character that the syntax or the result depends on."""
    places = [i for i, character in enumerate(text) if character in "[]()=+*"]
    at = rng.choice(places)
    return text[:at] + text[at + 1 :]


def reflection_on(failure: Trajectory) -> str:
    """Return the reflection, which names the first step that the last solution gets wrong."""
    phrases, chain = read_goal(failure.goal)
    written = [step.action for step in failure.steps if step.action.startswith("write")]
    number = first_deviation(written[-1], chain)
    return f"{REFLECTION_PREFIX} written {step_expression(chain[number])} to {phrases[number]}."


def _play_attempt(job: Job) -> Trajectory:
    """Play an attempt. Raises `InfraError` if the sandbox fails, since the corpus must be reproducible."""
    attempt = run_sync(play(CodeEnv(), job))
    if attempt.outcome == "infra_error":
        raise InfraError(f"the sandbox failed during the expert's attempt at {job.task.id}: {attempt.error}")
    return attempt


FAMILY = Family(
    SeedRecipe(family="code", demonstrations=1000, reflections=600, pretrain=PretrainConfig(context_weight=0.1)),
    _tasks,
    demonstrate,
    failed_and_mended,
    single_tokens=(
        react.SYSTEM,
        reflector.SYSTEM,
        f"Write the Python function {ENTRY}(x), where x is ",
        f"Your task is to: write {ENTRY}(x), where x is ",
        f"\nActions: {ACTIONS}",
        f" def {ENTRY}(x): x =",
        "; x =",
        "; return x",
        "\nThe failed attempt:\n",
        " visible tests pass.",
        " hidden tests pass.",
    ),
    phrase_tokens=False,
    practice=1000,
)
