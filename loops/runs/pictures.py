"""`Pictures`: the image files in a run's folder, such as screenshots of web pages.

Files are named by a hash of their content, so equal pictures share one file.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ...errors import UsageError

FORMATS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"RIFF": "webp"}
"""File name extensions by the first bytes of a file."""
NAME = r"[0-9a-f]{24}\.(png|jpg|webp)"
"""Regular expression of the file names."""
MAX_PICTURE_BYTES = 2_000_000
"""Maximum size of a stored picture."""
MAX_TOTAL_BYTES = 2_000_000_000
"""Maximum size of all stored pictures of a run."""


class Pictures:
    """The pictures of one run, in `folder`, which is created with the first picture."""

    def __init__(
        self, folder: Path, max_bytes: int = MAX_PICTURE_BYTES, max_total_bytes: int = MAX_TOTAL_BYTES
    ) -> None:
        self.folder = folder
        self._max_bytes, self._max_total_bytes = max_bytes, max_total_bytes
        self._bytes: int | None = None

    def save(self, picture: bytes) -> str:
        """Store a picture.

        Args:
            picture: Content of a PNG, JPEG or WebP file.

        Returns:
            Name of the file; empty if the picture, or all pictures together, would be too large.

        Raises:
            UsageError: The content has another format.
            OSError: The disk failed.
        """
        extension = next((extension for start, extension in FORMATS.items() if picture.startswith(start)), None)
        if extension is None:
            raise UsageError(f"a picture starts with {picture[:8]!r}; expected PNG, JPEG or WebP")
        name = f"{hashlib.sha256(picture).hexdigest()[:24]}.{extension}"
        path = self.folder / name
        if path.exists():
            return name
        if self._bytes is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._bytes = sum(file.stat().st_size for file in self.folder.iterdir())
        if len(picture) > self._max_bytes or self._bytes + len(picture) > self._max_total_bytes:
            return ""
        new = path.with_name(f".{name}.new")
        new.write_bytes(picture)
        new.rename(path)
        self._bytes += len(picture)
        return name
