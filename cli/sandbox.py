"""`kintsugi sandbox`: make the image that code runs in, and remove what killed runs left."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from ..envs.code.sandbox import cgroup, docker_engine, image
from ..envs.code.sandbox.core import Unavailable
from ..errors import MissingExtraError


@dataclass(frozen=True)
class BuildConfig:
    """How the image is made."""

    method: image.Method = "auto"
    """`debootstrap` needs root, `dockerfile` an image registry; `auto` is `debootstrap` where it can be had."""
    image: str = docker_engine.IMAGE
    """Name and tag."""
    force: bool = False
    """Make it again although it is there."""


@dataclass(frozen=True)
class CleanConfig:
    """What is removed."""

    all: bool = False
    """Also the containers of runs that are still alive."""


def build(config: BuildConfig, console: Console) -> None:
    """The command `kintsugi sandbox build`."""
    done = image.build(
        config.method, image=config.image, force=config.force, say=lambda text: console.print(Text(text))
    )
    console.print(Text(f"{config.image}: {done}"))


def clean(config: CleanConfig, console: Console) -> None:
    """The command `kintsugi sandbox clean`."""
    removed = cgroup.clean() + image.clean()
    try:
        removed += docker_engine.clean(docker_engine.connect(), everything=config.all)
    except (Unavailable, MissingExtraError) as error:
        console.print(Text(f"containers were not looked for: {error}"))
    for name in removed:
        console.print(Text(f"removed {name}"))
    console.print(Text(f"{len(removed)} left-overs removed" if removed else "nothing was left over"))
