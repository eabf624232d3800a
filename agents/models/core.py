"""Protocols of language models, critics and backends."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from ...errors import UsageError

Role = Literal["system", "user", "assistant"]
MANIFEST = "kintsugi.json"
"""File in an adapter's folder that says how it was trained. `result` holds the fields of the learner's `FitResult`."""


@dataclass(frozen=True)
class Message:
    """One message of a chat."""

    role: Role
    content: str
    token_ids: tuple[int, ...] | None = None
    """Assistant messages only: the sampled tokens. Models and training use them instead of tokenising `content`."""
    trainable: bool = True
    """Assistant messages only: whether the loss includes this message."""


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters of one completion."""

    temperature: float = 1.0
    """0 selects the most likely token."""
    max_tokens: int = 64
    """Maximum number of sampled tokens; a completion that reaches it has `finish="length"`."""
    seed: int = 0
    """Random seed. The completion depends only on messages, sampling parameters and model. Other requests in a batch
    affect it only through rounding in batched matrix products."""
    stop: tuple[str, ...] = ()
    """Strings that end the completion. The text does not include them."""
    choices: tuple[str, ...] | None = None
    """Constrained decoding: the text after `choices_after` is one of these. None allows any text."""
    choices_after: str = ""
    """The text up to the first occurrence of this string is free. If empty, the whole completion is a choice."""
    top_k: int = 0
    """Sample among so many of the most likely tokens; 0 for all."""
    top_p: float = 1.0
    """Sample among the fewest tokens whose probabilities add up to this share (nucleus sampling); 1 for all."""
    min_p: float = 0.0
    """Sample among tokens with at least this share of the probability of the most likely one; 0 for all."""

    def __post_init__(self) -> None:
        if self.top_k < 0:
            raise UsageError(f"top_k is {self.top_k}; expected 0 (all tokens) or more")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top_p is {self.top_p}; expected more than 0, and at most 1 (all tokens)")
        if not 0 <= self.min_p <= 1:
            raise UsageError(f"min_p is {self.min_p}; expected 0 (all tokens) to 1")

    @property
    def is_truncated(self) -> bool:
        """Whether only some of the tokens can be sampled."""
        return bool(self.top_k) or self.top_p < 1 or self.min_p > 0


@dataclass(frozen=True)
class Completion:
    """Result of `LanguageModel.complete`."""

    text: str
    """Decoded text without special tokens."""
    token_ids: tuple[int, ...]
    """Sampled tokens, including the end-of-turn token if it was sampled."""
    logprobs: tuple[float, ...]
    """Log-probability (nats) of each sampled token at temperature 1 and without constraints."""
    finish: Literal["stop", "length"]
    """`stop`: end of turn or a stop string. `length`: `max_tokens` was reached."""
    prefix_ids: tuple[int, ...] = ()
    """Tokens of the assistant message that was continued, if any: the turn is `prefix_ids + token_ids`."""
    prompt_tokens: int = 0
    """Number of prompt tokens, cached ones included."""


@dataclass(frozen=True)
class Usage:
    """What a model has done since it was created."""

    calls: int = 0
    """Number of calls of `complete`, `score` and `value`."""
    read_tokens: int = 0
    """Number of prompt tokens, cached ones included."""
    sampled_tokens: int = 0
    """Number of sampled tokens."""
    seconds: float = 0.0
    """Wall time spent in the model, in seconds."""
    cost: float = 0.0
    """Cost in US dollars, if the server has prices."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


@runtime_checkable
class LanguageModel(Protocol):
    """A language model. Implement this protocol to connect another one.

    Callers await one conversation at a time. A model may batch all calls that are pending in the same event loop.
    """

    @property
    def version(self) -> str:
        """Identifier of the weights: hash of the base model and, if there is one, name and hash of the adapter."""
        ...

    @property
    def window(self) -> int:
        """Context window: maximum number of tokens in prompt and completion together."""
        ...

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Complete a chat.

        Args:
            messages: The chat. If the last message is the assistant's, that message is continued.
            sampling: Sampling parameters.

        Returns:
            The completion. It is deterministic for given messages, sampling parameters and weights, up to rounding.

        Raises:
            TooLongError: If the first and last turns alone exceed the context window. Otherwise the oldest turns of a
                long chat are dropped.
        """
        ...

    async def score(self, messages: Sequence[Message], candidates: Sequence[str]) -> list[float]:
        """Score candidates for the next assistant message.

        Args:
            messages: The chat before the candidates.
            candidates: Texts of the next message.

        Returns:
            Log-probability (nats) of each candidate, summed over its tokens and the end of the turn.
        """
        ...

    def start_wave(self) -> None:
        """Clear caches, so that later results are bit-identical to those of a newly opened model."""
        ...

    def usage(self) -> Usage:
        """Return what the model has done so far."""
        ...


class Critic(Protocol):
    """A model that predicts the final score of an unfinished episode from its chat."""

    @property
    def version(self) -> str:
        """Identifier of the weights."""
        ...

    async def value(self, messages: Sequence[Message]) -> float:
        """Predict the final score of an episode.

        Args:
            messages: The chat so far.

        Returns:
            A value in [0, 1], independent of other pending calls.
        """
        ...

    def usage(self) -> Usage:
        """Return what the model has done so far."""
        ...


class Backend(Protocol):
    """Opens models of one base model. Implement this protocol to add a backend (entry-point group `kintsugi.backends`).

    The backend hides devices, caches, weight files and addresses from the rest of the package.
    """

    @property
    def base(self) -> str:
        """Name and hash of the base model, as stored with a run."""
        ...

    @property
    def repeatable(self) -> bool:
        """Whether equal calls give equal tokens; printed with each score."""
        ...

    @property
    def weights(self) -> str | Path | None:
        """Hugging Face folder or name of the base model for training; None if adapters cannot be trained."""
        ...

    def model(
        self, adapter: Path | None = None, *, parallel: int = 128, batch_invariant: bool = False
    ) -> LanguageModel:
        """Return the base model, optionally with an adapter. The weights are loaded at the first call.

        Args:
            adapter: Folder of the adapter; None for the base model.
            parallel: Number of conversations whose key/value caches are kept.
            batch_invariant: Whether sampled tokens must not depend on the other requests in a batch. This is slower.

        Raises:
            UsageError: If the adapter is damaged or belongs to another base model.
        """
        ...

    def critic(self, adapter: Path) -> Critic:
        """Return a value model. The weights are loaded at the first call.

        Args:
            adapter: Folder of the value model.

        Raises:
            UsageError: If the value model is damaged or belongs to another base model.
        """
        ...

    def free(self) -> None:
        """Release the memory of all models. A model that is called again is loaded again."""
        ...


class ModelBase:
    """Base class with defaults for everything but `version`, `complete` and `score`: no cache, no usage."""

    window = 1 << 30

    def start_wave(self) -> None:
        """Do nothing: there is no cache."""

    def usage(self) -> Usage:
        """Return zero usage."""
        return Usage()


class NoModel(ModelBase):
    """Placeholder model for agents that only render chats. Every call raises `UsageError`."""

    version = "none"

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Raise `UsageError`."""
        raise UsageError("this agent has no model to act with and only renders attempts; create it with a model")

    async def score(self, messages: Sequence[Message], candidates: Sequence[str]) -> list[float]:
        """Raise `UsageError`."""
        raise UsageError("this agent has no model to score with and only renders attempts; create it with a model")


def derived_seed(*parts: object) -> int:
    """Return a seed of 63 bits. Different parts give independent random streams.

    Args:
        *parts: What the random stream is for, such as seed, task id and step. Their texts (`str`) are hashed, so equal
            texts give equal seeds on every machine.
    """
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
