"""Checks of model and adapter folders before anything in them is loaded. Nothing in a folder is ever run.

A folder may come from a stranger. Each check raises `UsageError` with one line: for files that are no regular files
(devices and pipes can be read for ever), files of absurd size, pickled weights (loading them runs code), adapters whose
configuration is more than names and numbers, and weights that are not finite.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from ...envs.reading import parse_json, read_text
from ...errors import UsageError

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
"""File names of pickled weights."""
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
MAX_CONFIG_BYTES = 1 << 20
"""Maximum size of configurations and chat templates, in bytes."""
MAX_TEXT_BYTES = 1 << 26
"""Maximum size of other JSON and text files, such as the index of weights, in bytes."""
MAX_TOKENIZER_BYTES = 1 << 28
"""Maximum size of tokenizer.json, in bytes."""
MAX_RANK = 4096
MAX_SCALING = 1e4
"""Maximum of alpha / rank, the factor on the product of LoRA matrices."""
_CONFIGS = ("config.json", "generation_config.json", "adapter_config.json", "kintsugi.json", "special_tokens_map.json")
_TEXTS = (".json", ".txt", ".jinja", ".model")
_NAME = r"[\w-]+(\.[\w-]+)*"


def check_files(folder: Path) -> None:
    """Check kinds and sizes of the files in a model or adapter folder.

    Raises:
        UsageError: A file is a device, pipe or socket, or absurdly large.
    """
    for path in _entries(folder):
        if path.is_dir() or not path.exists():
            continue
        if not path.is_file():
            raise UsageError(f"{path} is a device, pipe or socket; expected a regular file: copy the model again")
        limit, size = _limit(path), path.stat().st_size
        if limit is not None and size > limit:
            raise UsageError(
                f"{path} has {size:,} bytes; expected at most {limit:,} in a file of this kind: copy the model again, "
                "or use another one"
            )


def _entries(folder: Path) -> Iterable[Path]:
    try:
        yield from sorted(folder.iterdir())
        templates = folder / "additional_chat_templates"
        if templates.is_dir():
            yield from sorted(templates.iterdir())
    except OSError as error:
        raise UsageError(f"{folder} cannot be read ({error}); fix the cause or name another folder") from error


def _limit(path: Path) -> int | None:
    if path.name in _CONFIGS or path.suffix == ".jinja":
        return MAX_CONFIG_BYTES
    if path.name == "tokenizer.json":
        return MAX_TOKENIZER_BYTES
    return MAX_TEXT_BYTES if path.suffix in _TEXTS else None


def check_adapter(adapter: Path) -> None:
    """Check an adapter's files, its configuration, and the shapes of its weights.

    Raises:
        UsageError: The folder is no PEFT folder with safetensors, or its configuration is damaged or holds a regular
            expression or absurd numbers.
    """
    if os.path.isdir(adapter):
        check_files(adapter)
    for file in ADAPTER_FILES:
        # Unlike the methods of `Path`, these raise no error for a name that is too long or may not be read.
        if not os.path.isfile(adapter / file):
            if file.endswith(".safetensors") and (pickled := pickled_weights(adapter)):
                raise UsageError(_pickled(str(adapter), pickled))
            raise UsageError(f"{adapter} has no {file}; expected a PEFT adapter folder such as run/adapters/agent@1")
    try:
        config = parse_json(read_text(adapter / ADAPTER_FILES[0]))
    except (OSError, ValueError) as error:
        raise damaged(adapter, f"{ADAPTER_FILES[0]} cannot be read ({str(error)[:200]})") from error
    if not isinstance(config, dict):
        raise damaged(adapter, f"{ADAPTER_FILES[0]} holds {str(config)[:40]!r}; expected a JSON object")
    _check_config(adapter, config)


def _check_config(adapter: Path, config: dict[str, Any]) -> None:
    """Refuse what PEFT would take as a regular expression or as the name of a module to import."""
    if config.get("peft_type") != "LORA":
        raise damaged(adapter, f"its peft_type is {str(config.get('peft_type'))[:40]!r}; expected 'LORA'")
    if config.get("megatron_config") is not None:
        raise damaged(adapter, "it has a megatron_config, which names a module to import; expected none")
    rank, alpha = config.get("r", 8), config.get("lora_alpha", 8)
    patterns = {name: config.get(name) or {} for name in ("rank_pattern", "alpha_pattern")}
    for name, pattern in patterns.items():
        if not isinstance(pattern, dict):
            raise damaged(adapter, f"{name} is {str(pattern)[:60]!r}; expected names of modules with a number each")
    for value in (rank, *patterns["rank_pattern"].values()):
        if type(value) is not int or not 1 <= value <= MAX_RANK:
            raise damaged(adapter, f"its LoRA rank is {str(value)[:40]!r}; expected an integer from 1 to {MAX_RANK}")
    least = min((rank, *patterns["rank_pattern"].values()))
    for value in (alpha, *patterns["alpha_pattern"].values()):
        number = type(value) in (int, float) and math.isfinite(value)
        if not number or abs(value) > MAX_SCALING * least:
            raise damaged(
                adapter, f"its lora_alpha is {str(value)[:40]!r}; expected a number of at most {MAX_SCALING:g} x rank"
            )
    names: dict[str, Any] = {
        name: config.get(name)
        for name in ("target_modules", "exclude_modules", "modules_to_save", "layers_pattern", "target_parameters")
    }
    if names["target_modules"] == "all-linear":
        names["target_modules"] = None
    if isinstance(names["layers_pattern"], str):
        names["layers_pattern"] = [names["layers_pattern"]] if names["layers_pattern"] else None
    for name, pattern in patterns.items():
        names[name] = list(pattern)
    for name, listed in names.items():
        if listed is None:
            continue
        if isinstance(listed, str) or not isinstance(listed, list):
            raise damaged(
                adapter,
                f"{name} is {str(listed)[:60]!r}, a pattern; expected a list of module names such as q_proj: write out "
                "the names",
            )
        for item in listed:
            if not isinstance(item, str) or not re.fullmatch(_NAME, item):
                raise damaged(adapter, f"{name} names {str(item)[:60]!r}; expected the name of a module such as q_proj")


def check_adapter_weights(adapter: Path) -> None:
    """Read the weights of an adapter and check that they are finite and have the rank that its configuration names.

    Raises:
        UsageError: A weight is NaN or infinite, or a matrix has another rank.
        SafetensorError: The file is damaged.
    """
    config = json.loads((adapter / ADAPTER_FILES[0]).read_text(encoding="utf-8"))
    for file in sorted(adapter.glob("*.safetensors")):
        with safe_open(str(file), framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                shape = tensors.get_slice(name).get_shape()
                if name.endswith("lora_A.weight") and not config.get("rank_pattern") and shape[0] != config.get("r", 8):
                    raise damaged(adapter, f"{name} has rank {shape[0]}; adapter_config.json says {config.get('r', 8)}")
                if not bool(torch.isfinite(tensors.get_tensor(name).float()).all()):
                    raise damaged(adapter, f"{name} in {file.name} holds values that are not finite")


def check_finite(network: Any, name: str) -> None:
    """Raise `UsageError` if a weight of a network is NaN or infinite."""
    for parameter, value in network.named_parameters():
        if not bool(torch.isfinite(value).all()):
            raise UsageError(
                f"{name}: its weight {parameter} holds values that are not finite; save or copy the model again"
            )


def pickled_weights(folder: Path) -> list[Path]:
    """Return the files of a folder that hold pickled weights."""
    return sorted(path for pattern in PICKLED for path in folder.glob(pattern) if path.name != "training_args.bin")


def refuse_missing_weights(folder: Path) -> None:
    """Raise the `UsageError` for a model folder without safetensors."""
    if pickled := pickled_weights(folder):
        raise UsageError(_pickled(repr(str(folder)), pickled))
    raise UsageError(f"{str(folder)!r} has no weights (*.safetensors); expected a Hugging Face model folder")


def _pickled(folder: str, files: list[Path]) -> str:
    return (
        f"{folder} has only pickled weights ({files[0].name}), and loading them would run code of the folder; save the "
        "weights as safetensors"
    )


def damaged(adapter: Path, why: str) -> UsageError:
    """Return the error for an adapter that cannot be used."""
    return UsageError(
        f"{adapter} is damaged or does not fit the model: {why}; load it with its own base model, or train it again"
    )
