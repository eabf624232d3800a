"""What language models and their back ends are to everything above them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from ...errors import UsageError

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


@dataclass(frozen=True)
class Usage:
    """What a model has done since it was made."""

    calls: int = 0
    """Completions, scores and values."""
    read_tokens: int = 0
    """Prompt tokens, cached ones included."""
    sampled_tokens: int = 0
    seconds: float = 0.0
    """Wall time in which it worked."""
    cost: float = 0.0
    """In US dollars, where a server has prices."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


@runtime_checkable
class LanguageModel(Protocol):
    """A language model for code that is written for one conversation; a back end batches whatever is pending."""

    @property
    def version(self) -> str:
        """Names the weights: hash of the base, and the adapter if there is one."""
        ...

    @property
    def window(self) -> int:
        """Tokens of prompt and completion together that it can read."""
        ...

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Continue the chat. When the last message is the assistant's, that turn is continued."""
        ...

    async def score(self, messages: Sequence[Message], candidates: Sequence[str]) -> list[float]:
        """Log-probability (nats, summed over tokens, end of turn included) of each candidate as the next turn."""
        ...

    def start_wave(self) -> None:
        """Forget earlier conversations: what comes next is then the same, to the bit, as at the start."""
        ...

    def usage(self) -> Usage:
        """What it has done so far."""
        ...


class Critic(Protocol):
    """A model that says what a chat is worth."""

    @property
    def version(self) -> str:
        """Names the weights."""
        ...

    async def value(self, messages: Sequence[Message]) -> float:
        """In [0, 1]; the same whatever else is asked at that moment."""
        ...

    def usage(self) -> Usage:
        """What it has done so far."""
        ...


class Backend(Protocol):
    """Opens models of one base. It alone knows of slots, devices, weight files and addresses."""

    @property
    def base(self) -> str:
        """Names the base in a run's record: name and hash."""
        ...

    @property
    def repeatable(self) -> bool:
        """Whether equal calls give equal tokens; printed with every score."""
        ...

    @property
    def weights(self) -> str | Path | None:
        """The base as a learner can load it: a Hugging Face folder or name; None where there are no such weights."""
        ...

    def model(
        self, adapter: Path | None = None, *, parallel: int = 128, batch_invariant: bool = False
    ) -> LanguageModel:
        """The base with an adapter folder. Nothing is loaded before it is first asked.

        `parallel` is how many conversations are held at once. `batch_invariant` makes tokens independent of what else
        is in a batch, at some cost. Raises `UsageError` for an adapter that is damaged or another base's.
        """
        ...

    def critic(self, adapter: Path) -> Critic:
        """The value model in a folder; loaded when it is first asked. Raises `UsageError` as `model` does."""
        ...

    def free(self) -> None:
        """Give back the memory of all models; one that is asked again is loaded again."""
        ...


class ModelBase:
    """What a model has beside its two verbs where it keeps nothing and counts nothing."""

    window = 1 << 30

    def start_wave(self) -> None:
        """Nothing is kept."""

    def usage(self) -> Usage:
        """Nothing is counted."""
        return Usage()


class Unusable(ModelBase):
    """Stands where an agent wants a model and none will be asked: to render chats, to list what it is made of."""

    version = "none"

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Raises `UsageError`."""
        raise UsageError("this agent was made to read attempts with, and has no model to act; give it one")

    async def score(self, messages: Sequence[Message], candidates: Sequence[str]) -> list[float]:
        """Raises `UsageError`."""
        raise UsageError("this agent was made to read attempts with, and has no model to score with; give it one")


def derived_seed(*parts: object) -> int:
    """63 bits that depend on every one of `parts` (by their text): seeds for streams that must share nothing."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
