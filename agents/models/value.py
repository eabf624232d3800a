"""`LocalValue`: a language model with a value head, which judges how well an episode stands.

The head is linear on the last hidden state of the episode so far, where the model would begin its next turn. (The
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

from ..errors import UsageError
from .models.batching import Batcher
from .models.chat import ChatEncoder
from .models.core import Message
from .models.engine import PREFILL_TOKENS, ROUNDING
from .models.local import load_base, model_version, with_adapter
from .react import ReActConfig, chat_of, observation_turn
from .rollout import Episode

HEAD = "value_head.safetensors"
"""Beside an adapter's files: `weight` [1, width] and `bias` [1]."""
GRID = 512
"""Values are multiples of 1 / GRID: near enough, and then the same to the bit in every batch."""


class LocalValue:
    """A `ValueModel` (see `kintsugi.loops.search`). Judgements that are pending at the same moment are one batch.

    A value that rounding in the batch might have put on another point of the grid is settled by reading the text alone.
    """

    def __init__(self, network: Any, tokenizer: Any, head: torch.nn.Linear, version: str, config: ReActConfig) -> None:
        self.network, self.head = network.eval(), head.to(network.device, torch.float32).eval()
        self.chat = ChatEncoder(tokenizer)
        self.version = version
        self.config = config
        self._pad_id = tokenizer.pad_token_id or 0
        self._window = window_of(network)
        self._batcher: Batcher[list[int], float] = Batcher(self._work)

    @classmethod
    def load(cls, base: str | Path, adapter: Path, config: ReActConfig | None = None, *, device: str = "auto") -> Self:
        """What `kintsugi.loops.value.fit_value` saved; `config` says how the acting agent sees an episode.

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
        return cls(network.to(device), tokenizer, head, version, config or ReActConfig())

    @property
    def busy_seconds(self) -> float:
        """Wall time spent judging since the start."""
        return self._batcher.busy_seconds

    async def value(self, episode: Episode) -> float:
        """What the episode is likely to be worth in the end: a multiple of 1 / GRID in [0, 1].

        Of a chat longer than the model's window the oldest turns are left out. Raises `UsageError` when one turn alone
        is longer.
        """
        return await self._batcher.ask(encoded_episode(self.chat, seen(episode, self.config), self._window))

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


def seen(episode: Episode, config: ReActConfig) -> list[Message]:
    """The chat that the acting agent would answer next."""
    turn = observation_turn(episode.observation, episode.goal, config, first=not episode.steps)
    return [*chat_of(episode, config), turn]


def encoded_episode(chat: ChatEncoder, messages: Sequence[Message], window: int) -> list[int]:
    """A chat as the value model reads it: up to where the assistant's turn begins, its oldest turns left out."""
    return chat.encode(chat.fitting(messages, window), generate=True).ids


def last_hidden(network: Any, texts: Sequence[list[int]], pad_id: int) -> torch.Tensor:
    """[texts, width] hidden states, in float32, after the last token of each text (padded right, which no causal model
    sees)."""
    width = max(map(len, texts))
    ids = torch.tensor([text + [pad_id] * (width - len(text)) for text in texts], device=network.device)
    hidden = network.base_model(input_ids=ids, use_cache=False).last_hidden_state
    last = torch.tensor([len(text) - 1 for text in texts], device=network.device)
    chosen: torch.Tensor = hidden[torch.arange(len(texts), device=network.device), last]
    return chosen.float()


def window_of(network: Any) -> int:
    """How many tokens the network reads."""
    return int(getattr(network.config.get_text_config(), "max_position_embeddings", 1 << 30))
