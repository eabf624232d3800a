"""Seed families for tests, and packages with seed families that are installed into a folder for `sys.path`."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from door_env import FAMILY
from kintsugi.agents.models import Message


def upper_case_with_number(chat: Sequence[Message], rng: random.Random) -> list[Message]:
    """Put all messages but the first one in upper case and append a random number."""
    number = rng.randrange(1000)
    return [*chat[:1], *(replace(m, content=f"{m.content.upper()} {number}") for m in chat[1:])]


SMALL_FAMILY = replace(FAMILY, practice=7, epochs=2.5)
RENAMING_FAMILY = replace(SMALL_FAMILY, rename=upper_case_with_number, phrase_tokens=False, bpe_merges=30)
NOT_A_FAMILY = "no family"


def install(site: Path, package: str, files: Mapping[str, str] | None = None, **families: str) -> Path:
    """Write a package with entry points for `families` and with `files` into `site`, a folder for `sys.path`."""
    info = site / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {target}\n" for name, target in families.items()]
    (info / "entry_points.txt").write_text("".join(["[kintsugi.seeds]\n", *lines]))
    for name, text in (files or {}).items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    return site
