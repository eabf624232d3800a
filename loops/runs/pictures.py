"""`Pictures`: what attempts showed, as image files beside a run's database, each named by its content.

The same picture is one file however often it is seen, and an attempt that is played again finds its own there.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ...errors import UsageError

KINDS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"RIFF": "webp"}
"""How files begin, and what they are called then."""
NAME = r"[0-9a-f]{24}\.(png|jpg|webp)"
"""What names look like; whatever does not is no picture of ours."""
MOST_BYTES = 2_000_000
"""Larger pictures are not kept."""
MOST_IN_ALL = 2_000_000_000
"""Bytes of a run's pictures after which no more are kept."""


class Pictures:
    """The pictures of one run, in `folder`; it appears with the first of them."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES, most_in_all: int = MOST_IN_ALL) -> None:
        self.folder = folder
        self._most_bytes, self._most_in_all = most_bytes, most_in_all
        self._bytes: int | None = None

    def keep(self, picture: bytes) -> str:
        """Store a picture and name it; an empty name means that it was too large, or that there are too many.

        Raises `UsageError` for bytes that are no picture, and `OSError` where the disk does.
        """
        kind = next((kind for begins, kind in KINDS.items() if picture.startswith(begins)), None)
        if kind is None:
            raise UsageError(f"a picture that begins with {picture[:8]!r} is none; expected PNG, JPEG or WebP")
        name = f"{hashlib.sha256(picture).hexdigest()[:24]}.{kind}"
        place = self.folder / name
        if place.exists():
            return name
        if self._bytes is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._bytes = sum(path.stat().st_size for path in self.folder.iterdir())
        if len(picture) > self._most_bytes or self._bytes + len(picture) > self._most_in_all:
            return ""
        new = place.with_name(f".{name}.new")
        new.write_bytes(picture)
        new.rename(place)
        self._bytes += len(picture)
        return name
