"""Random draws that are the same on every Python and every platform."""

from __future__ import annotations

import hashlib
import random
from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def seed_of(text: str) -> int:
    """A 53-bit seed from a text: SHA-256, cut to what JSON numbers carry everywhere."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 11


class PortableRng:
    """Draws built on `random.Random.random` alone, the one sequence that Python promises never to change."""

    __slots__ = ("_random",)

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed_of(seed) if isinstance(seed, str) else seed).random

    def below(self, n: int) -> int:
        """An integer in [0, n)."""
        return int(self._random() * n)

    def between(self, low: int, high: int) -> int:
        """An integer in [low, high]."""
        return low + int(self._random() * (high - low + 1))

    def choice(self, items: Sequence[T]) -> T:
        """One of `items`, all equally likely."""
        return items[int(self._random() * len(items))]

    def weighted(self, items: Sequence[T], sums: Sequence[float]) -> T:
        """One of `items`; `sums` are the running sums of their weights."""
        return items[min(bisect_right(sums, self._random() * sums[-1]), len(items) - 1)]

    def sample(self, items: Sequence[T], n: int) -> list[T]:
        """`n` different ones of `items`, in random order."""
        left = list(items)
        return [left.pop(int(self._random() * len(left))) for _ in range(n)]

    def chance(self, share: float) -> bool:
        """True in so large a share of draws."""
        return self._random() < share
