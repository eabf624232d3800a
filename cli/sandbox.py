"""`kintsugi sandbox`: build the image of sandbox containers, and remove leftovers of killed runs."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from ..envs.code.sandbox import cgroup, docker_engine, image
from ..envs.code.sandbox.core import Unavailable
from ..errors import MissingExtraError


@dataclass(frozen=True)
class BuildConfig:
    """Settings of `kintsugi sandbox build`."""

    method: image.Method = "auto"
    """`debootstrap` needs root, `dockerfile` needs an image registry, `auto` uses `debootstrap` if possible."""
    image: str = docker_engine.IMAGE
    """Name and tag of the image."""
    force: bool = False
    """Build the image even if it already exists."""


@dataclass(frozen=True)
class CleanConfig:
    """Settings of `kintsugi sandbox clean`."""

    all: bool = False
    """Remove all sandbox containers, including those in use."""


def build(config: BuildConfig, console: Console) -> None:
    """Run the command `kintsugi sandbox build`."""
    outcome = image.build(
        config.method, image=config.image, force=config.force, log=lambda text: console.print(Text(text))
    )
    console.print(Text(f"{config.image}: {outcome}"))


def clean(config: CleanConfig, console: Console) -> None:
    """Run the command `kintsugi sandbox clean`."""
    removed = cgroup.clean() + image.clean()
    try:
        removed += docker_engine.clean(docker_engine.connect(), everything=config.all)
    except (Unavailable, MissingExtraError) as error:
        console.print(Text(f"containers were not checked: {error}"))
    for name in removed:
        console.print(Text(f"removed {name}"))
    console.print(Text(f"leftovers removed: {len(removed)}" if removed else "no leftovers found"))
