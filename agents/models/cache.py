"""The user's cache: model folders that are built at first use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import platformdirs
from filelock import FileLock

from ...errors import UsageError


def cache_folder(kind: str) -> Path:
    """Return the folder `kind` in `$KINTSUGI_CACHE` or in the user's cache folder."""
    chosen = os.environ.get("KINTSUGI_CACHE")
    return (Path(chosen) if chosen else platformdirs.user_cache_path("kintsugi")) / kind


def build_once(folder: Path, build: Callable[[Path], None], what: str) -> Path:
    """Return a model folder of the cache; build it first if it is not there.

    It is built in a temporary folder that is renamed at the end, so an unfinished one is never used. If another process
    is building it, this call waits.

    Args:
        folder: The model folder.
        build: Writes the model into the folder that it is given.
        what: What is built, for error messages.

    Raises:
        UsageError: The cache cannot be written.
    """
    from safetensors import SafetensorError

    cache = folder.parent
    if (folder / "config.json").exists():
        return folder
    unfinished = cache / f".{folder.name}.unfinished"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # The operating system releases the lock of a killed process.
        with FileLock(cache / f".{folder.name}.lock"):
            if not folder.exists():
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                try:
                    build(unfinished)
                    unfinished.rename(folder)
                finally:
                    shutil.rmtree(unfinished, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise UsageError(
            f"cannot write {what} to {cache}: {error}; free some space, or set KINTSUGI_CACHE to another folder"
        ) from error
    return folder
