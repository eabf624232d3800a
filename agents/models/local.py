"""Hugging Face models in this process, on CPU or GPU: `LocalModel` and `LocalBackend`."""

from __future__ import annotations

import functools
import gc
import math
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import torch

from ...errors import UsageError
from .batching import Batcher
from .chat import ChatEncoder, Encoded
from .chat_format import DEFAULT_FORMAT, ChatFormat
from .core import Completion, LanguageModel, Message, Sampling, Usage
from .engine import PREFILL_TOKENS, Engine, Request
from .folder_checks import check_outputs, not_finite
from .kv_cache import free_memory
from .networks import head_logits
from .weights import (
    base_hash,
    load_base,
    load_config,
    load_tokenizer,
    model_version,
    parameters_of,
    window_of,
    with_adapter,
)

CACHE_SHARE = 0.4
"""Share of the free memory that the key/value cache may take, unless a number of bytes is given."""


@dataclass
class _Pending:
    run: Callable[[], Any]
    request: Request | None


class LocalModel:
    """Language model that runs on transformers. All calls that are pending at the same time form one batch."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        version: str,
        *,
        name: str = "the model",
        slots: int = 128,
        exact: bool = False,
        memory: int | None = None,
        chat_format: ChatFormat = DEFAULT_FORMAT,
    ) -> None:
        self.network = model.eval()
        self.chat = ChatEncoder(tokenizer, name, chat_format)
        self.version = version
        self.name = name
        self.window = window_of(model.config)
        self._encoding_seconds = 0.0
        self._calls = self._read = self._sampled = 0
        eos_ids = _eos_ids(model) | {self.chat.eos_id, int(tokenizer.eos_token_id)}
        self._engine = Engine(
            model, frozenset(eos_ids), slots, tokenizer.pad_token_id or 0, exact=exact, memory=memory, name=name
        )
        self._batcher: Batcher[_Pending, Any] = Batcher(self._run_batch, self._choose)

    @classmethod
    def load(
        cls,
        model: str | Path,
        adapter: Path | None = None,
        *,
        device: str = "auto",
        slots: int = 128,
        exact: bool = False,
        memory: int | None = None,
        chat_format: ChatFormat = DEFAULT_FORMAT,
    ) -> Self:
        """Load a model and, optionally, merge an adapter into it in memory.

        Args:
            model: Model folder, or name of a model in the local Hugging Face cache.
            adapter: Folder of a PEFT adapter.
            device: `cpu`, `cuda`, or `auto` for a GPU if there is one.
            slots: Number of conversations in the key/value cache.
            exact: Whether completions must not depend on the other requests in a batch. Samples that rounding could
                change are repeated in a batch of their own. They are rare in float32. In half precision, nearly all
                samples are repeated, which is slow.
            memory: Bytes that the key/value cache may take; None for `CACHE_SHARE` of the memory that is free once the
                weights are loaded. Conversations that have no room wait until others have ended.
            chat_format: Replaces the chat template, or sets the date in it.

        Raises:
            UsageError: If the folder is not a model, has no tokenizer or chat template, if the adapter was trained
                on another base model, or if the network's outputs are not finite.
        """
        network, tokenizer = load_base(model, chat_format)
        version = model_version(model, adapter, chat_format)
        if adapter is not None:
            network = with_adapter(network, Path(adapter))
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        network = network.to(device)
        check_outputs(network, repr(str(model)) if adapter is None else str(adapter))
        if memory is None:
            memory = int(CACHE_SHARE * free_memory(network.device))
        return cls(
            network,
            tokenizer,
            version,
            name=str(model),
            slots=slots,
            exact=exact,
            memory=memory,
            chat_format=chat_format,
        )

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """See `LanguageModel.complete`."""
        start = time.perf_counter()
        encoded = self.chat.encode(self.chat.truncate(messages, self.window - sampling.max_tokens), generate=True)
        request = Request(encoded.ids, encoded.turn_ends, sampling, encoded.prefix_length)
        self._constrain(request, encoded)
        self._encoding_seconds += time.perf_counter() - start
        return await self._batcher.submit(_Pending(functools.partial(self._completion, request), request))  # type: ignore[no-any-return]

    async def score(self, messages: Sequence[Message], candidates: Sequence[str]) -> list[float]:
        """See `LanguageModel.score`."""
        self._calls += 1
        scores = functools.partial(self._scores, list(messages), list(candidates))
        return await self._batcher.submit(_Pending(scores, None))  # type: ignore[no-any-return]

    def start_wave(self) -> None:
        """See `LanguageModel.start_wave`."""
        with self._batcher.lock:
            self._engine.forget()

    def usage(self) -> Usage:
        """Return usage since loading. Its seconds are those of encoding and decoding."""
        return Usage(self._calls, self._read, self._sampled, self._encoding_seconds + self._batcher.busy_seconds)

    def _choose(self, batch: Sequence[_Pending]) -> list[int]:
        """Return which calls to process now: all that need no cache, and as many others as it has room for."""
        numbers = [i for i, item in enumerate(batch) if item.request is not None]
        chosen = self._engine.choose([item.request for item in batch if item.request is not None]) if numbers else []
        return [*(numbers[i] for i in chosen), *(i for i, item in enumerate(batch) if item.request is None)]

    def _run_batch(self, batch: Sequence[_Pending]) -> list[Any]:
        self._engine.generate([item.request for item in batch if item.request is not None])
        return [item.run() for item in batch]

    # -- One request ----------------------------------------------------------------------------------------------

    def _completion(self, request: Request) -> Completion:
        text = self.chat.decode(request.out)
        if not request.prefix_length:
            text = text.removeprefix(self.chat.layout.turn_prefix)
        for stop in request.sampling.stop:
            text = text.partition(stop)[0]
        self._calls += 1
        self._read += len(request.ids)
        self._sampled += len(request.out)
        prefix = tuple(request.ids[len(request.ids) - request.prefix_length :])
        return Completion(text, tuple(request.out), tuple(request.logprobs), request.finish, prefix, len(request.ids))

    def _constrain(self, request: Request, encoded: Encoded) -> None:
        sampling = request.sampling
        if sampling.choices is not None and not sampling.choices:
            raise UsageError("choices is empty; expected at least one text: pass None to allow any text")
        constrain_later = sampling.choices is not None and bool(sampling.choices_after)
        if sampling.choices is not None and not constrain_later:
            request.choices = _trie(self.chat.turn_tokens(encoded, choice) for choice in sampling.choices)
        if not sampling.stop and not constrain_later:
            return

        def on_token(request: Request) -> bool:
            text = self.chat.decode(request.out)
            if constrain_later and request.choices is None:
                request.choices = self._choices_after(text, sampling)
            return any(stop in text for stop in sampling.stop)

        request.on_token = on_token

    def _choices_after(self, text: str, sampling: Sampling) -> dict[int, Any] | None:
        """Return the trie of tokens that may follow `text`, or None if any token may follow.

        Most tokenizers encode a space as part of the following word. The choices therefore start before trailing spaces
        of `choices_after`.
        """
        before = sampling.choices_after.rstrip()
        spaces = sampling.choices_after[len(before) :]
        if text.endswith(sampling.choices_after):
            return self._trie(sampling.choices or ())
        if spaces and before and text.endswith(before):
            return self._trie([spaces + choice for choice in sampling.choices or ()])
        return None

    def _trie(self, choices: Sequence[str]) -> dict[int, Any]:
        return _trie([*self.chat.tokens(choice), self.chat.eos_id] for choice in choices)

    @torch.inference_mode()
    def _scores(self, messages: list[Message], candidates: list[str]) -> list[float]:
        if not candidates:
            return []
        # After the prompt, the first word may have other tokens, and the turn has an end.
        width = max(len(self.chat.tokens(text)) for text in candidates) + 4
        encoded = self.chat.encode(self.chat.truncate(messages, self.window - width), generate=True)
        prompt, endings = encoded.ids, [self.chat.turn_tokens(encoded, text) for text in candidates]
        width = max(map(len, endings))
        rows = max(1, PREFILL_TOKENS // (len(prompt) + width))
        logprobs = [
            row for i in range(0, len(endings), rows) for row in self._logprobs(prompt, endings[i : i + rows], width)
        ]
        scores = [float(row[: len(ending)].double().sum()) for row, ending in zip(logprobs, endings, strict=True)]
        if not all(map(math.isfinite, scores)):
            raise not_finite(self.name)
        return scores

    def _logprobs(self, prompt: list[int], endings: Sequence[list[int]], width: int) -> torch.Tensor:
        """Return the log-probabilities of tokens after a prompt, [endings, width]; those of padding mean nothing."""
        ids = torch.tensor(
            [prompt + ending + [0] * (width - len(ending)) for ending in endings], device=self._engine.device
        )
        # Logits of the whole prompt would take gigabytes with a large vocabulary.
        hidden = self.network.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, len(prompt) - 1 : -1]
        logprobs = torch.log_softmax(head_logits(self.network, hidden), -1)
        return logprobs.gather(-1, ids[:, len(prompt) :, None])[..., 0]


def _trie(sequences: Iterable[Sequence[int]]) -> dict[int, Any]:
    """Return a trie of token sequences: token id to subtrie."""
    root: dict[int, Any] = {}
    for sequence in sequences:
        node = root
        for token in sequence:
            node = node.setdefault(token, {})
    return root


def _eos_ids(model: Any) -> set[int]:
    eos_token_ids = model.generation_config.eos_token_id if model.generation_config is not None else None
    return {eos_token_ids} if isinstance(eos_token_ids, int) else set(eos_token_ids or [])


class _HasUsage(Protocol):
    def usage(self) -> Usage: ...


M = TypeVar("M", bound=_HasUsage)


class _Lazy(Generic[M]):
    """A model that is loaded at its first call, and again at the first call after `free`."""

    def __init__(self, version: str, load: Callable[[], M]) -> None:
        self.version = version
        self._load = load
        self._model: M | None = None
        self._usage_when_freed = Usage()

    def usage(self) -> Usage:
        """Return usage so far, including that before `free`."""
        return self._usage_when_freed + self._model.usage() if self._model else self._usage_when_freed

    def free(self) -> None:
        """Release the memory of the model."""
        self._usage_when_freed, self._model = self.usage(), None

    def loaded(self) -> M:
        """Return the model, and load it if necessary."""
        if self._model is None:
            self._model = self._load()
        return self._model


class LazyModel(_Lazy[LocalModel]):
    """Language model that is loaded at its first call."""

    def __init__(self, version: str, window: int, load: Callable[[], LocalModel]) -> None:
        super().__init__(version, load)
        self.window = window

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """See `LanguageModel.complete`."""
        return await self.loaded().complete(messages, sampling)

    async def score(self, messages: Sequence[Message], candidates: Sequence[str]) -> list[float]:
        """See `LanguageModel.score`."""
        return await self.loaded().score(messages, candidates)

    def start_wave(self) -> None:
        """See `LanguageModel.start_wave`."""
        if self._model:
            self._model.start_wave()

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process loads the weights by itself, once for all agents with the same model."""
        return open_shared, (self.version, self.window, self._load)


def open_shared(version: str, window: int, load: Callable[[], LocalModel]) -> LazyModel:
    """Return the model of a version that this process has opened already, or a new one. Only two stay loaded."""
    key = (version, repr(load))
    model = _SHARED.pop(key, None) or LazyModel(version, window, load)
    _SHARED[key] = model
    for old in list(_SHARED)[:-2]:
        _SHARED.pop(old).free()
    return model


_SHARED: dict[tuple[str, str], LazyModel] = {}
"""Models that were received from another process, the last one used at the end."""


class LazyCritic(_Lazy[Any]):
    """Critic (`LocalValue`) that is loaded at its first call."""

    async def value(self, messages: Sequence[Message]) -> float:
        """See `Critic.value`."""
        value: float = await self.loaded().value(messages)
        return value


class LocalBackend:
    """Backend for a Hugging Face model folder or cached model; opened by `open_backend("local:FOLDER")`."""

    def __init__(self, weights: str | Path, *, device: str = "auto", chat_format: ChatFormat = DEFAULT_FORMAT) -> None:
        """Open the backend. No weights are loaded.

        Args:
            weights: Model folder, or name of a model in the local Hugging Face cache.
            device: `cpu`, `cuda`, or `auto` for a GPU if there is one.
            chat_format: Replaces the chat template, or sets the date in it.

        Raises:
            UsageError: If there is no such model, or if its tokenizer cannot encode chats.
        """
        load_tokenizer(weights, chat_format)
        self.weights: str | Path = weights
        self.base = f"{Path(weights).name}:{base_hash(weights)}{chat_format.suffix}"
        self.chat_format = chat_format
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self.cache_bytes: int | None = None
        """Memory that the key/value cache of each model may take; see `LocalModel.load`."""
        self._window = window_of(load_config(weights))
        self._handles: weakref.WeakSet[_Lazy[Any]] = weakref.WeakSet()

    @property
    def repeatable(self) -> bool:
        """Whether the models run on a CPU. Matrix products on a GPU may differ between runs."""
        return self.device == "cpu"

    @property
    def parameters(self) -> int | None:
        """Approximate number of parameters of the base model, on which defaults depend."""
        return parameters_of(self.weights)

    def model(
        self, adapter: Path | None = None, *, parallel: int = 128, batch_invariant: bool = False
    ) -> LanguageModel:
        """See `Backend.model`."""
        load = functools.partial(
            LocalModel.load,
            self.weights,
            adapter,
            device=self.device,
            slots=parallel,
            exact=batch_invariant,
            memory=self.cache_bytes,
            chat_format=self.chat_format,
        )
        version = model_version(self.weights, adapter, self.chat_format)
        handle = LazyModel(version, self._window, load)
        self._handles.add(handle)
        return handle

    def critic(self, adapter: Path) -> LazyCritic:
        """See `Backend.critic`."""
        from .value import LocalValue

        load = functools.partial(
            LocalValue.load, self.weights, adapter, device=self.device, chat_format=self.chat_format
        )
        handle = LazyCritic(model_version(self.weights, adapter, self.chat_format), load)
        self._handles.add(handle)
        return handle

    def free(self) -> None:
        """See `Backend.free`."""
        for handle in self._handles:
            handle.free()
        # Networks with a merged adapter contain reference cycles.
        gc.collect()
        if self.device != "cpu":
            torch.cuda.empty_cache()


def open_local(weights: str, on_status: object = None, *, chat_format: ChatFormat = DEFAULT_FORMAT) -> LocalBackend:
    """Open `local:FOLDER`; see `agents.models.registry`."""
    return LocalBackend(Path(weights) if Path(weights).exists() else weights, chat_format=chat_format)
