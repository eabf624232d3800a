"""An expert for the embedded code tasks that knows only what it was told: it reads the steps and writes them.

It is used for demonstrations, so its thoughts are short and of a few fixed forms.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence

from ...envs.code.family import DOMAINS, STEPS
from ...envs.code.family.generator import ENTRY, Chain, write
from ...envs.code.family.steps import KINDS
from ...errors import UsageError
from ..core import Episode, RuleAgent
from ..trajectory import Step

PASSED = re.compile(r"(\d+) of \1 visible tests pass")
_GOAL = re.compile(rf"write {ENTRY}\(x\), where x is (?P<takes>[^:]+): (?P<steps>.+?)\.?")


class CodeExpert(RuleAgent):
    """Reads a task, writes its solution, tests it, mends it where it deviates from the task, and submits.

    `drafts` are what it writes before, one after another, each until a test shows that it is wrong; turns that write
    these are not to be learnt from.
    """

    name = "code-expert"

    def __init__(self, drafts: Sequence[str] = ()) -> None:
        self._drafts = list(drafts)

    async def act(self, episode: Episode) -> Step:
        """The next turn; raises `UsageError` for a task that is none of the embedded ones."""
        thought, action, learn = self._advise(episode)
        return Step(episode.observation, thought, action, trainable=learn)

    def _advise(self, episode: Episode) -> tuple[str, str, bool]:
        said, chain = read_goal(episode.goal)
        last = episode.steps[-1].action if episode.steps else ""
        if last.startswith("write"):
            return "I run the visible tests.", "test", True
        if last == "test" and PASSED.match(episode.observation):
            return "All visible tests pass.", "submit", True
        if self._drafts:
            return plan(chain), f"write {self._drafts.pop(0)}", False
        written = next((step.action for step in reversed(episode.steps) if step.action.startswith("write")), None)
        thought = plan(chain) if written is None else correction(written, said, chain)
        return thought, f"write {write(chain)}", True


def plan(chain: Chain) -> str:
    """The thought before a solution is written for the first time."""
    return f"I write {len(chain)} step{'s' * (len(chain) > 1)}."


def correction(written: str, said: Sequence[str], chain: Chain) -> str:
    """The thought before a wrong solution is written anew: where it first deviates from what the task says."""
    number = deviation(written, chain)
    return f"Step {number + 1} should {said[number]}."


def deviation(written: str, chain: Chain) -> int:
    """Index of the first step of a task that a solution does not take, the last one where all are there."""
    parts = written.partition("(x): ")[2].split("; ")
    for number, code in enumerate(statements(chain)):
        if number >= len(parts) or parts[number] != code:
            return number
    return len(chain) - 1


def statements(chain: Chain) -> list[str]:
    """The lines of the solution, one a step."""
    return [f"x = {expression(step)}" for step in chain]


def expression(step: tuple[str, object]) -> str:
    """How Python writes one step."""
    name, constant = step
    return STEPS[name].code.format(k=constant)


def read_goal(goal: str) -> tuple[list[str], Chain]:
    """The steps as they are said, and what they mean; raises `UsageError` for what is no task of the family."""
    match = _GOAL.fullmatch(goal)
    kind = next((KINDS_SAID[text] for text in KINDS_SAID if match and match["takes"] == text), None)
    if match is None or kind is None:
        raise UsageError(f"{goal!r} is none of the embedded code tasks; expected 'write f(x), where x is a list ...'")
    said, chain = match["steps"].split("; "), list[tuple[str, object]]()
    for phrase in said:
        step = _step(kind, phrase)
        chain.append(step)
        kind = STEPS[step[0]].gives
    return said, tuple(chain)


KINDS_SAID = {KINDS[kind]: kind for kind in DOMAINS.values()}
"""Kinds of values that functions take, by how tasks call them."""


def _step(kind: str, phrase: str) -> tuple[str, object]:
    without = re.sub(r"\d+", "{k}", phrase)
    number = re.search(r"\d+", phrase)
    meanings = _meanings(kind)
    for form, constant in ((phrase, None), (without, int(number[0]) if number else None)):
        if form in meanings:
            return meanings[form], constant
    raise UsageError(f"the step {phrase!r} is none that the embedded code tasks know for {KINDS[kind]}")


@functools.cache
def _meanings(kind: str) -> Mapping[str, str]:
    return {phrase: step.name for step in STEPS.values() if step.takes == kind for phrase in step.phrases}
