"""A Gymnasium space of Unicode strings. `gymnasium.spaces.Text` needs a fixed alphabet and checks every character."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gymnasium
import numpy as np

PRINTABLE = "".join(chr(c) for c in range(32, 127)) + "äößéñçøłžαβγδжийлмнопאבגد中文日本語한국어€≤→•…'\"“”🙂"


class UnicodeText(gymnasium.Space[str]):
    """The space of all strings of at most `max_length` characters (code points), in any script.

    Args:
        max_length: Maximum length in characters; at least 1.
        seed: Seed or generator of the samples.
    """

    def __init__(self, max_length: int, *, seed: int | np.random.Generator | None = None) -> None:
        if max_length < 1:
            raise ValueError(f"max_length is {max_length}; expected at least 1")
        self.max_length = max_length
        super().__init__(dtype=str, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """False: texts have no fixed shape."""
        return False

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> str:
        """Return up to 64 random characters of `PRINTABLE`, reproducible after `seed`.

        Raises:
            ValueError: If a mask or a probability is given; neither is supported.
        """
        if mask is not None or probability is not None:
            raise ValueError("UnicodeText.sample supports neither mask nor probability; call it without them")
        length = int(self.np_random.integers(0, min(self.max_length, 64) + 1))
        return "".join(PRINTABLE[i] for i in self.np_random.integers(0, len(PRINTABLE), length))

    def contains(self, x: Any) -> bool:
        """Return whether `x` is a string of at most `max_length` characters."""
        return isinstance(x, str) and len(x) <= self.max_length

    def to_jsonable(self, sample_n: Iterable[str]) -> list[str]:
        """Return the samples as a list."""
        return list(sample_n)

    def from_jsonable(self, sample_n: list[Any]) -> list[str]:
        """Return the samples from a result of `to_jsonable`."""
        return [str(sample) for sample in sample_n]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnicodeText) and other.max_length == self.max_length

    def __hash__(self) -> int:
        return hash((UnicodeText, self.max_length))

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length})"
