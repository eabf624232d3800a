"""Weights on this machine: loading, hashing and checking folders of base models and adapters."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from logging import CRITICAL
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import CacheNotFound, scan_cache_dir, try_to_load_from_cache
from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.errors import HFValidationError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from ...envs.reading import parse_json, read_text
from ...errors import UsageError, unknown
from .adapter_check import check_adapter, check_adapter_weights, damaged, needed_config
from .chat import ChatEncoder
from .chat_format import DEFAULT_FORMAT, ChatFormat
from .core import MANIFEST, Message
from .folder_checks import (
    check_finite,
    check_fit,
    check_model,
    check_tokens,
    check_weights,
    refuse_missing_weights,
    weight_files,
)
from .networks import untie_adapted
from .tokenizer_check import check_tokenizer

SAFE = {"local_files_only": True, "trust_remote_code": False}
"""Arguments of every loader: a model folder may hold code (`auto_map`), which is never run."""

_WINDOWS = ("max_position_embeddings", "max_seq_len", "seq_length", "n_positions")
"""Names of the context window in configurations. Transformers maps most others to the first."""


def load_base(model: str | Path, chat_format: ChatFormat = DEFAULT_FORMAT) -> tuple[Any, Any]:
    """Load the network (float32 without a GPU, else in the saved type) and tokenizer of a folder or cached model."""
    tokenizer = load_tokenizer(model, chat_format)
    dtype = torch.float32 if not torch.cuda.is_available() else "auto"
    with readable(f"{str(model)!r}: the weights cannot be loaded", "save or copy the model again"):
        with quiet_transformers():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                model,
                dtype=dtype,
                use_safetensors=True,
                output_loading_info=True,
                # Otherwise transformers says which shapes differ only in its log. `check_fit` refuses them.
                ignore_mismatched_sizes=True,
                **SAFE,
            )
        network, found = loaded
        check_fit(network, found)
    check_finite(network, repr(str(model)))
    check_tokens(network, tokenizer, repr(str(model)))
    return network, tokenizer


def load_tokenizer(model: str | Path, chat_format: ChatFormat = DEFAULT_FORMAT) -> Any:
    """Load the tokenizer of a model. Raise `UsageError` if there is no such model or it cannot encode chats."""
    if load_config(model) is None:
        raise unknown_model(str(model), known_models(model))
    if folder := folder_of(model):
        check_tokenizer(folder, repr(str(model)))
    problem = f"{str(model)!r} has no tokenizer that can be loaded"
    with readable(problem, "save one in the model folder"), quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(model, **SAFE)
    chat = ChatEncoder(tokenizer, repr(str(model)), chat_format)
    try:
        chat.encode([Message("user", "a")], generate=True)
    except UsageError:
        # Few templates insist on a system message. Whoever rejects this chat too rejects all.
        chat.encode([Message("system", "a"), Message("user", "a")], generate=True)
    if folder:
        check_weights(folder)
    return tokenizer


def load_config(model: str | Path) -> Any:
    """Return the configuration of a model, or None if there is no such model.

    Raises:
        UsageError: If the path exists but is not a model.
    """
    if folder := folder_of(model):
        check_model(folder)
    elif not Path(model).exists():
        return None
    try:
        with quiet_transformers():
            return AutoConfig.from_pretrained(model, **SAFE)
    except Exception as error:
        raise UsageError(
            f"{str(model)!r} is not a model that can be loaded ({_first_line(error)}); "
            "expected a Hugging Face model folder"
        ) from error


def folder_of(model: str | Path) -> Path | None:
    """Return the folder of a model: `model` itself or that in the local cache, None if there is no such model."""
    if Path(model).is_dir():
        return Path(model)
    try:
        found = try_to_load_from_cache(str(model), "config.json")
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def window_of(config: Any) -> int:
    """Return the context window of a model with this configuration, in tokens."""
    text = config.get_text_config()
    return next((int(found) for name in _WINDOWS if (found := getattr(text, name, None))), 1 << 30)


def parameters_of(model: str | Path) -> int | None:
    """Return the approximate number of parameters: the bytes of the weight files, divided by those of one number.

    None if there are no weight files.
    """
    folder = folder_of(model)
    files = weight_files(folder) if folder else []
    dtype = getattr(load_config(model), "dtype", None) or torch.float32
    number = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    return sum(file.stat().st_size for file in files) // number.itemsize if files else None


def known_models(wanted: str | Path) -> list[str]:
    """Return candidates for a mistyped model: model folders next to the path, and models in the local cache."""
    folder = Path(wanted).parent
    neighbours = [str(path.parent) for path in folder.glob("*/config.json")] if folder.is_dir() else []
    try:
        cached = [repo.repo_id for repo in scan_cache_dir().repos if repo.repo_type == "model"]
    except CacheNotFound:
        cached = []
    return [*neighbours, *cached]


def unknown_model(name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a model that is neither a folder nor in the local cache.

    Args:
        name: What was asked for.
        known: Names to suggest.
    """
    error = unknown("model", name, known)
    if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name):
        return error
    hint = str(error).partition("; ")[2]
    return UsageError(
        f"unknown model {name!r}: it is no folder, and no model in the local Hugging Face cache ({HF_HUB_CACHE}); "
        f"nothing is downloaded, so fetch it first (hf download {name}); {hint}"
    )


def base_hash(model: str | Path) -> str:
    """Return a hash (12 hexadecimal digits) of a folder's weight files or, without weight files, of the name."""
    files = weight_files(Path(model))
    if not files:
        return hashlib.sha256(str(model).encode()).hexdigest()[:12]
    return _hash_files(tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files))


@functools.cache
def _hash_files(files: Sequence[tuple[Path, int, int]]) -> str:
    """Hash the contents of files. Sizes and modification times are only part of the cache key."""
    digest = hashlib.sha256()
    for file, _, _ in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()[:12]


def model_version(model: str | Path, adapter: Path | None = None, chat_format: ChatFormat = DEFAULT_FORMAT) -> str:
    """Return the `LocalModel.version` of a model without loading it.

    Raises:
        UsageError: If the folder has no weights, `adapter` is not a PEFT folder, or the adapter was trained on another
            base model.
    """
    if Path(model).is_dir() and not weight_files(Path(model)):
        refuse_missing_weights(Path(model))
    base = base_hash(model)
    if adapter is None:
        return base + chat_format.suffix
    check_adapter(adapter)
    weights = adapter / "adapter_model.safetensors"
    digest = _hash_files(((weights, weights.stat().st_size, weights.stat().st_mtime_ns),))
    trained_on = _manifest(adapter).get("base_hash", base)
    if trained_on != base:
        raise UsageError(
            f"{adapter} was trained on base {trained_on}, but the hash of {str(model)!r} is {base}; use the base "
            "model of the adapter"
        )
    return f"{base}+{adapter.name}:{digest}{chat_format.suffix}"


def _manifest(adapter: Path) -> dict[str, Any]:
    """Return the manifest of an adapter, or an empty dictionary for adapters of other trainers."""
    try:
        return dict(parse_json(read_text(adapter / MANIFEST)))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise damaged(adapter, f"{MANIFEST} cannot be read ({str(error)[:200]})") from error


def with_adapter(network: Any, adapter: Path, *, trainable: bool = False) -> Any:
    """Return `network` with an adapter merged into it or, if `trainable`, attached to it.

    `model_version` checks whether the adapter belongs to the base model.
    """
    from peft import LoraConfig, PeftModel

    check_adapter(adapter)
    try:
        with quiet_transformers():
            check_adapter_weights(adapter)
            # What PEFT says about an adapter that cannot be used is said in one line.
            warnings.filterwarnings("ignore", category=UserWarning, module="peft")
            # PEFT only warns when no layer of the adapter exists in the network.
            warnings.filterwarnings("error", message="Found missing adapter keys")
            config = LoraConfig(**needed_config(adapter), init_lora_weights=True)
            adapted = PeftModel.from_pretrained(network, str(adapter), is_trainable=trainable, config=config)
            if trainable:
                return adapted
            untie_adapted(adapted.get_base_model())
            return adapted.merge_and_unload()
    except UsageError:
        raise
    except KeyError as error:
        # PEFT looks up each module of `modules_to_save` in the weights.
        why = f"adapter_model.safetensors has no weight {error}, which adapter_config.json asks for"
        raise damaged(adapter, why) from error
    except Exception as error:
        raise damaged(adapter, _first_line(error)) from error


@contextlib.contextmanager
def readable(problem: str, remedy: str) -> Iterator[None]:
    """Convert errors of transformers, which raises all kinds for damaged files, to `UsageError`s."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{problem} ({_first_line(error)}); {remedy}") from error
    except BaseException as error:
        # Libraries written in Rust panic with an exception of their own.
        if type(error).__name__ != "PanicException":
            raise
        raise UsageError(f"{problem} ({_first_line(error)}); {remedy}") from error


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Disable the progress bars and the log of transformers, and the deprecation warnings that PEFT causes.

    What the log says about a model that cannot be loaded is in the error too.
    """
    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity(CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    """Return the first line of an error message, and the second one if the first ends with a colon."""
    if "trust_remote_code" in str(error):
        return "it needs code of the folder (auto_map), which is never run; use a model that transformers itself knows"
    first, _, rest = (str(error).strip() or type(error).__name__).partition("\n")
    return " ".join([first, *(rest.strip().partition("\n")[:1] if first.endswith(":") else [])])[:200]
