"""The corpus of the code seed: solutions that are written, tested, mended and submitted; and failures, mended anew.

Mistakes are those of a reader in a hurry: another step, another number, a step left out, two exchanged, a slip of the
pen. What the corpus says of them can be seen in the attempt: the task's words beside the code that was written.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from ...agents import react, reflector
from ...agents.core import Episode, RuleAgent
from ...agents.experts.code import CodeExpert, deviation, expression, plan, read_goal
from ...agents.reflector import OPENING
from ...agents.rollout import Job, play, run_sync
from ...agents.trajectory import Step, Trajectory
from ...envs.code import CodeEnv
from ...envs.code.env import ACTIONS
from ...envs.code.family import STEPS
from ...envs.code.family.generator import ENTRY, Chain, fits, write
from ...envs.core import Task
from ...errors import InfraError
from .config import PretrainConfig
from .family import Family, Mended, SeedRecipe

DRAFTED = 0.4
"""Share of the demonstrations that begin with a wrong solution, which the tests show to be wrong."""


def _tasks(n: int, seed: int) -> Iterable[Task]:
    return CodeEnv.tasks("train", n, seed)


def demonstrate(task: Task, seed: int) -> Trajectory:
    """The expert's attempt; now and then its first draft is wrong."""
    rng = random.Random(seed)
    drafts = [mistaken(chain_of(task), rng)] if rng.random() < DRAFTED else []
    return _played(Job(task, CodeExpert(drafts), seed, source="expert"))


def failed_and_mended(task: Task, seed: int) -> Mended | None:
    """A bungled attempt, the reflection on it and an attempt that heeds it; None when the bungler succeeded."""
    failure = _played(Job(task, Bungler(random.Random(seed)), seed, source="expert"))
    passed = _played(Job(task, CodeExpert(), seed, source="reflection"))
    if failure.success or not passed.success:
        return None
    return Mended(failure, reflection_on(failure), passed)


class Bungler(RuleAgent):
    """Writes wrong solutions only, and tests and submits them as it pleases."""

    name = "code-bungler"

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._patience = rng.choice((1, 1, 1, 2, 2, 3, 99))
        self._tests = rng.random() < 0.8

    async def act(self, episode: Episode) -> Step:
        """The next turn."""
        rng, chain = self._rng, chain_of(episode.task)
        written = sum(step.action.startswith("write") for step in episode.steps)
        last = episode.steps[-1].action if episode.steps else ""
        if last.startswith("write") and self._tests:
            return Step(episode.observation, "I run the visible tests.", "test")
        if written >= self._patience:
            return Step(episode.observation, "I submit it.", "submit")
        return Step(episode.observation, plan(chain), f"write {mistaken(chain, rng)}")


def chain_of(task: Task) -> Chain:
    """The steps of a task, read off what it says."""
    return read_goal(str(task.params["goal"]))[1]


def mistaken(chain: Chain, rng: random.Random) -> str:
    """A solution with a mistake or two."""
    right = write(chain)
    while True:
        wrong = chain
        for _ in range(rng.choice((1, 1, 2))):
            wrong = _altered(wrong, rng)
        text = _slip(write(wrong), rng) if rng.random() < 0.15 else write(wrong)
        if text != right:
            return text


def _altered(chain: Chain, rng: random.Random) -> Chain:
    at, kind = rng.randrange(len(chain)), rng.random()
    name = chain[at][0]
    step = STEPS[name]
    if kind < 0.25 and len(step.constants) > 1:
        return (*chain[:at], (name, rng.choice(step.constants)), *chain[at + 1 :])
    shorter = (*chain[:at], *chain[at + 1 :])
    if kind < 0.4 and len(chain) > 1 and fits(shorter, STEPS[chain[0][0]].takes):
        return shorter
    swapped = (*chain[:at], *chain[at : at + 2][::-1], *chain[at + 2 :])
    if kind < 0.5 and fits(swapped, STEPS[chain[0][0]].takes):
        return swapped
    alike = [each for each in STEPS.values() if (each.takes, each.gives) == (step.takes, step.gives)]
    other = rng.choice(alike)
    return (*chain[:at], (other.name, rng.choice(other.constants)), *chain[at + 1 :])


def _slip(text: str, rng: random.Random) -> str:
    """A character is lost, at a place where that matters."""
    places = [i for i, character in enumerate(text) if character in "[]()=+*"]
    at = rng.choice(places)
    return text[:at] + text[at + 1 :]


def reflection_on(failure: Trajectory) -> str:
    """What should have been written: the first step that the last solution got wrong."""
    said, chain = read_goal(failure.goal)
    written = [step.action for step in failure.steps if step.action.startswith("write")]
    number = deviation(written[-1], chain)
    return f"{OPENING} written {expression(chain[number])} to {said[number]}."


def _played(job: Job) -> Trajectory:
    """An attempt; raises `InfraError` where the sandbox broke, since a corpus without it would be another one."""
    attempt = run_sync(play(CodeEnv(), job))
    if attempt.outcome == "infra_error":
        raise InfraError(f"the expert's attempt at {job.task.id} was lost: {attempt.error}")
    return attempt


FAMILY = Family(
    SeedRecipe(family="code", demonstrations=1000, reflections=600, pretrain=PretrainConfig(context_weight=0.1)),
    _tasks,
    demonstrate,
    failed_and_mended,
    units=(
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
    phrases=False,
    practice=1000,
)
