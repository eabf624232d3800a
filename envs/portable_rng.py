"""Random numbers that are the same on every Python version and platform."""

from __future__ import annotations

import hashlib
import random
from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def seed_from_text(text: str) -> int:
    """Return a 53-bit seed from the SHA-256 of a text. JSON numbers hold 53 bits exactly in every language."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 11


class PortableRng:
    """A generator that uses only `random.Random.random`, whose sequence Python guarantees for all versions."""

    __slots__ = ("_random",)

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed_from_text(seed) if isinstance(seed, str) else seed).random

    def below(self, n: int) -> int:
        """Return an integer in [0, n)."""
        return int(self._random() * n)

    def between(self, low: int, high: int) -> int:
        """Return an integer in [low, high]."""
        return low + int(self._random() * (high - low + 1))

    def choice(self, items: Sequence[T]) -> T:
        """Return one of `items`, uniformly."""
        return items[int(self._random() * len(items))]

    def weighted(self, items: Sequence[T], cumulative_weights: Sequence[float]) -> T:
        """Return one of `items`, with probabilities proportional to their weights."""
        return items[min(bisect_right(cumulative_weights, self._random() * cumulative_weights[-1]), len(items) - 1)]

    def sample(self, items: Sequence[T], n: int) -> list[T]:
        """Return `n` of `items` without replacement, in random order."""
        remaining = list(items)
        return [remaining.pop(int(self._random() * len(remaining))) for _ in range(n)]

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self._random() < probability
