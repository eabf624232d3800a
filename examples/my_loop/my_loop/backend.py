"""A backend whose models guess a word, chosen by the seed. `--model guess:cold,dry` guesses `cold` or `dry`."""

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
        """Return a turn whose action is one of the words. Its token ids are the bytes of the word."""
        text = self.words[sampling.seed % len(self.words)]
        ids = tuple(text.encode())
        return Completion(f"Thought: I guess.\nAction: {text}", ids, (0.0,) * len(ids), "stop")

    async def score(self, messages: Sequence[Message], candidates: Sequence[str]) -> list[float]:
        """Score all candidates equally."""
        return [0.0 for _ in candidates]


class GuessBackend:
    """Opens `Guess` models. They cannot be trained, so `weights` is None."""

    repeatable, weights = True, None

    def __init__(self, words: Sequence[str]) -> None:
        self.words, self.base = words, f"guess:{'-'.join(words)}"

    def model(self, adapter: Path | None = None, *, parallel: int = 1, batch_invariant: bool = False) -> LanguageModel:
        """Return a `Guess` model; it is the same for every call."""
        if adapter is not None:
            raise UsageError(f"guess models cannot load the adapter {adapter}; run without an adapter")
        return Guess(self.words, self.base)

    def critic(self, adapter: Path) -> NoReturn:
        """Raise `UsageError`, because these models have no critic."""
        raise UsageError("guess models have no critic; use another backend")

    def free(self) -> None:
        """Do nothing, because the models hold no memory."""


def open_guess(rest: str, on_status: object = None) -> GuessBackend:
    """Open `guess:WORD,WORD,...`."""
    if not (words := [word for word in rest.split(",") if word]):
        raise UsageError("the model 'guess:' names no words; expected guess:WORD,WORD,...")
    return GuessBackend(words)
