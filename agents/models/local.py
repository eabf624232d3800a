"""Hugging Face models in this process: `LocalModel` decodes on CPU or GPU, `LocalBackend` opens models of one base."""

from __future__ import annotations

import functools
import gc
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import torch

from ...errors import UsageError
from .batching import Batcher
from .chat import ChatEncoder
from .core import Completion, LanguageModel, Message, Sampling, Usage
from .engine import Engine, Request
from .weights import base_hash, load_base, load_config, load_tokenizer, model_version, window_of, with_adapter


@dataclass
class _Pending:
    run: Callable[[], Any]
    request: Request | None


class LocalModel:
    """A `LanguageModel` on transformers. Calls that are pending at the same moment are decoded as one batch."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        version: str,
        *,
        where: str = "the model",
        slots: int = 128,
        exact: bool = False,
    ) -> None:
        self.network = model.eval()
        self.chat = ChatEncoder(tokenizer, where)
        self.version = version
        self.where = where
        self.window = window_of(model.config)
        self._encoding_seconds = 0.0
        self._calls = self._read = self._sampled = 0
        eos_ids = _eos_ids(model) | {self.chat.eos_id, int(tokenizer.eos_token_id)}
        self._engine = Engine(model, frozenset(eos_ids), slots, tokenizer.pad_token_id or 0, exact=exact)
        self._batcher: Batcher[_Pending, Any] = Batcher(self._work)

    @classmethod
    def load(
        cls,
        model: str | Path,
        adapter: Path | None = None,
        *,
        device: str = "auto",
        slots: int = 128,
        exact: bool = False,
    ) -> Self:
        """Load a model folder, or a name in the local Hugging Face cache; an adapter is merged in memory.

        `exact` makes completions the same whatever else is in the batch: draws so close that rounding might decide them
        are settled by reading the text alone. In float32 they are few; in half precision nearly all, which is slow.

        Raises `UsageError` when the folder is no model, has no tokenizer or no chat template, and when the adapter was
        trained on another base.
        """
        network, tokenizer = load_base(model)
        version = model_version(model, adapter)
        if adapter is not None:
            network = with_adapter(network, Path(adapter))
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(network.to(device), tokenizer, version, where=str(model), slots=slots, exact=exact)

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """See `LanguageModel.complete`. Raises `UsageError` when a single turn does not fit the model's window."""
        start = time.perf_counter()
        encoded = self.chat.encode(self.chat.fitting(messages, self.window - sampling.max_tokens), generate=True)
        request = Request(encoded.ids, encoded.turn_ends, sampling, encoded.opening)
        self._constrain(request)
        self._encoding_seconds += time.perf_counter() - start
        return await self._batcher.ask(_Pending(functools.partial(self._completion, request), request))  # type: ignore[no-any-return]

    async def score(self, messages: Sequence[Message], candidates: Sequence[str]) -> list[float]:
        """See `LanguageModel.score`."""
        self._calls += 1
        scores = functools.partial(self._scores, list(messages), list(candidates))
        return await self._batcher.ask(_Pending(scores, None))  # type: ignore[no-any-return]

    def start_wave(self) -> None:
        """See `LanguageModel.start_wave`."""
        with self._batcher.working:
            self._engine.forget()

    def usage(self) -> Usage:
        """What it did since it was loaded; its seconds are those of encoding and decoding."""
        return Usage(self._calls, self._read, self._sampled, self._encoding_seconds + self._batcher.busy_seconds)

    def _work(self, batch: Sequence[_Pending]) -> list[Any]:
        self._engine.generate([item.request for item in batch if item.request is not None])
        return [item.run() for item in batch]

    # -- one request ----------------------------------------------------------------------------------------------

    def _completion(self, request: Request) -> Completion:
        text = self.chat.decode(request.out)
        for stop in request.sampling.stop:
            text = text.partition(stop)[0]
        self._calls += 1
        self._read += len(request.ids)
        self._sampled += len(request.out)
        opening = tuple(request.ids[len(request.ids) - request.opening :])
        return Completion(text, tuple(request.out), tuple(request.logprobs), request.finish, opening, len(request.ids))

    def _constrain(self, request: Request) -> None:
        sampling = request.sampling
        if sampling.choices is not None and not sampling.choices:
            raise UsageError("choices is empty, so nothing may be said; give at least one text, or None for any")
        bound_later = sampling.choices is not None and bool(sampling.choices_after)
        if sampling.choices is not None and not bound_later:
            request.choices = self._trie(sampling.choices)
        if not sampling.stop and not bound_later:
            return

        def watch(request: Request) -> bool:
            text = self.chat.decode(request.out)
            if bound_later and request.choices is None:
                request.choices = self._bound(text, sampling)
            return any(stop in text for stop in sampling.stop)

        request.watch = watch

    def _bound(self, text: str, sampling: Sampling) -> dict[int, Any] | None:
        """What may follow `text`; None while everything may.

        Most tokenizers write a space as part of the word after it, so the choices begin before spaces at the end of
        `choices_after`.
        """
        before = sampling.choices_after.rstrip()
        spaces = sampling.choices_after[len(before) :]
        if text.endswith(sampling.choices_after):
            return self._trie(sampling.choices or ())
        if spaces and before and text.endswith(before):
            return self._trie([spaces + choice for choice in sampling.choices or ()])
        return None

    def _trie(self, choices: Sequence[str]) -> dict[int, Any]:
        root: dict[int, Any] = {}
        for choice in choices:
            node = root
            for token in [*self.chat.tokens(choice), self.chat.eos_id]:
                node = node.setdefault(token, {})
        return root

    @torch.inference_mode()
    def _scores(self, messages: list[Message], candidates: list[str]) -> list[float]:
        endings = [[*self.chat.tokens(text), self.chat.eos_id] for text in candidates]
        if not endings:
            return []
        width = max(map(len, endings))
        prompt = self.chat.encode(self.chat.fitting(messages, self.window - width), generate=True).ids
        ids = torch.tensor(
            [prompt + ending + [0] * (width - len(ending)) for ending in endings], device=self._engine.device
        )
        logits = self.network(input_ids=ids, use_cache=False).logits[:, len(prompt) - 1 : -1].float()
        logprobs = torch.log_softmax(logits, -1).gather(-1, ids[:, len(prompt) :, None])[..., 0]
        return [float(row[: len(ending)].double().sum()) for row, ending in zip(logprobs, endings, strict=True)]


def _eos_ids(model: Any) -> set[int]:
    listed = model.generation_config.eos_token_id if model.generation_config is not None else None
    return {listed} if isinstance(listed, int) else set(listed or [])


class _Loaded(Protocol):
    def usage(self) -> Usage: ...


M = TypeVar("M", bound=_Loaded)


class _Lazy(Generic[M]):
    """A model that is loaded when it is first asked, and again when it is asked after `free`."""

    def __init__(self, version: str, load: Callable[[], M]) -> None:
        self.version = version
        self._load = load
        self._model: M | None = None
        self._before = Usage()

    def usage(self) -> Usage:
        """What it did so far, in all its lives."""
        return self._before + self._model.usage() if self._model else self._before

    def free(self) -> None:
        """Give the memory back."""
        self._before, self._model = self.usage(), None

    def loaded(self) -> M:
        """The model itself."""
        if self._model is None:
            self._model = self._load()
        return self._model


class LazyModel(_Lazy[LocalModel]):
    """A `LanguageModel`."""

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


class LazyCritic(_Lazy[Any]):
    """A `Critic`: a `LocalValue`."""

    async def value(self, messages: Sequence[Message]) -> float:
        """See `Critic.value`."""
        worth: float = await self.loaded().value(messages)
        return worth


class LocalBackend:
    """A `Backend` of a Hugging Face folder, or of a name in the local cache; `open_backend("local:FOLDER")`."""

    def __init__(self, weights: str | Path, *, device: str = "auto") -> None:
        """Raises `UsageError` when there is no such model, or it has no tokenizer that can encode chats."""
        load_tokenizer(weights)
        self.weights: str | Path = weights
        self.base = f"{Path(weights).name}:{base_hash(weights)}"
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self._window = window_of(load_config(weights))
        self._handles: weakref.WeakSet[_Lazy[Any]] = weakref.WeakSet()

    @property
    def repeatable(self) -> bool:
        """Whether it works on a CPU: matrix products of a GPU may differ from one run to the next."""
        return self.device == "cpu"

    def model(
        self, adapter: Path | None = None, *, parallel: int = 128, batch_invariant: bool = False
    ) -> LanguageModel:
        """See `Backend.model`."""
        load = functools.partial(
            LocalModel.load, self.weights, adapter, device=self.device, slots=parallel, exact=batch_invariant
        )
        handle = LazyModel(model_version(self.weights, adapter), self._window, load)
        self._handles.add(handle)
        return handle

    def critic(self, adapter: Path) -> LazyCritic:
        """See `Backend.critic`."""
        from .value import LocalValue

        load = functools.partial(LocalValue.load, self.weights, adapter, device=self.device)
        handle = LazyCritic(model_version(self.weights, adapter), load)
        self._handles.add(handle)
        return handle

    def free(self) -> None:
        """See `Backend.free`."""
        for handle in self._handles:
            handle.free()
        # Networks that an adapter was merged into refer to themselves.
        gc.collect()
        if self.device != "cpu":
            torch.cuda.empty_cache()


def open_local(weights: str, watch: object = None) -> LocalBackend:
    """`local:FOLDER`: see `agents.models.registry`."""
    return LocalBackend(Path(weights) if Path(weights).exists() else weights)
