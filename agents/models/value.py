"""`LocalValue`: a language model with a value head, which predicts the final score of an episode from its chat.

The head is a linear layer on the last hidden state of the chat, at the position where the model would begin its next
turn. The released code of ReST-MCTS* applies a linear layer to the last logits. Logits are linear in the hidden state,
so this head can represent the same functions with fewer parameters.
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
from .chat_format import DEFAULT_FORMAT, ChatFormat
from .core import Message, Usage
from .engine import PREFILL_TOKENS, ROUNDING
from .folder_checks import check_outputs, not_finite
from .weights import load_base, model_version, window_of, with_adapter

HEAD = "value_head.safetensors"
"""File in the adapter's folder with the head: `weight` [1, width] and `bias` [1]."""
GRID = 512
"""Values are rounded to multiples of 1 / GRID, so that they are bit-identical in every batch."""


class LocalValue:
    """Critic that runs on transformers. All calls that are pending at the same time form one batch.

    A value that rounding in the batch could move to another grid point is computed again alone, without a batch.
    """

    def __init__(
        self,
        network: Any,
        tokenizer: Any,
        head: torch.nn.Linear,
        version: str,
        chat_format: ChatFormat = DEFAULT_FORMAT,
    ) -> None:
        self.network, self.head = network.eval(), head.to(network.device, torch.float32).eval()
        self.chat = ChatEncoder(tokenizer, chat_format=chat_format)
        self.version = version
        self._pad_id = tokenizer.pad_token_id or 0
        self._window = window_of(network.config)
        self._calls = self._read = 0
        self._batcher: Batcher[list[int], float] = Batcher(self._run_batch)

    @classmethod
    def load(
        cls, base: str | Path, adapter: Path, *, device: str = "auto", chat_format: ChatFormat = DEFAULT_FORMAT
    ) -> Self:
        """Load a value model that `kintsugi.loops.learning.value.ValueRegression` trained.

        Args:
            base: Base model: folder, or name in the local Hugging Face cache.
            adapter: Folder of the value model.
            device: `cpu`, `cuda`, or `auto` for a GPU if there is one.
            chat_format: Replaces the chat template, or sets the date in it.

        Raises:
            UsageError: If the folder has no value model of this base model.
        """
        network, tokenizer = load_base(base, chat_format)
        version = model_version(base, adapter, chat_format)
        network = with_adapter(network, adapter)
        head = torch.nn.Linear(network.config.get_text_config().hidden_size, 1)
        try:
            head.load_state_dict(load_file(adapter / HEAD))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise UsageError(
                f"{adapter} has no value head that fits {str(base)!r} ({str(error).splitlines()[0][:200]}); expected "
                "the folder of a value model, such as run/adapters/value@1"
            ) from error
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        network = network.to(device)
        check_outputs(network, str(adapter))
        return cls(network, tokenizer, head, version, chat_format)

    def usage(self) -> Usage:
        """Return usage since loading."""
        return Usage(self._calls, self._read, 0, self._batcher.busy_seconds)

    async def value(self, messages: Sequence[Message]) -> float:
        """Predict the final score of the episode: a multiple of 1 / GRID in [0, 1].

        The oldest turns of a chat that exceeds the model's window are dropped.

        Raises:
            TooLongError: If the first and last turns alone exceed the window.
        """
        ids = encode_prompt(self.chat, messages, self._window)
        self._calls += 1
        self._read += len(ids)
        return await self._batcher.submit(ids)

    @torch.inference_mode()
    def _run_batch(self, texts: list[list[int]]) -> list[float]:
        values = [0.0] * len(texts)
        todo = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        while todo:
            size = max(1, PREFILL_TOKENS // len(texts[todo[-1]]))
            batch, todo = todo[-size:], todo[:-size]
            raw, rounding = self._raw([texts[i] for i in batch])
            if not bool(torch.isfinite(raw).all()):
                raise not_finite(f"the value model {self.version}")
            for i, value, margin in zip(batch, raw.tolist(), rounding.tolist(), strict=True):
                # Near the midpoint of two grid points, rounding in the batch could decide between them.
                if len(batch) > 1 and abs(value * GRID % 1 - 0.5) < margin * GRID:
                    value = float(self._raw([texts[i]])[0][0])
                values[i] = round(min(1.0, max(0.0, value)) * GRID) / GRID
        return values

    def _raw(self, texts: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the outputs of the head and bounds on their rounding error, each [texts]."""
        hidden = last_hidden(self.network, texts, self._pad_id)
        size = (hidden * self.head.weight).abs().sum(-1) + self.head.bias.abs()
        return self.head(hidden)[:, 0].double(), ROUNDING * torch.finfo(self.network.dtype).eps * size.double()


def encode_prompt(chat: ChatEncoder, messages: Sequence[Message], window: int) -> list[int]:
    """Encode a chat, truncated to the window, up to where the assistant's next turn begins."""
    return chat.encode(chat.truncate(messages, window), generate=True).ids


def last_hidden(network: Any, texts: Sequence[list[int]], pad_id: int) -> torch.Tensor:
    """Return float32 hidden states [texts, width] after the last token of each text.

    Texts are padded on the right, which does not affect causal models.
    """
    width = max(map(len, texts))
    ids = torch.tensor([text + [pad_id] * (width - len(text)) for text in texts], device=network.device)
    hidden = network.base_model(input_ids=ids, use_cache=False).last_hidden_state
    last = torch.tensor([len(text) - 1 for text in texts], device=network.device)
    chosen: torch.Tensor = hidden[torch.arange(len(texts), device=network.device), last]
    return chosen.float()
