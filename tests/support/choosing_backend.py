"""`choosing`, a backend of SmolLM2 that may only answer in the format of a trading desk; by itself, it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kintsugi.agents.models import Completion, LanguageModel, Message, ModelBase, Sampling, open_backend
from kintsugi.agents.trading_group.roles import SYSTEM

ANSWERS = {
    SYSTEM["news"]: [f"Overall: {word}" for word in ("positive", "negative", "neutral")],
    SYSTEM["report"]: [f"Outlook: {word}" for word in ("positive", "negative", "neutral")],
    SYSTEM["forecast"]: [f"Forecast: {numbers}" for numbers in ("up 6 down 2 side 2", "up 2 down 6 side 2")],
    SYSTEM["style"]: [f"Style: {word}" for word in ("aggressive", "balanced", "conservative")],
    SYSTEM["decision"]: [f"Decision: {word}" for word in ("buy", "hold", "sell")],
}


class Choosing(ModelBase):
    """A model that chooses among the answers of its role."""

    def __init__(self, model: LanguageModel) -> None:
        self.model, self.version = model, model.version

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        return await self.model.complete(messages, replace(sampling, choices=tuple(ANSWERS[messages[0].content])))

    async def score(self, messages: Sequence[Message], candidates: Sequence[str]) -> list[float]:
        return await self.model.score(messages, candidates)


class ChoosingBackend:
    """SmolLM2, whose models are `Choosing`."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def model(self, adapter: Path | None = None, **options: Any) -> Choosing:
        return Choosing(self._backend.model(adapter, **options))


def open_choosing(rest: str, on_status: Any) -> ChoosingBackend:
    return ChoosingBackend(open_backend("smollm2", on_status))
