"""Verifier of Agent-R (Yuan et al., 2025, section 3.2): the acting model judges the steps of an attempt.

The first step that the model judges bad is the first error, where a splice leaves the failed attempt. All steps are
judged in one growing chat, so that a backend with a cache reads each step only once.
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
REVISION_THOUGHT = "That was a mistake."
"""The revision of Agent-R: the thought between the bad and the good part of a splice."""
_JUDGEMENT = re.compile(r"^\W*judgement:\W*(good|bad|uncertain)\b", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class VerifierConfig:
    """Configuration of the verifier."""

    max_turns: int = 40
    """Maximum number of earlier steps in the first prompt; halved until the chat fits the model's window."""
    max_tokens: int = 32
    """Maximum number of tokens in one judgement."""
    temperature: float = 0.0
    """Sampling temperature; 0 is greedy. The original implementation samples."""
    prompt: str | None = None
    """System prompt; None for `AgentEnv.verifier_instructions` plus the answer format."""


@dataclass(frozen=True)
class StepJudgement:
    """Judgement of one step."""

    judgement: Judgement
    parsed: bool
    """Whether the answer could be parsed; if not, the judgement is `uncertain`."""
    text: str
    """Answer of the model."""
    chat: Sequence[Message] = ()
    """Chat that ends with the answer; its answers are trainable if they parsed. Empty if the step did not fit."""


def parse_judgement(text: str) -> StepJudgement:
    """Parse the last `Judgement: ...` line of an answer. Without one, the judgement is uncertain and not parsed."""
    found = _JUDGEMENT.findall(text)
    if not found:
        return StepJudgement("uncertain", False, text)
    judgement: Judgement = found[-1].lower()
    return StepJudgement(judgement, True, text)


def verifier_prompt(env_id: str, config: VerifierConfig) -> str:
    """Return the system prompt for an environment."""
    return config.prompt or env_class(env_id).verifier_instructions + _ANSWER


def opening_messages(
    env_id: str, goal: str, context: Sequence[Step], step: Step, next_observation: str, config: VerifierConfig
) -> list[Message]:
    """Return the chat for the first step to judge: system prompt, task, `context` steps, and the step itself."""
    path = [*context, step]
    first = path[0].observation
    task = first if goal in first else f"{first}\nYour task is to: {goal}"
    log = [render_step(one, two.observation) for one, two in itertools.pairwise(path)]
    shown = log[max(0, len(log) - config.max_turns) :]
    return [
        Message("system", verifier_prompt(env_id, config)),
        Message("user", "\n".join([task, *shown, "Judge from here on.", render_step(step, next_observation)])),
    ]


def render_step(step: Step, next_observation: str) -> str:
    """Return the text that the verifier reads for a step: action and next observation, without the thought."""
    return f"> {step.action}\n{next_observation}"


async def judge_steps(
    model: LanguageModel,
    env_id: str,
    goal: str,
    context: Sequence[Step],
    steps: Sequence[Step],
    final_observation: str,
    config: VerifierConfig,
) -> list[StepJudgement]:
    """Judge steps in order, up to and including the first bad one.

    Args:
        model: The model that judges.
        env_id: Id of the environment.
        goal: The task in words.
        context: The steps before `steps`, which are shown but not judged.
        steps: The steps to judge.
        final_observation: The observation after the last of `steps`.
        config: Configuration of the verifier.

    Returns:
        One judgement for each judged step. A step that exceeds the model's window is `uncertain` and not parsed.
    """
    after = [step.observation for step in steps[1:]] + [final_observation]
    chat: list[Message] = []
    judgements: list[StepJudgement] = []
    for number, (step, next_observation) in enumerate(zip(steps, after, strict=True)):
        earlier = [*context, *steps[:number]]
        fresh_chats = [
            opening_messages(env_id, goal, earlier, step, next_observation, replace(config, max_turns=turns))
            for turns in _halvings(min(config.max_turns, len(earlier)))
        ]
        chats = [[*chat, Message("user", render_step(step, next_observation))], *fresh_chats] if chat else fresh_chats
        found = await _first_fitting_answer(model, chats, Sampling(config.temperature, config.max_tokens))
        judgements.append(found)
        chat = list(found.chat)
        if found.judgement == "bad":
            break
    return judgements


def whole_chats(judgements: Sequence[StepJudgement]) -> list[list[Message]]:
    """Return the chats in which the steps of one attempt were judged.

    Each answer is in one chat: the steps share a chat, except where it was started again to fit the window. Chats in
    which no answer parsed are left out.
    """
    chats: list[list[Message]] = []
    for chat in (list(each.chat) for each in judgements if each.chat):
        if chats and chat[: len(chats[-1])] == chats[-1]:
            chats[-1] = chat
        else:
            chats.append(chat)
    return [chat for chat in chats if any(m.role == "assistant" and m.trainable for m in chat)]


async def _first_fitting_answer(
    model: LanguageModel, chats: Sequence[list[Message]], sampling: Sampling
) -> StepJudgement:
    """Complete the first chat that fits the window. Return the judgement, one without a chat if none fits."""
    for chat in chats:
        try:
            answer = await model.complete(chat, sampling)
        except TooLongError:
            continue
        found = parse_judgement(answer.text)
        turn = Message("assistant", answer.text, answer.token_ids, trainable=found.parsed)
        return replace(found, chat=(*chat, turn))
    return parse_judgement("")


def _halvings(number: int) -> list[int]:
    """Return the number, its integer half, and so on down to 0."""
    return [number, *_halvings(number // 2)] if number else [0]
