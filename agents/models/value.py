"""`LocalValue`: a language model with a value head, which judges what a chat is worth.

The head is linear on the last hidden state of the chat so far, where the model would begin its next turn. (The
released code of ReST-MCTS* puts a linear layer on the last logits; these are themselves linear in that hidden state, so
ours says whatever theirs can, with the hidden width in place of the vocabulary's parameters.)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ...errors import UsageError
from .batching import Batcher
from .chat import ChatEncoder
from .core import Message, Usage
from .engine import PREFILL_TOKENS, ROUNDING
from .weights import load_base, model_version, window_of, with_adapter

HEAD = "value_head.safetensors"
"""Beside an adapter's files: `weight` [1, width] and `bias` [1]."""
GRID = 512
"""Values are multiples of 1 / GRID: near enough, and then the same to the bit in every batch."""


class LocalValue:
    """A `Critic`. Values that are pending at the same moment are one batch.

    A value that rounding in the batch might have put on another point of the grid is settled by reading the text alone.
    """

    def __init__(self, network: Any, tokenizer: Any, head: torch.nn.Linear, version: str) -> None:
        self.network, self.head = network.eval(), head.to(network.device, torch.float32).eval()
        self.chat = ChatEncoder(tokenizer)
        self.version = version
        self._pad_id = tokenizer.pad_token_id or 0
        self._window = window_of(network.config)
        self._calls = self._read = 0
        self._batcher: Batcher[list[int], float] = Batcher(self._work)

    @classmethod
    def load(cls, base: str | Path, adapter: Path, *, device: str = "auto") -> Self:
        """What `kintsugi.loops.learning.value.ValueRegression` trained.

        Raises `UsageError` when the folder holds no value model of this base.
        """
        network, tokenizer = load_base(base)
        version = model_version(base, adapter)
        network = with_adapter(network, adapter)
        head = torch.nn.Linear(network.config.get_text_config().hidden_size, 1)
        try:
            head.load_state_dict(load_file(adapter / HEAD))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise UsageError(
                f"{adapter} holds no value head that fits {str(base)!r} ({str(error).splitlines()[0][:200]}); give the "
                "folder of a value model, such as run/adapters/value@1"
            ) from error
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(network.to(device), tokenizer, head, version)

    def usage(self) -> Usage:
        """What it did since it was loaded."""
        return Usage(self._calls, self._read, 0, self._batcher.busy_seconds)

    async def value(self, messages: Sequence[Message]) -> float:
        """What the chat is likely to be worth in the end: a multiple of 1 / GRID in [0, 1].

        Of a chat longer than the model's window the oldest turns are left out. Raises `UsageError` when one turn alone
        is longer.
        """
        ids = encoded_prompt(self.chat, messages, self._window)
        self._calls += 1
        self._read += len(ids)
        return await self._batcher.ask(ids)

    @torch.inference_mode()
    def _work(self, texts: list[list[int]]) -> list[float]:
        values = [0.0] * len(texts)
        todo = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        while todo:
            size = max(1, PREFILL_TOKENS // len(texts[todo[-1]]))
            batch, todo = todo[-size:], todo[:-size]
            raw, rounding = self._raw([texts[i] for i in batch])
            for i, value, margin in zip(batch, raw.tolist(), rounding.tolist(), strict=True):
                # Halfway between two points of the grid is where a value might fall to either side.
                if len(batch) > 1 and abs(value * GRID % 1 - 0.5) < margin * GRID:
                    value = float(self._raw([texts[i]])[0][0])
                values[i] = round(min(1.0, max(0.0, value)) * GRID) / GRID
        return values

    def _raw(self, texts: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """[texts] what the head says, and how far that may be off by rounding."""
        hidden = last_hidden(self.network, texts, self._pad_id)
        size = (hidden * self.head.weight).abs().sum(-1) + self.head.bias.abs()
        return self.head(hidden)[:, 0].double(), ROUNDING * torch.finfo(self.network.dtype).eps * size.double()


def encoded_prompt(chat: ChatEncoder, messages: Sequence[Message], window: int) -> list[int]:
    """A chat as the value model reads it: up to where the assistant's turn begins, its oldest turns left out."""
    return chat.encode(chat.fitting(messages, window), generate=True).ids


def last_hidden(network: Any, texts: Sequence[list[int]], pad_id: int) -> torch.Tensor:
    """[texts, width] hidden states, in float32, after the last token of each text (padded right, which no causal model
    sees).
    """
    width = max(map(len, texts))
    ids = torch.tensor([text + [pad_id] * (width - len(text)) for text in texts], device=network.device)
    hidden = network.base_model(input_ids=ids, use_cache=False).last_hidden_state
    last = torch.tensor([len(text) - 1 for text in texts], device=network.device)
    chosen: torch.Tensor = hidden[torch.arange(len(texts), device=network.device), last]
    return chosen.float()
