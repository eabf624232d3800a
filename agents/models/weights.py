"""Weights on this machine: loading, naming and checking the folders of bases and adapters."""

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
"""Beside an adapter's files: what it was trained on."""
_UNFIT = (RuntimeError, ValueError, KeyError, TypeError, AttributeError, OSError, SafetensorError, UserWarning)
"""What PEFT raises for an adapter that is damaged or another model's."""


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
    if load_config(model) is None:
        raise unknown("model", str(model), known_models(model))
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"{str(model)!r} has no tokenizer that can be loaded ({_first_line(error)}); save one beside the model"
        ) from error
    ChatEncoder(tokenizer, repr(str(model)))
    return tokenizer


def load_config(model: str | Path) -> Any:
    """The configuration of a model; None when there is none of this name.

    Raises `UsageError` for a path that holds something else.
    """
    try:
        return AutoConfig.from_pretrained(model, local_files_only=True)
    except (OSError, ValueError) as error:
        if not Path(model).exists():
            return None
        raise UsageError(
            f"{str(model)!r} is no model that can be loaded ({_first_line(error)}); give a Hugging Face model folder"
        ) from error


def window_of(config: Any) -> int:
    """How many tokens a model of this configuration reads."""
    return int(getattr(config.get_text_config(), "max_position_embeddings", 1 << 30))


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


def _first_line(error: BaseException) -> str:
    """Of what an error says; with the second one where the first only announces it."""
    first, _, rest = str(error).strip().partition("\n")
    return " ".join([first, *(rest.strip().partition("\n")[:1] if first.endswith(":") else [])])[:200]
