"""A back end: models that guess a word by seed. `--model guess:cold,dry` guesses among these two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from kintsugi.agents.models import Completion, LanguageModel, Message, ModelBase, Sampling
from kintsugi.errors import UsageError


class Guess(ModelBase):
    """A model without weights."""

    def __init__(self, words: Sequence[str], version: str) -> None:
        self.words, self.version = words, version

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """One of the words; its tokens are its bytes."""
        text = self.words[sampling.seed % len(self.words)]
        ids = tuple(text.encode())
        return Completion(f"Thought: I guess.\nAction: {text}", ids, (0.0,) * len(ids), "stop")

    async def score(self, messages: Sequence[Message], candidates: Sequence[str]) -> list[float]:
        """All candidates are alike."""
        return [0.0 for _ in candidates]


class GuessBackend:
    """Opens `Guess`; nothing of it can be trained, so it has no `weights`."""

    repeatable, weights = True, None

    def __init__(self, words: Sequence[str]) -> None:
        self.words, self.base = words, f"guess:{'-'.join(words)}"

    def model(self, adapter: Path | None = None, *, parallel: int = 1, batch_invariant: bool = False) -> LanguageModel:
        """The one model that there is."""
        if adapter is not None:
            raise UsageError(f"a guess learns nothing, so it has no adapter {adapter}; leave it out")
        return Guess(self.words, self.base)

    def critic(self, adapter: Path) -> NoReturn:
        """There is none."""
        raise UsageError("a guess has no value model; use another back end")

    def free(self) -> None:
        """It holds no memory."""


def open_guess(rest: str, watch: object = None) -> GuessBackend:
    """`guess:WORD,WORD,...`."""
    if not (words := [word for word in rest.split(",") if word]):
        raise UsageError("guess names no word; expected guess:WORD,WORD,...")
    return GuessBackend(words)
