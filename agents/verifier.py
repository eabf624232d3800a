"""The verifier of Agent-R: the actor itself says of one step after another whether it was good, bad or neither.

Agent-R (Yuan et al., 2025), section 3.2: the first step of a failed path that the actor's present ability calls bad is
where it is to turn round. The steps are judged in one growing chat, so that a backend reads each only once.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..errors import TooLongError
from .models.core import LanguageModel, Message, Sampling
from .react import env_class
from .trajectory import Step

Judgement = Literal["good", "bad", "uncertain"]

_ANSWER = (
    " You are shown the task and what was done so far, and then one step after another. Answer each with one line that "
    "starts with 'Thought:' and says why, and one line that is 'Judgement: Good', 'Judgement: Bad' or 'Judgement: "
    "Uncertain'."
)
JUDGEMENT = "\nJudgement: "
MISTAKE = "That was a mistake."
"""What an agent thinks when it takes back what it did: Agent-R's revision signal."""
_JUDGEMENT = re.compile(r"^\W*judgement:\W*(good|bad|uncertain)\b", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class VerifierConfig:
    """How steps are shown and judged."""

    max_turns: int = 40
    """Of the steps before the first that is judged, the last so many are shown; half as many, and again, where the
    model's window is too short for that. Later, the oldest judged turns go, whole."""
    max_tokens: int = 32
    """Of one answer."""
    temperature: float = 0.0
    """0 is greedy; the original samples, and its turning points are as noisy."""
    prompt: str | None = None
    """The system prompt; None is what the environment says (`AgentEnv.verifier_instructions`) and how to answer."""


@dataclass(frozen=True)
class Judged:
    """What the verifier said of one step."""

    judgement: Judgement
    parsed: bool
    """False when the answer could not be read: it then counts as uncertain, and is counted."""
    text: str
    """The answer."""


def parse_judgement(text: str) -> Judged:
    """The last `Judgement: ...` line of an answer; without one, an uncertain judgement that says it was not parsed."""
    found = _JUDGEMENT.findall(text)
    if not found:
        return Judged("uncertain", False, text)
    judgement: Judgement = found[-1].lower()
    return Judged(judgement, True, text)


def verifier_prompt(env_id: str, config: VerifierConfig) -> str:
    """The system prompt for an environment."""
    return config.prompt or env_class(env_id).verifier_instructions + _ANSWER


def opening(
    env_id: str, goal: str, known: Sequence[Step], step: Step, seen: str, config: VerifierConfig
) -> list[Message]:
    """System prompt, task, the log of the `known` steps, and the first step to judge, which led to `seen`."""
    path = [*known, step]
    first = path[0].observation
    task = first if goal in first else f"{first}\nYour task is to: {goal}"
    log = [step_shown(one, two.observation) for one, two in itertools.pairwise(path)]
    shown = log[max(0, len(log) - config.max_turns) :]
    return [
        Message("system", verifier_prompt(env_id, config)),
        Message("user", "\n".join([task, *shown, "Judge from here on.", step_shown(step, seen)])),
    ]


def step_shown(step: Step, seen: str) -> str:
    """A step as the verifier sees it: what was done and what came of it, never what was thought."""
    return f"> {step.action}\n{seen}"


async def judge(
    model: LanguageModel,
    env_id: str,
    goal: str,
    known: Sequence[Step],
    steps: Sequence[Step],
    final_observation: str,
    config: VerifierConfig,
) -> list[Judged]:
    """Judgements of `steps`, which follow `known`, up to and including the first bad one.

    `final_observation` is what the last of `steps` led to. All are returned when none is bad. A step that does not fit
    the model's window even alone is an answer that cannot be read.
    """
    after = [step.observation for step in steps[1:]] + [final_observation]
    chat: list[Message] = []
    judged: list[Judged] = []
    for number, (step, seen) in enumerate(zip(steps, after, strict=True)):
        shorter = [*known, *steps[:number]]
        begun = [
            opening(env_id, goal, shorter, step, seen, replace(config, max_turns=turns))
            for turns in _halves(min(config.max_turns, len(shorter)))
        ]
        tried = [[*chat, Message("user", step_shown(step, seen))], *begun] if chat else begun
        chat, answer = await _answer(model, tried, Sampling(config.temperature, config.max_tokens))
        judged.append(parse_judgement(answer))
        if judged[-1].judgement == "bad":
            break
    return judged


async def _answer(
    model: LanguageModel, tried: Sequence[list[Message]], sampling: Sampling
) -> tuple[list[Message], str]:
    """The answer to the first chat that fits the model's window, and the chat with it; nothing where none fits."""
    for chat in tried:
        try:
            answer = await model.complete(chat, sampling)
        except TooLongError:
            continue
        return [*chat, Message("assistant", answer.text, answer.token_ids)], answer.text
    return [], ""


def _halves(number: int) -> list[int]:
    """The number, its half, and so on down to 0."""
    return [number, *_halves(number // 2)] if number else [0]
