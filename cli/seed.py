"""`kintsugi seed`: train the seed policy of an environment, or find it in the cache."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from ..benchmarks.progress import bar
from ..errors import UsageError
from ..loops.seeds.family import SeedRecipe
from ..loops.seeds.registry import recipe_of


@dataclass(frozen=True)
class SeedConfig:
    """Settings of `kintsugi seed`."""

    family: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")] = "household"
    """Short name of the environment."""
    demonstrations: int | None = None
    """Number of expert episodes to imitate; by default that of the environment's recipe."""
    tokens: int | None = None
    """Number of training tokens; by default that of the environment's recipe."""
    seed: int = 0
    """Random seed; each seed gives a different seed policy."""
    out: Path | None = None
    """Folder to copy the seed policy to; it must be new or empty."""


def run(config: SeedConfig, console: Console) -> None:
    """Run `kintsugi seed`."""
    recipe = recipe_of(config.family).with_seed_offset(config.seed)
    if config.demonstrations is not None:
        recipe = replace(recipe, demonstrations=config.demonstrations)
    if config.tokens is not None:
        recipe = replace(recipe, pretrain=replace(recipe.pretrain, tokens=config.tokens))
    folder = build_with_progress_bar(recipe, console)
    if config.out is not None:
        folder = _copy(folder, config.out)
    console.print(str(folder), soft_wrap=True, highlight=False)


def build_with_progress_bar(recipe: SeedRecipe, console: Console) -> Path:
    """Return the folder of the seed policy; show a progress bar while it is trained."""
    from ..loops.seeds.recipe import seed_model

    with bar(console) as on_status:
        return seed_model(recipe, progress=lambda what, share: on_status(f"seed policy {recipe.family}: {what}", share))


def _copy(folder: Path, out: Path) -> Path:
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty; expected a new or empty folder; choose another --out")
    shutil.copytree(folder, out, dirs_exist_ok=True)
    return out
