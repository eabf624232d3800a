"""Checks of model and adapter folders before anything in them is loaded. Nothing in a folder is ever run.

A folder may come from a stranger. Each check raises `UsageError` with one line: for files that are no regular files
(devices and pipes can be read for ever), files of absurd size, pickled weights (loading them runs code), weights whose
size is not that in their header, and configurations of networks that the weights cannot fill. `adapter_check` checks
what is special to adapters, `tokenizer_check` tokenizers, and `template_render` chat templates.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ...envs.reading import parse_json, read_text
from ...errors import UsageError

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
"""File names of pickled weights."""
MAX_CONFIG_BYTES = 1 << 20
"""Maximum size of configurations and chat templates, in bytes."""
MAX_TEXT_BYTES = 1 << 26
"""Maximum size of other JSON and text files, such as the index of weights, in bytes."""
MAX_TOKENIZER_BYTES = 1 << 28
"""Maximum size of tokenizer.json, in bytes."""
MAX_HEADER_BYTES = 1 << 25
"""Maximum size of the header of a safetensors file, in bytes."""
MAX_LAYERS = 1000
"""Number of layers or experts that a configuration may name in any case."""
MAX_SIZE = 1 << 16
"""Other size that a configuration may name in any case."""
MAX_UNKNOWN_SIZE = 1 << 24
"""Size that a configuration may name if there are no weights to compare it with."""
_CONFIGS = ("config.json", "generation_config.json", "adapter_config.json", "kintsugi.json", "special_tokens_map.json")
_TEXTS = (".json", ".txt", ".jinja", ".model")
_COUNTS = re.compile(r"(^|_)(layers?|experts|blocks)$")
_SIZES = re.compile(r"size|dim|embd|heads?$|inner|hidden|intermediate|d_model|d_ff|rank|groups")
_LENGTHS = re.compile(r"window|block|chunk|context|max_")


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


# -- Models -----------------------------------------------------------------------------------------------------------


def check_model(folder: Path) -> None:
    """Check the files of a model folder, the index of its weights, and its configuration against their shapes.

    Raises:
        UsageError: See the module. A folder with an adapter is refused too, because transformers would load it by
            itself.
    """
    check_files(folder)
    if (folder / "adapter_config.json").exists():
        raise UsageError(
            f"{str(folder)!r} has an adapter within the model folder (adapter_config.json); move it to a folder of its "
            "own and pass that as --adapter"
        )
    for file in sorted(folder.glob("*.safetensors.index.json")):
        _check_index(file)
    try:
        config = parse_json(read_text(folder / "config.json"))
    except (OSError, ValueError):
        # Transformers says what is wrong with it.
        return
    try:
        shapes = [shape for file in weight_files(folder) for shape in tensor_shapes(file).values()]
    except (OSError, ValueError):
        # `check_weights` says what is wrong with it.
        shapes = []
    check_sizes(str(folder), config, shapes or [[MAX_UNKNOWN_SIZE]])


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files of a model folder."""
    return sorted(folder.glob("*.safetensors"))


def check_weights(folder: Path) -> None:
    """Raise `UsageError` if a weight file of a model folder is damaged or has another size than its header says."""
    for file in weight_files(folder):
        try:
            tensor_shapes(file)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{str(folder)!r}: the weights cannot be loaded ({file.name}: {error}); save or copy the model again"
            ) from error


def tensor_shapes(file: Path) -> dict[str, list[int]]:
    """Read only the header of a safetensors file and return the shapes of its tensors by name.

    Raises:
        ValueError: The header is damaged, or the file has another size than its header says.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > min(size - 8, MAX_HEADER_BYTES):
            raise ValueError(f"its header is damaged or longer than {MAX_HEADER_BYTES:,} bytes")
        header = stream.read(length)
    try:
        tensors = json.loads(header)
        tensors.pop("__metadata__", None)
        shapes = {name: list(tensor["shape"]) for name, tensor in tensors.items()}
        end = max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
        right = all(type(n) is int and n >= 0 for n in [end, *(n for shape in shapes.values() for n in shape)])
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"its header is damaged ({str(error)[:100]})") from error
    if not right:
        raise ValueError("its header is damaged (shapes and offsets are not counts)")
    if size != 8 + length + end:
        raise ValueError(f"it has {size:,} bytes, but its header says {8 + length + end:,}")
    return shapes


def _check_index(file: Path) -> None:
    """Refuse an index that names files outside the model folder, or files that are not safetensors."""
    try:
        names = json.loads(file.read_text(encoding="utf-8"))["weight_map"].values()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{file} cannot be read ({type(error).__name__}: {str(error)[:100]}); expected a weight_map from names of "
            "weights to names of files: save or copy the model again"
        ) from error
    for name in set(map(str, names)):
        plain = re.fullmatch(r"[\w-][\w.-]*\.safetensors", name)
        if not plain or not (file.parent / name).is_file():
            raise UsageError(
                f"{file} names {name[:80]!r}; expected the names of safetensors files in the same folder: save or copy "
                "the model again"
            )


def check_sizes(model: str, config: Any, shapes: list[list[int]], source: str = "config.json") -> None:
    """Refuse sizes that no weight has: a network of that size would be built before the weights are compared.

    Args:
        model: Name of the model for error messages.
        config: The configuration, as a dictionary.
        shapes: Shapes of the weights.
        source: Where the configuration stands, for error messages.

    Raises:
        UsageError: A size is too large, or the configuration names code to download.
    """
    largest = max((max(shape) for shape in shapes if shape), default=0)
    stacked = max((shape[0] for shape in shapes if len(shape) > 2), default=0)
    for name, value in _leaves(config):
        if "attn_implementation" in name and not re.fullmatch(r"\w*", str(value)):
            raise UsageError(
                f"{model!r}: {name} in {source} is {str(value)[:60]!r}, which names code to download; remove "
                "it from the file"
            )
        if type(value) not in (int, float) or (isinstance(value, float) and not math.isfinite(value)):
            continue
        if _COUNTS.search(name):
            limit, what = max(MAX_LAYERS, stacked, len(shapes)), f"{len(shapes)} tensors"
        elif _SIZES.search(name) and not _LENGTHS.search(name):
            limit, what = max(MAX_SIZE, largest), f"tensors of at most {largest} rows or columns"
        else:
            continue
        if abs(value) > limit:
            raise UsageError(
                f"{model!r}: {name} in {source} is {str(value)[:30]}, but the weights have {what}; save or "
                "copy the model again"
            )


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value within a configuration, with the innermost key that leads to it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            # A dictionary may give one attention for each part of the network.
            yield from _leaves(inner, name if "attn_implementation" in name else key)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, name)
    elif value is not None:
        yield name, value


def check_fit(network: Any, found: Mapping[str, Any]) -> None:
    """Raise `ValueError` if config.json describes another network than that of the weights.

    Args:
        network: The loaded network.
        found: What transformers says about the loading: names of missing, unexpected and mismatched weights.
    """
    if missing := sorted(found["missing_keys"]):
        raise ValueError(f"{len(missing)} weights are missing, such as {missing[0]}")
    for name, held, wanted in sorted(found["mismatched_keys"]):
        raise ValueError(f"{name} has shape {list(held)}, but config.json gives it {list(wanted)}")
    modules = dict(network.named_modules())
    for name in sorted(found["unexpected_keys"]):
        # Other programs may add parts to a model, but nothing to its layers.
        layers = re.match(r"(.*?)\.\d+\.", name)
        for prefix in ("", f"{network.base_model_prefix}."):
            if layers and isinstance(modules.get(prefix + layers[1]), torch.nn.ModuleList):
                count = len(modules[prefix + layers[1]])
                raise ValueError(
                    f"they hold {name}, but the network of config.json has {count} of these layers and no place for it"
                )


def check_tokens(network: Any, tokenizer: Any, name: str) -> None:
    """Raise `UsageError` if a token of the tokenizer has no row in the network's input embedding."""
    rows = network.get_input_embeddings().weight.shape[0]
    vocabulary = tokenizer.get_vocab()
    for token in (max(vocabulary, key=vocabulary.__getitem__), min(vocabulary, key=vocabulary.__getitem__)):
        if not 0 <= vocabulary[token] < rows:
            raise UsageError(
                f"{name}: its tokenizer gives the token {token[:40]!r} the id {vocabulary[token]}, but the network has "
                f"ids from 0 to {rows - 1}; save the model with a tokenizer that fits"
            )


@torch.inference_mode()
def check_outputs(network: Any, name: str) -> None:
    """Run the network on a few tokens and raise `UsageError` if its outputs are not finite.

    Finite weights and settings can still overflow, for example in the product of an adapter's matrices.
    """
    rows = network.get_input_embeddings().weight.shape[0]
    ids = torch.arange(8, device=next(network.parameters()).device).clamp(max=rows - 1).repeat(2, 1)
    # Without padding, some attention kernels hide NaN.
    mask = torch.ones_like(ids)
    mask[1, -1] = 0
    training = network.training
    try:
        logits = network.eval()(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        problem = " ".join(str(error).split())[:160]
        raise UsageError(f"{name}: the network fails on a text ({problem}); save or copy the model again") from error
    finally:
        network.train(training)
    if not bool(torch.isfinite(torch.logsumexp(logits.float(), -1)).all()):
        raise not_finite(name)


def not_finite(name: str) -> UsageError:
    """Return the error for a model whose outputs are NaN or infinite."""
    return UsageError(
        f"{name}: its outputs are not finite numbers, so its weights or settings (such as rms_norm_eps, rope_theta or "
        "lora_alpha) are too large or damaged; use another model or adapter"
    )


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
        raise pickled_only(repr(str(folder)), pickled)
    raise UsageError(f"{str(folder)!r} has no weights (*.safetensors); expected a Hugging Face model folder")


def pickled_only(folder: str, files: list[Path]) -> UsageError:
    """Return the error for a folder whose only weights are pickled."""
    return UsageError(
        f"{folder} has only pickled weights ({files[0].name}), and loading them would run code of the folder; save the "
        "weights as safetensors"
    )
