"""What a language model is to everything above it: two verbs and a version."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Message:
    """One turn of a chat."""

    role: Role
    content: str
    token_ids: tuple[int, ...] | None = None
    """Assistant turns only: the tokens as they were sampled. Given back to the model and to training as they are,
    never made anew from `content`."""
    trainable: bool = True
    """Assistant turns only: whether training counts a loss on this turn."""


@dataclass(frozen=True)
class Sampling:
    """How to draw one completion."""

    temperature: float = 1.0
    """0 takes the likeliest token."""
    max_tokens: int = 64
    """The completion ends here at the latest (`finish="length"`)."""
    seed: int = 0
    """The completion is a function of messages, sampling and model: not of what else is in the batch, up to the
    rounding of the batched matrix products."""
    stop: tuple[str, ...] = ()
    """The completion ends before the first of these; the text leaves it out."""
    choices: tuple[str, ...] | None = None
    """When given, what follows `choices_after` is one of these, drawn token by token among those that still fit."""
    choices_after: str = ""
    """The text up to and including the first of this is free; empty binds the whole completion to the choices."""


@dataclass(frozen=True)
class Completion:
    """What the model said."""

    text: str
    token_ids: tuple[int, ...]
    """As sampled, the end-of-turn token included when it was."""
    logprobs: tuple[float, ...]
    """Log-probability (nats) of each sampled token under the raw model: at temperature 1, without any constraint."""
    finish: Literal["stop", "length"]
    opening_ids: tuple[int, ...] = ()
    """Tokens of the assistant's turn that was continued, when one was: `opening_ids + token_ids` is the whole turn."""
    prompt_tokens: int = 0
    """Tokens of the prompt, of which a cache may have held most."""


@runtime_checkable
class LanguageModel(Protocol):
    """A language model for code that is written for one conversation; a backend batches whatever is pending."""

    @property
    def version(self) -> str:
        """Names the weights: hash of the base, and the adapter if there is one."""
        ...

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Continue the chat. When the last message is the assistant's, that turn is continued."""
        ...

    async def score(self, messages: Sequence[Message], candidates: Sequence[str]) -> list[float]:
        """Log-probability (nats, summed over tokens, end of turn included) of each candidate as the next turn."""
        ...


def derived_seed(*parts: object) -> int:
    """63 bits that depend on every one of `parts` (by their text): seeds for streams that must share nothing."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
