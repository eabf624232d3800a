"""Weights on this machine: loading, hashing and checking folders of base models and adapters."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import CacheNotFound, scan_cache_dir
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from ...errors import UsageError, unknown
from .chat import ChatEncoder

MANIFEST = "kintsugi.json"
"""File in an adapter's folder that names the base model and training settings."""
_ADAPTER_ERRORS = (RuntimeError, ValueError, KeyError, TypeError, AttributeError, OSError, SafetensorError, UserWarning)
"""Exceptions of PEFT for an adapter that is damaged or belongs to another model."""


def load_base(model: str | Path) -> tuple[Any, Any]:
    """Load the network (float32 without a GPU, else in the saved type) and tokenizer of a folder or cached model."""
    tokenizer = load_tokenizer(model)
    dtype = torch.float32 if not torch.cuda.is_available() else "auto"
    try:
        with quiet_transformers():
            return AutoModelForCausalLM.from_pretrained(model, dtype=dtype, local_files_only=True), tokenizer
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UsageError(
            f"{str(model)!r}: the weights cannot be loaded ({_first_line(error)}); save or copy the model again"
        ) from error


def load_tokenizer(model: str | Path) -> Any:
    """Load the tokenizer of a model. Raise `UsageError` if there is no such model or it cannot encode chats."""
    if load_config(model) is None:
        raise unknown("model", str(model), known_models(model))
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"{str(model)!r} has no tokenizer that can be loaded ({_first_line(error)}); save one in the model folder"
        ) from error
    ChatEncoder(tokenizer, repr(str(model)))
    return tokenizer


def load_config(model: str | Path) -> Any:
    """Return the configuration of a model, or None if there is no such model.

    Raises:
        UsageError: If the path exists but is not a model.
    """
    try:
        return AutoConfig.from_pretrained(model, local_files_only=True)
    except (OSError, ValueError) as error:
        if not Path(model).exists():
            return None
        raise UsageError(
            f"{str(model)!r} is not a model that can be loaded ({_first_line(error)}); "
            "expected a Hugging Face model folder"
        ) from error


def window_of(config: Any) -> int:
    """Return the context window of a model with this configuration, in tokens."""
    return int(getattr(config.get_text_config(), "max_position_embeddings", 1 << 30))


def known_models(wanted: str | Path) -> list[str]:
    """Return candidates for a mistyped model: model folders next to the path, and models in the local cache."""
    folder = Path(wanted).parent
    neighbours = [str(path.parent) for path in folder.glob("*/config.json")] if folder.is_dir() else []
    try:
        cached = [repo.repo_id for repo in scan_cache_dir().repos if repo.repo_type == "model"]
    except CacheNotFound:
        cached = []
    return [*neighbours, *cached]


def weight_files(model: str | Path) -> list[Path]:
    """Return the weight files of a model folder."""
    return sorted(Path(model).glob("*.safetensors")) or sorted(Path(model).glob("*.bin"))


def base_hash(model: str | Path) -> str:
    """Return a hash (12 hexadecimal digits) of a folder's weight files or, without weight files, of the name."""
    files = weight_files(model)
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


def model_version(model: str | Path, adapter: Path | None = None) -> str:
    """Return the `LocalModel.version` of a model without loading it.

    Raises:
        UsageError: If the folder has no weights, `adapter` is not a PEFT folder, or the adapter was trained on another
            base model.
    """
    if Path(model).is_dir() and not weight_files(model):
        raise UsageError(
            f"{str(model)!r} has no weights (*.safetensors or *.bin); expected a Hugging Face model folder"
        )
    base = base_hash(model)
    if adapter is None:
        return base
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        if not (adapter / file).is_file():
            raise UsageError(f"{adapter} has no {file}; expected a PEFT adapter folder such as run/adapters/agent@1")
    digest = hashlib.sha256((adapter / "adapter_model.safetensors").read_bytes()).hexdigest()[:12]
    trained_on = _manifest(adapter).get("base_hash", base)
    if trained_on != base:
        raise UsageError(
            f"{adapter} was trained on base {trained_on}, but the hash of {str(model)!r} is {base}; use the base "
            "model of the adapter"
        )
    return f"{base}+{adapter.name}:{digest}"


def _manifest(adapter: Path) -> dict[str, Any]:
    """Return the manifest of an adapter, or an empty dictionary for adapters of other trainers."""
    try:
        return dict(json.loads((adapter / MANIFEST).read_text()))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"{adapter} is damaged or does not fit the model: {MANIFEST} cannot be read ({error}); train the "
            "adapter again"
        ) from error


def with_adapter(network: Any, adapter: Path, *, trainable: bool = False) -> Any:
    """Return `network` with an adapter merged into it or, if `trainable`, attached to it.

    `model_version` checks whether the adapter belongs to the base model.
    """
    from peft import PeftModel

    try:
        with quiet_transformers():
            # PEFT only warns when no layer of the adapter exists in the network.
            warnings.filterwarnings("error", message="Found missing adapter keys")
            adapted = PeftModel.from_pretrained(network, str(adapter), is_trainable=trainable)
            return adapted if trainable else adapted.merge_and_unload()
    except _ADAPTER_ERRORS as error:
        raise UsageError(
            f"{adapter} is damaged or does not fit the model: {_first_line(error)}; "
            "load it with its own base model, or train it again"
        ) from error


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Disable the progress bars of transformers, and the deprecation warnings that PEFT causes."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    """Return the first line of an error message, and the second one if the first ends with a colon."""
    first, _, rest = str(error).strip().partition("\n")
    return " ".join([first, *(rest.strip().partition("\n")[:1] if first.endswith(":") else [])])[:200]
