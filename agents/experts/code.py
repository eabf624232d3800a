"""An expert for the generated code tasks. It parses the steps in the task text and writes their code.

It uses only what the agent can see. Its thoughts have a few fixed forms, since they serve as demonstrations.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence

from ...envs.code.family import DOMAINS, STEPS
from ...envs.code.family.generator import ENTRY, Chain, write_solution
from ...envs.code.family.steps import KIND_PHRASES
from ...errors import UsageError
from ..core import Episode, RuleAgent
from ..trajectory import Step

PASSED = re.compile(r"(\d+) of \1 visible tests pass")
_GOAL = re.compile(rf"write {ENTRY}\(x\), where x is (?P<takes>[^:]+): (?P<steps>.+?)\.?")


class CodeExpert(RuleAgent):
    """Writes the solution of a generated code task, runs the visible tests, corrects wrong drafts, and submits.

    Args:
        drafts: Wrong solutions to write and test before the correct one. The turns that write them are not trainable.
    """

    name = "code-expert"

    def __init__(self, drafts: Sequence[str] = ()) -> None:
        self._drafts = list(drafts)

    async def act(self, episode: Episode) -> Step:
        """Return the next turn. Raises `UsageError` if the task is not a generated one."""
        thought, action, trainable = self._advise(episode)
        return Step(episode.observation, thought, action, trainable=trainable)

    def _advise(self, episode: Episode) -> tuple[str, str, bool]:
        phrases, chain = read_goal(episode.goal)
        last = episode.steps[-1].action if episode.steps else ""
        if last.startswith("write"):
            return "I run the visible tests.", "test", True
        if last == "test" and PASSED.match(episode.observation):
            return "All visible tests pass.", "submit", True
        if self._drafts:
            return plan_thought(chain), f"write {self._drafts.pop(0)}", False
        written = next((step.action for step in reversed(episode.steps) if step.action.startswith("write")), None)
        thought = plan_thought(chain) if written is None else correction_thought(written, phrases, chain)
        return thought, f"write {write_solution(chain)}", True


def plan_thought(chain: Chain) -> str:
    """Return the thought before the first solution."""
    return f"I write {len(chain)} step{'s' * (len(chain) > 1)}."


def correction_thought(written: str, phrases: Sequence[str], chain: Chain) -> str:
    """Return the thought before a correction, which names the first step that the written solution gets wrong."""
    number = first_deviation(written, chain)
    return f"Step {number + 1} should {phrases[number]}."


def first_deviation(written: str, chain: Chain) -> int:
    """Return the index of the first step that a solution gets wrong, or of the last step if there is none."""
    parts = written.partition("(x): ")[2].split("; ")
    for number, code in enumerate(solution_lines(chain)):
        if number >= len(parts) or parts[number] != code:
            return number
    return len(chain) - 1


def solution_lines(chain: Chain) -> list[str]:
    """Return the statements of the correct solution, one per step."""
    return [f"x = {step_expression(step)}" for step in chain]


def step_expression(step: tuple[str, object]) -> str:
    """Return the Python expression of one step."""
    name, constant = step
    return STEPS[name].code.format(k=constant)


def read_goal(goal: str) -> tuple[list[str], Chain]:
    """Parse the goal of a generated task.

    Returns:
        The phrases of the steps, and the chain of steps that they describe.

    Raises:
        UsageError: If the goal does not belong to a generated task.
    """
    match = _GOAL.fullmatch(goal)
    kind = next((KINDS_BY_PHRASE[text] for text in KINDS_BY_PHRASE if match and match["takes"] == text), None)
    if match is None or kind is None:
        raise UsageError(f"{goal!r} is not a generated code task; expected a goal like 'write f(x), where x is ...'")
    phrases, chain = match["steps"].split("; "), list[tuple[str, object]]()
    for phrase in phrases:
        step = _step(kind, phrase)
        chain.append(step)
        kind = STEPS[step[0]].output_kind
    return phrases, tuple(chain)


KINDS_BY_PHRASE = {KIND_PHRASES[kind]: kind for kind in DOMAINS.values()}
"""Kinds of values that functions accept, by their phrase in task texts."""


def _step(kind: str, phrase: str) -> tuple[str, object]:
    template = re.sub(r"\d+", "{k}", phrase)
    number = re.search(r"\d+", phrase)
    meanings = _meanings(kind)
    for form, constant in ((phrase, None), (template, int(number[0]) if number else None)):
        if form in meanings:
            return meanings[form], constant
    raise UsageError(f"the step {phrase!r} is not a step of generated code tasks for {KIND_PHRASES[kind]}")


@functools.cache
def _meanings(kind: str) -> Mapping[str, str]:
    return {phrase: step.name for step in STEPS.values() if step.input_kind == kind for phrase in step.phrases}
