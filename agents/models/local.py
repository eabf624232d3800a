"""`LocalModel`: any Hugging Face causal language model in this process, CPU or GPU, with or without a LoRA adapter."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import CacheNotFound, scan_cache_dir
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from ...errors import UsageError, unknown
from .batching import Batcher
from .chat import ChatEncoder
from .core import Completion, Message, Sampling
from .engine import Engine, Request

MANIFEST = "kintsugi.json"
"""Beside an adapter's files: what it was trained on."""
_UNFIT = (RuntimeError, ValueError, KeyError, TypeError, AttributeError, OSError, SafetensorError, UserWarning)
"""What PEFT raises for an adapter that is damaged or another model's."""


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
        self._encoding_seconds = 0.0
        self.sampled_tokens = 0
        """Tokens sampled since the start."""
        self.window = int(getattr(model.config.get_text_config(), "max_position_embeddings", 1 << 30))
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
        scores = functools.partial(self._scores, list(messages), list(candidates))
        return await self._batcher.ask(_Pending(scores, None))  # type: ignore[no-any-return]

    def forget(self) -> None:
        """Drop what is kept of earlier conversations: what comes next is then the same, to the bit, as at the start."""
        with self._batcher.working:
            self._engine.forget()

    @property
    def busy_seconds(self) -> float:
        """Wall time spent encoding and decoding since the start."""
        return self._encoding_seconds + self._batcher.busy_seconds

    def _work(self, batch: Sequence[_Pending]) -> list[Any]:
        self._engine.generate([item.request for item in batch if item.request is not None])
        return [item.run() for item in batch]

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


def load_base(model: str | Path) -> tuple[Any, Any]:
    """The network (float32 on a CPU, else as saved) and tokenizer of a folder or of a name in the local cache."""
    tokenizer = load_tokenizer(model)
    dtype = torch.float32 if not torch.cuda.is_available() else "auto"
    try:
        with quietly():
            return AutoModelForCausalLM.from_pretrained(model, dtype=dtype, local_files_only=True), tokenizer
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UsageError(
            f"{str(model)!r}: its weights cannot be loaded ({_first_line(error)}); save or copy the model anew"
        ) from error


def load_tokenizer(model: str | Path) -> Any:
    """The tokenizer of a model; raises `UsageError` when there is no such model or it cannot encode chats."""
    if not is_model(model):
        raise unknown("model", str(model), known_models(model))
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"{str(model)!r} has no tokenizer that can be loaded ({_first_line(error)}); save one beside the model"
        ) from error
    ChatEncoder(tokenizer, repr(str(model)))
    return tokenizer


def is_model(model: str | Path) -> bool:
    """Whether there is a model of this name. Raises `UsageError` for a path that holds something else."""
    try:
        AutoConfig.from_pretrained(model, local_files_only=True)
    except (OSError, ValueError) as error:
        if not Path(model).exists():
            return False
        raise UsageError(
            f"{str(model)!r} is no model that can be loaded ({_first_line(error)}); give a Hugging Face model folder"
        ) from error
    return True


def known_models(wanted: str | Path) -> list[str]:
    """What `wanted` may have been meant for: the model folders beside it, and the models in the local cache."""
    folder = Path(wanted).parent
    beside = [str(path.parent) for path in folder.glob("*/config.json")] if folder.is_dir() else []
    try:
        cached = [repo.repo_id for repo in scan_cache_dir().repos if repo.repo_type == "model"]
    except CacheNotFound:
        cached = []
    return [*beside, *cached]


def weight_files(model: str | Path) -> list[Path]:
    """The files of a model folder that hold its weights."""
    return sorted(Path(model).glob("*.safetensors")) or sorted(Path(model).glob("*.bin"))


def base_hash(model: str | Path) -> str:
    """12 hexadecimal digits that name the weights: of the weight files of a folder, else of the name."""
    files = weight_files(model)
    if not files:
        return hashlib.sha256(str(model).encode()).hexdigest()[:12]
    return _hash_of(tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files))


@functools.cache
def _hash_of(files: Sequence[tuple[Path, int, int]]) -> str:
    """Of the contents of files; sizes and times only tell when they have to be read again."""
    digest = hashlib.sha256()
    for file, _, _ in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()[:12]


def model_version(model: str | Path, adapter: Path | None = None) -> str:
    """`LocalModel.version` of a model that need not be loaded.

    Raises `UsageError` for a folder without weights, when `adapter` is no PEFT folder, and when its manifest names
    another base.
    """
    if Path(model).is_dir() and not weight_files(model):
        raise UsageError(f"{str(model)!r} holds no weights (*.safetensors or *.bin); give a Hugging Face model folder")
    base = base_hash(model)
    if adapter is None:
        return base
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        if not (adapter / file).is_file():
            raise UsageError(f"{adapter} holds no {file}; give a PEFT adapter folder such as run/adapters/agent@1")
    digest = hashlib.sha256((adapter / "adapter_model.safetensors").read_bytes()).hexdigest()[:12]
    trained_on = _manifest(adapter).get("base_hash", base)
    if trained_on != base:
        raise UsageError(
            f"{adapter} was trained on base {trained_on}, the hash of {str(model)!r} is {base}; use the model that it "
            "was trained on"
        )
    return f"{base}+{adapter.name}:{digest}"


def _manifest(adapter: Path) -> dict[str, Any]:
    """What `fit` wrote beside an adapter; nothing for adapters of other trainers."""
    try:
        return dict(json.loads((adapter / MANIFEST).read_text()))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"{adapter} is damaged or does not fit the model: its {MANIFEST} cannot be read ({error}); train it anew"
        ) from error


def with_adapter(network: Any, adapter: Path, *, trainable: bool = False) -> Any:
    """`network` with an adapter merged into it, or upon it if that is to be trained.

    Whether they belong together is for `model_version` to tell.
    """
    from peft import PeftModel

    try:
        with quietly():
            # PEFT loads an adapter whose layers are all foreign, changes nothing, and warns.
            warnings.filterwarnings("error", message="Found missing adapter keys")
            adapted = PeftModel.from_pretrained(network, str(adapter), is_trainable=trainable)
            return adapted if trainable else adapted.merge_and_unload()
    except _UNFIT as error:
        raise UsageError(
            f"{adapter} is damaged or does not fit the model: {_first_line(error)}; "
            "load it with the model that it was trained on, or train it anew"
        ) from error


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without transformers' progress bars, and without PEFT's use of what the newest transformers is to drop."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _eos_ids(model: Any) -> set[int]:
    listed = model.generation_config.eos_token_id if model.generation_config is not None else None
    return {listed} if isinstance(listed, int) else set(listed or [])


def _first_line(error: BaseException) -> str:
    """Of what an error says; with the second one where the first only announces it."""
    first, _, rest = str(error).strip().partition("\n")
    return " ".join([first, *(rest.strip().partition("\n")[:1] if first.endswith(":") else [])])[:200]
