"""`LocalModel`: any Hugging Face causal language model in this process, CPU or GPU, with or without a LoRA adapter."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from ...errors import UsageError
from .chat import ChatEncoder
from .core import Completion, Message, Sampling
from .engine import Engine, Request

MANIFEST = "kintsugi.json"
"""Beside an adapter's files: what it was trained on."""


@dataclass
class _Pending:
    run: Callable[[], Any]
    request: Request | None
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class LocalModel:
    """A `LanguageModel` on transformers. Calls that are pending at the same moment are decoded as one batch.

    The batch is decoded in the event loop's own thread, once every coroutine waits for the model; a batch is therefore
    the same whenever the coroutines are.
    """

    def __init__(self, model: Any, tokenizer: Any, version: str, *, where: str = "the model", slots: int = 128) -> None:
        self.network = model.eval()
        self.chat = ChatEncoder(tokenizer, where)
        self.version = version
        self.where = where
        self.busy_seconds = 0.0
        """Wall time spent encoding and decoding since the start."""
        self.sampled_tokens = 0
        """Tokens sampled since the start."""
        self.window = int(getattr(model.config.get_text_config(), "max_position_embeddings", 1 << 30))
        self._engine = Engine(model, frozenset(_eos_ids(model, self.chat.eos_id)), slots, tokenizer.pad_token_id or 0)
        self._pending: list[_Pending] = []
        self._settling = False

    @classmethod
    def load(cls, model: str | Path, adapter: Path | None = None, *, device: str = "auto", slots: int = 128) -> Self:
        """Load a model folder, or a name in the local Hugging Face cache; an adapter is merged in memory.

        Raises `UsageError` when the folder is no model, has no tokenizer or no chat template, and when the adapter was
        trained on another base.
        """
        network, tokenizer = load_base(model)
        version = base_hash(model)
        if adapter is not None:
            network, version = _with_adapter(network, version, Path(adapter))
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(network.to(device), tokenizer, version, where=str(model), slots=slots)

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """See `LanguageModel.complete`. Raises `UsageError` when a single turn does not fit the model's window."""
        start = time.perf_counter()
        encoded = self.chat.encode(self.chat.fitting(messages, self.window - sampling.max_tokens), generate=True)
        request = Request(encoded.ids, encoded.turn_ends, sampling, encoded.opening)
        self._constrain(request)
        self.busy_seconds += time.perf_counter() - start
        return await self._enqueue(request, functools.partial(self._completion, request))  # type: ignore[no-any-return]

    async def score(self, messages: Sequence[Message], candidates: Sequence[str]) -> list[float]:
        """See `LanguageModel.score`."""
        return await self._enqueue(None, functools.partial(self._scores, list(messages), list(candidates)))  # type: ignore[no-any-return]

    # -- batching -------------------------------------------------------------------------------------------------

    async def _enqueue(self, request: Request | None, run: Callable[[], Any]) -> Any:
        loop = asyncio.get_running_loop()
        pending = _Pending(run, request, loop.create_future(), loop)
        self._pending.append(pending)
        if not self._settling:
            self._settling = True
            loop.call_soon(self._settle, loop, 0)
        return await pending.future

    def _settle(self, loop: asyncio.AbstractEventLoop, seen: int) -> None:
        """Wait until a whole pass of the event loop has added nothing; then every coroutine waits for us."""
        if len(self._pending) != seen:
            loop.call_soon(self._settle, loop, len(self._pending))
            return
        self._settling = False
        batch, self._pending = self._pending, []
        start = time.perf_counter()
        try:
            self._engine.generate([item.request for item in batch if item.request is not None])
            results = [item.run() for item in batch]
        except BaseException as error:
            for item in batch:
                if not item.future.done():
                    item.future.set_exception(error)
            return
        finally:
            self.busy_seconds += time.perf_counter() - start
        for item, result in zip(batch, results, strict=True):
            if not item.future.done():
                item.future.set_result(result)

    # -- one request ----------------------------------------------------------------------------------------------

    def _completion(self, request: Request) -> Completion:
        text = self.chat.decode(request.out)
        for stop in request.sampling.stop:
            text = text.partition(stop)[0]
        self.sampled_tokens += len(request.out)
        opening = tuple(request.ids[len(request.ids) - request.opening :])
        return Completion(text, tuple(request.out), tuple(request.logprobs), request.finish, opening, len(request.ids))

    def _constrain(self, request: Request) -> None:
        sampling = request.sampling
        trie = self._trie(sampling.choices) if sampling.choices is not None else None
        if trie is not None and not sampling.choices_after:
            request.choices = trie
        if not sampling.stop and (trie is None or not sampling.choices_after):
            return

        def watch(request: Request) -> bool:
            text = self.chat.decode(request.out)
            if trie is not None and request.choices is None and text.endswith(sampling.choices_after):
                request.choices = trie
            return any(stop in text for stop in sampling.stop)

        request.watch = watch

    def _trie(self, choices: Sequence[str]) -> dict[int, Any]:
        root: dict[int, Any] = {}
        for choice in choices:
            node = root
            for token in [*self.chat.tokens(choice), self.chat.eos_id]:
                node = node.setdefault(token, {})
        return root

    @torch.inference_mode()
    def _scores(self, messages: list[Message], candidates: list[str]) -> list[float]:
        prompt = self.chat.encode(messages, generate=True).ids
        endings = [[*self.chat.tokens(text), self.chat.eos_id] for text in candidates]
        if not endings:
            return []
        width = max(map(len, endings))
        ids = torch.tensor(
            [prompt + ending + [0] * (width - len(ending)) for ending in endings], device=self._engine.device
        )
        logits = self.network(input_ids=ids, use_cache=False).logits[:, len(prompt) - 1 : -1].float()
        logprobs = torch.log_softmax(logits, -1).gather(-1, ids[:, len(prompt) :, None])[..., 0]
        return [float(row[: len(ending)].double().sum()) for row, ending in zip(logprobs, endings, strict=True)]


def load_base(model: str | Path) -> tuple[Any, Any]:
    """The network (float32 on a CPU, else as saved) and tokenizer of a folder or of a name in the local cache."""
    try:
        AutoConfig.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{str(model)!r} is no model that can be loaded ({_first_line(error)}); give a Hugging Face model folder"
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"{str(model)!r} has no tokenizer that can be loaded ({_first_line(error)}); save one beside the model"
        ) from error
    ChatEncoder(tokenizer, repr(str(model)))
    dtype = torch.float32 if not torch.cuda.is_available() else "auto"
    try:
        return AutoModelForCausalLM.from_pretrained(model, dtype=dtype), tokenizer
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(model)!r}: its weights cannot be loaded ({_first_line(error)})") from error


def base_hash(model: str | Path) -> str:
    """12 hexadecimal digits that name the weights: of the weight files of a folder, else of the name."""
    digest = hashlib.sha256()
    files = sorted(Path(model).glob("*.safetensors")) if Path(model).is_dir() else []
    if not files:
        digest.update(str(model).encode())
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()[:12]


def _with_adapter(network: Any, base: str, adapter: Path) -> tuple[Any, str]:
    from peft import PeftModel

    if not (adapter / "adapter_config.json").exists():
        raise UsageError(
            f"{adapter} holds no adapter_config.json; give a PEFT adapter folder such as run/adapters/agent@1"
        )
    manifest = json.loads((adapter / MANIFEST).read_text()) if (adapter / MANIFEST).exists() else {}
    if manifest.get("base_hash", base) != base:
        raise UsageError(
            f"{adapter} was trained on base {manifest['base_hash']}, this one's hash is {base}; "
            "use the model that it was trained on"
        )
    try:
        merged = PeftModel.from_pretrained(network, str(adapter)).merge_and_unload()
    except (RuntimeError, ValueError, KeyError) as error:
        raise UsageError(
            f"{adapter} does not fit the model: {_first_line(error)}; load it with the model that it was trained on"
        ) from error
    digest = hashlib.sha256((adapter / "adapter_model.safetensors").read_bytes()).hexdigest()[:12]
    return merged, f"{base}+{adapter.name}:{digest}"


def _eos_ids(model: Any, eos_id: int) -> set[int]:
    listed = model.generation_config.eos_token_id if model.generation_config is not None else None
    return {eos_id, *([listed] if isinstance(listed, int) else listed or [])}


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200]
