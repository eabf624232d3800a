"""Checks of adapter folders before PEFT loads them.

An adapter may come from a stranger. Its configuration may hold only what a trained LoRA adapter needs: names and
numbers. PEFT would also take regular expressions, names of modules to import, and initialisations that take hours.
"""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from ...envs.reading import parse_json, read_text
from ...errors import UsageError
from .folder_checks import check_files, pickled_only, pickled_weights, tensor_shapes

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
MAX_RANK = 4096
MAX_SCALING = 1e4
"""Maximum of alpha / rank, the factor on the product of LoRA matrices."""
MAX_ADAPTER_BYTES = 1 << 33
"""Maximum size of each file of weights in an adapter, in bytes."""
_NAME = r"[\w-]+(\.[\w-]+)*"
_NEEDED = {"r", "lora_alpha", "lora_dropout", "bias", "target_modules", "exclude_modules", "modules_to_save"}
_NEEDED |= {"layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "target_parameters", "task_type"}
_NEEDED |= {"fan_in_fan_out", "use_rslora", "use_dora", "lora_bias", "ensure_weight_tying", "base_model_name_or_path"}
"""Fields of the configuration that PEFT gets."""
_IGNORED = {"peft_type", "peft_version", "revision", "auto_mapping", "inference_mode", "megatron_core"}
_IGNORED |= {"init_lora_weights", "qalora_group_size"}
_FLAGS = ("fan_in_fan_out", "use_rslora", "use_dora", "lora_bias", "ensure_weight_tying")
_CHOICES: dict[str, tuple[Any, ...]] = {
    "task_type": (None, "CAUSAL_LM"),
    "bias": ("none", "all", "lora_only"),
    # The others change the base's own weights, or compute for a long time.
    "init_lora_weights": (True, False, "gaussian", "orthogonal"),
    **dict.fromkeys(_FLAGS, (None, False, True)),
}


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
                raise pickled_only(str(adapter), pickled)
            raise UsageError(f"{adapter} has no {file}; expected a PEFT adapter folder such as run/adapters/agent@1")
    for path in sorted(adapter.glob("*.safetensors")):
        if path.stat().st_size > MAX_ADAPTER_BYTES:
            raise damaged(
                adapter, f"{path.name} has {path.stat().st_size:,} bytes; expected {MAX_ADAPTER_BYTES:,} at most"
            )
        try:
            tensor_shapes(path)
        except (OSError, ValueError) as error:
            raise damaged(adapter, f"{path.name}: {error}") from error
    _check_config(adapter, _config(adapter))


def needed_config(adapter: Path) -> dict[str, Any]:
    """Return the arguments for PEFT's `LoraConfig` from the configuration of an adapter that `check_adapter` passed."""
    config = _config(adapter)
    return {name: value for name, value in config.items() if name in _NEEDED and value is not None}


def _config(adapter: Path) -> dict[str, Any]:
    try:
        config = parse_json(read_text(adapter / ADAPTER_FILES[0]))
    except (OSError, ValueError) as error:
        raise damaged(adapter, f"{ADAPTER_FILES[0]} cannot be read ({str(error)[:200]})") from error
    if not isinstance(config, dict):
        raise damaged(adapter, f"{ADAPTER_FILES[0]} holds {str(config)[:40]!r}; expected a JSON object")
    return config


def _check_config(adapter: Path, config: dict[str, Any]) -> None:
    """Refuse what PEFT would take as a regular expression or as the name of a module to import."""
    if config.get("peft_type") != "LORA":
        raise damaged(adapter, f"its peft_type is {str(config.get('peft_type'))[:40]!r}; expected 'LORA'")
    if config.get("megatron_config") is not None:
        raise damaged(adapter, "it has a megatron_config, which names a module to import; expected none")
    for name, value in config.items():
        # PEFT notes the class of a network without `task_type` here; any other value is a module to import.
        foreign = name == "auto_mapping" and not _names_a_known_class(value)
        if value and (foreign or name not in _NEEDED | _IGNORED):
            raise damaged(
                adapter,
                f"it has the setting {name[:40]!r} = {str(value)[:40]!r}; expected a plain LoRA adapter without it",
            )
    for name, choices in _CHOICES.items():
        if name in config and not any(config[name] is each or config[name] == each for each in choices):
            known = ", ".join(map(repr, choices))
            raise damaged(adapter, f"{name} is {str(config[name])[:60]!r}; expected one of {known}")
    dropout, layers = config.get("lora_dropout", 0), config.get("layers_to_transform")
    if type(dropout) not in (int, float) or not 0 <= dropout <= 1:
        raise damaged(adapter, f"lora_dropout is {str(dropout)[:40]!r}; expected a number from 0 to 1")
    for layer in layers if isinstance(layers, list) else [layers or 0]:
        if type(layer) is not int or not 0 <= layer < 1 << 16:
            raise damaged(adapter, f"layers_to_transform names {str(layer)[:40]!r}; expected numbers of layers")
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


def _names_a_known_class(auto_mapping: Any) -> bool:
    """Return whether this is what PEFT writes for a model of transformers: it is ignored."""
    if not isinstance(auto_mapping, dict) or not auto_mapping.keys() <= {"base_model_class", "parent_library"}:
        return False
    library = auto_mapping.get("parent_library", "")
    return isinstance(library, str) and re.fullmatch(r"transformers\.models(\.\w+)*", library) is not None


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


def damaged(adapter: Path, why: str) -> UsageError:
    """Return the error for an adapter that cannot be used."""
    return UsageError(
        f"{adapter} is damaged or does not fit the model: {why}; load it with its own base model, or train it again"
    )
