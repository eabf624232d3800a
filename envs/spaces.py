"""A Gymnasium space of Unicode strings; `gymnasium.spaces.Text` knows one alphabet and checks it letter by letter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gymnasium
import numpy as np

PRINTABLE = "".join(chr(c) for c in range(32, 127)) + "äößéñçøłžαβγδжийлмнопאבגد中文日本語한국어€≤→•…'\"“”🙂"


class UnicodeText(gymnasium.Space[str]):
    """Every string of at most `max_length` characters (code points), of any script.

    `sample` draws printable text with a few non-Latin letters from the space's own generator, so that samples are
    reproducible after `seed`. A probability or mask for sampling is not supported and raises `ValueError`.
    """

    def __init__(self, max_length: int, *, seed: int | np.random.Generator | None = None) -> None:
        if max_length < 1:
            raise ValueError(f"max_length is {max_length}; a text space needs room for at least 1 character")
        self.max_length = max_length
        super().__init__(dtype=str, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """False: a text of any script has no fixed shape."""
        return False

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> str:
        """At most 64 characters, of `PRINTABLE`."""
        if mask is not None or probability is not None:
            raise ValueError("UnicodeText.sample takes neither mask nor probability")
        length = int(self.np_random.integers(0, min(self.max_length, 64) + 1))
        return "".join(PRINTABLE[i] for i in self.np_random.integers(0, len(PRINTABLE), length))

    def contains(self, x: Any) -> bool:
        """Whether `x` is a string that is short enough."""
        return isinstance(x, str) and len(x) <= self.max_length

    def to_jsonable(self, sample_n: Iterable[str]) -> list[str]:
        """The samples themselves."""
        return list(sample_n)

    def from_jsonable(self, sample_n: list[Any]) -> list[str]:
        """What `to_jsonable` gave."""
        return [str(sample) for sample in sample_n]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnicodeText) and other.max_length == self.max_length

    def __hash__(self) -> int:
        return hash((UnicodeText, self.max_length))

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length})"
