"""Seed families for tests, and packages that bring families, which are written to a folder for `sys.path`."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from door_env import FAMILY
from kintsugi.agents.models import Message


def shouted(chat: Sequence[Message], rng: random.Random) -> list[Message]:
    """All but the system's turn in capitals, and a number that is drawn."""
    number = rng.randrange(1000)
    return [*chat[:1], *(replace(m, content=f"{m.content.upper()} {number}") for m in chat[1:])]


FEW = replace(FAMILY, practice=7, epochs=2.5)
LOUD = replace(FEW, renamed=shouted, phrases=False, pieces=30)
NOTHING = "no family"


def install(site: Path, package: str, files: Mapping[str, str] | None = None, **families: str) -> Path:
    """A folder for `sys.path` with a package whose entry points offer these seed families; `files` are its own."""
    info = site / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {target}\n" for name, target in families.items()]
    (info / "entry_points.txt").write_text("".join(["[kintsugi.seeds]\n", *lines]))
    for name, text in (files or {}).items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    return site
