"""`kintsugi seed`: make the seed policy, or find it in the cache."""

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
    """Which seed policy is made."""

    family: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")] = "household"
    """The environment that it is for."""
    demonstrations: int | None = None
    """Expert episodes to imitate; None is the usual number for this environment."""
    tokens: int | None = None
    """Training stops after so many; None is the usual number for this environment."""
    seed: int = 0
    """Another number is another seed policy."""
    out: Path | None = None
    """Also copy it to this folder."""


def run(config: SeedConfig, console: Console) -> None:
    """The command `kintsugi seed`."""
    recipe = recipe_of(config.family).reseeded(config.seed)
    if config.demonstrations is not None:
        recipe = replace(recipe, demonstrations=config.demonstrations)
    if config.tokens is not None:
        recipe = replace(recipe, pretrain=replace(recipe.pretrain, tokens=config.tokens))
    folder = made(recipe, console)
    if config.out is not None:
        folder = _copied(folder, config.out)
    console.print(str(folder), soft_wrap=True, highlight=False)


def made(recipe: SeedRecipe, console: Console) -> Path:
    """The folder of the seed policy, with a progress bar while it is made."""
    from ..loops.seeds.recipe import seed_model

    with bar(console) as watch:
        return seed_model(recipe, progress=lambda what, share: watch(f"seed policy {recipe.family}: {what}", share))


def _copied(folder: Path, out: Path) -> Path:
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty; name a new folder for the seed policy")
    shutil.copytree(folder, out, dirs_exist_ok=True)
    return out
