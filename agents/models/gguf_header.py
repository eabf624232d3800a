"""The header of a GGUF file, checked before transformers reads the file.

Whoever trusts the counts in a damaged header may read without end. Here each count is compared with what the file
holds. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_HEADER_BYTES = 1 << 28
"""Maximum size of the header, in bytes. That of a model with 256,000 tokens has about 16 MB."""
MAX_TENSORS = 1 << 17
MAX_DIMENSIONS = 4
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Formats of the numbers that metadata may hold, by their code in the file."""
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class Header:
    """What a GGUF file says about itself."""

    metadata: dict[str, Any]
    """Numbers and strings by key; of an array, only its length."""
    shapes: list[list[int]]
    """Shapes of the tensors."""

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return sum(math.prod(shape) for shape in self.shapes)


class _Reader:
    """Reads a file from its beginning, and raises `ValueError` at its end."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream, self.size, self.position = stream, size, 0

    def take(self, count: int) -> bytes:
        if self.position + count > self.size:
            raise ValueError(f"it ends after {self.size:,} bytes, within its header")
        self.position += count
        if self.position > MAX_HEADER_BYTES:
            raise ValueError(f"its header has more than {MAX_HEADER_BYTES:,} bytes")
        return self.stream.read(count)

    def number(self, kind: str) -> Any:
        return struct.unpack(f"<{kind}", self.take(struct.calcsize(f"<{kind}")))[0]

    def text(self) -> str:
        return self.take(self.number("Q")).decode("utf-8")

    def value(self) -> Any:
        kind = self.number("I")
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.number(_format(kind))
        kind, count = self.number("I"), self.number("Q")
        if kind != _STRING:
            self.take(struct.calcsize(_format(kind)) * count)
            return count
        for _ in range(count):
            self.take(self.number("Q"))
        return count


def read_header(file: Path) -> Header:
    """Read the header of a GGUF file.

    Raises:
        ModuleNotFoundError: The library `gguf` is not installed.
        ValueError: The file is no GGUF file, its header is damaged, or it is shorter than the header says.
        OSError: The file cannot be read, or is no regular file.
    """
    from gguf import GGML_QUANT_SIZES

    if not file.is_file():
        raise OSError("it is not a regular file")
    with file.open("rb") as stream:
        reader = _Reader(stream, os.fstat(stream.fileno()).st_size)
        if reader.size < len(MAGIC) or reader.take(4) != MAGIC:
            raise ValueError("it does not begin with the letters GGUF")
        if (version := reader.number("I")) not in VERSIONS:
            raise ValueError(f"its version is {version}; expected {' or '.join(map(str, VERSIONS))}")
        tensors, keys = reader.number("Q"), reader.number("Q")
        if tensors > MAX_TENSORS:
            raise ValueError(f"it has {tensors:,} tensors; expected at most {MAX_TENSORS:,}")
        metadata = {reader.text(): reader.value() for _ in range(keys)}
        sizes = {int(kind): (values, size) for kind, (values, size) in GGML_QUANT_SIZES.items()}
        shapes, end = [], 0
        for _ in range(tensors):
            name, dimensions = reader.text(), reader.number("I")
            if not 0 < dimensions <= MAX_DIMENSIONS:
                raise ValueError(f"tensor {name[:60]!r} has {dimensions:,} dimensions")
            shape = [reader.number("Q") for _ in range(dimensions)]
            kind, offset = reader.number("I"), reader.number("Q")
            if kind not in sizes:
                raise ValueError(f"tensor {name[:60]!r} has the type {kind}, which the installed gguf does not know")
            values, size = sizes[kind]
            shapes.append(shape)
            end = max(end, offset + math.prod(shape) // values * size)
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise ValueError(f"its alignment is {alignment!r:.60}")
        needed = -(-reader.position // alignment) * alignment + end
        if reader.size < needed:
            raise ValueError(f"it has {reader.size:,} bytes, but its header says {needed:,}")
    return Header(metadata, shapes)


def _format(kind: int) -> str:
    if kind not in _FORMATS:
        raise ValueError(f"its metadata has a value of type {kind}")
    return _FORMATS[kind]
