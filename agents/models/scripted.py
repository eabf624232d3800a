"""A model that says what a function tells it to: for tests, examples and baselines."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

from .core import Completion, Message, Sampling

Script = Callable[[Sequence[Message], Sampling], str]


class ScriptedModel:
    """Deterministic: each completion is `script(messages, sampling)`; token ids are its UTF-8 bytes, log-probabilities
    0.

    `calls` counts completions and scores, so that tests can check budgets.
    """

    def __init__(self, script: Script | Sequence[str], version: str = "scripted") -> None:
        if callable(script):
            self._script = script
        else:
            lines = tuple(script)
            self._script = lambda messages, sampling: lines[sum(m.role == "assistant" for m in messages) % len(lines)]
        self.version = version
        self.calls = 0

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """The script's next line; cut to `max_tokens` bytes."""
        self.calls += 1
        text = self._script(messages, sampling)
        ids = tuple(text.encode())
        if len(ids) > sampling.max_tokens:
            ids = ids[: sampling.max_tokens]
            return Completion(bytes(ids).decode(errors="ignore"), ids, (0.0,) * len(ids), "length")
        return Completion(
            text, ids, (0.0,) * len(ids), "stop", prompt_tokens=sum(len(m.content.encode()) for m in messages)
        )

    async def score(self, messages: Sequence[Message], candidates: Sequence[str]) -> list[float]:
        """0 for what the script would say, and otherwise a fixed number in [-11, -1] that depends on the text alone."""
        self.calls += 1
        said = self._script(messages, Sampling(temperature=0))
        return [0.0 if c == said else -1.0 - zlib.crc32(c.encode()) % 1001 / 100 for c in candidates]
