"""Random numbers that are the same on every version of Python and numpy, and on every platform."""

from __future__ import annotations

import hashlib
import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Floats = NDArray[np.float64]


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


class PortableGenerator:
    """A generator of arrays, drawn from the words of PCG64.

    numpy guarantees these words, but not what its `Generator` makes of them. The methods here use whole numbers and
    exactly rounded operations. `below`, `sample`, `permutation`, `random` and `uniform` give what `Generator` of numpy
    1.17 to 2.4 gives for the same seed.
    """

    def __init__(self, seed: int | np.random.SeedSequence) -> None:
        self._bits = np.random.PCG64(seed)
        self._half: int | None = None
        """The upper half of the last word, if only its lower half was used."""

    def random(self, *shape: int) -> Floats:
        """Return numbers in [0, 1), multiples of 2^-53."""
        words = self._bits.random_raw(int(np.prod(shape)))
        found: Floats = ((words >> np.uint64(11)) * np.float64(2.0**-53)).reshape(shape)
        return found

    def number(self) -> float:
        """Return one number in [0, 1), a multiple of 2^-53."""
        return float((int(self._bits.random_raw()) >> 11) * 2.0**-53)

    def uniform(self, low: float, high: float, *shape: int) -> Floats:
        """Return numbers in [`low`, `high`)."""
        return low + (high - low) * self.random(*shape)

    def normal(self, *shape: int) -> Floats:
        """Return numbers with mean 0 and variance 1, nearly normal: sums of 12 uniform numbers, in [-6, 6)."""
        words = self._bits.random_raw(6 * int(np.prod(shape))).reshape(*shape, 6)
        sums = (words >> np.uint64(32)).sum(axis=-1) + (words & np.uint64(0xFFFFFFFF)).sum(axis=-1)
        found: Floats = sums * np.float64(2.0**-32) - 6
        return found

    def geometric(self, mean: float) -> int:
        """Return the number of trials up to the first success, with success probability 1 / `mean`; `mean` > 1."""
        return max(1, math.ceil(math.log(1 - self.number()) / math.log1p(-1 / mean)))

    def below(self, n: int) -> int:
        """Return an integer in [0, n), for n up to 2^32 (D. Lemire, arXiv 1805.10941)."""
        if n == 1:
            return 0
        product = self._next_half() * n
        if product & 0xFFFFFFFF < n:
            least = (1 << 32) % n
            while product & 0xFFFFFFFF < least:
                product = self._next_half() * n
        return product >> 32

    def sample(self, n: int, k: int) -> list[int]:
        """Return `k` different integers in [0, n), in random order."""
        if n > 10_000 and k > n // 50:
            order = list(range(n))
            self._shuffle(order, max(n - k, 1))
            return order[n - k :]
        # Floyd's algorithm: R. W. Floyd and J. Bentley, A Sample of Brilliance, 1987.
        found: list[int] = []
        seen: set[int] = set()
        for top in range(n - k, n):
            drawn = self.below(top + 1)
            found.append(top if drawn in seen else drawn)
            seen.add(found[-1])
        self._shuffle(found, 1)
        return found

    def permutation(self, n: int) -> list[int]:
        """Return the integers in [0, n) in random order."""
        order = list(range(n))
        for last in range(n - 1, 0, -1):
            mask = (1 << last.bit_length()) - 1
            while (at := self._next_half() & mask) > last:
                pass
            order[last], order[at] = order[at], order[last]
        return order

    def _shuffle(self, items: list[int], first: int) -> None:
        for last in range(len(items) - 1, first - 1, -1):
            at = self.below(last + 1)
            items[last], items[at] = items[at], items[last]

    def _next_half(self) -> int:
        """Return the lower half of a word, and at the next call its upper half."""
        if self._half is not None:
            half, self._half = self._half, None
            return half
        word = int(self._bits.random_raw())
        self._half = word >> 32
        return word & 0xFFFFFFFF
