"""Assignment of conversations to slots, the rows of the key/value cache."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Assignment:
    """Where the conversations of a batch are, and how the cache has to change first."""

    places: list[tuple[int, int]]
    """Slot and number of cached tokens for each prompt."""
    copies: list[tuple[int, int, int]]
    """Source, target and length of the prefixes to copy, before the exchanges."""
    exchanges: list[tuple[int, int, int]]
    """Pairs of slots to exchange, up to a length. After them, the slots of the batch are consecutive."""


class _Prompt(Protocol):
    ids: list[int]
    turn_ends: list[int]


class SlotTable:
    """Maps prompts to slots. A prompt gets the slot with its longest cached prefix, or the least recently used slot.

    Prefixes end at turns. A slot holds keys and values of all its tokens but the last, which was sampled but never fed
    to the network.
    """

    def __init__(self, slots: int) -> None:
        self._slot_ids: list[list[int]] = [[] for _ in range(slots)]
        self._prefixes: list[list[tuple[int, int]]] = [[] for _ in range(slots)]
        self._slot_of: dict[int, int] = {}
        self._last_used = [0] * slots
        self._clock = 0

    def assign(self, prompts: Sequence[_Prompt], reuse: bool) -> Assignment:
        """Assign a slot to each prompt.

        The slots are consecutive, so that the network reads their keys and values without a copy. Conversations that
        are in the way are exchanged with those of the batch, and stay in the cache.

        Args:
            prompts: At most as many prompts as there are slots.
            reuse: Whether to use cached prefixes.
        """
        self._clock += 1
        slots = len(self._last_used)
        prefixes = [self._find_prefix(prompt) if reuse else None for prompt in prompts]
        owner: dict[int, int] = {}
        for i, match in enumerate(prefixes):
            if match is not None and match[0] not in owner:
                owner[match[0]] = i
        free = iter(sorted((s for s in range(slots) if s not in owner), key=lambda s: (self._last_used[s], s)))
        places: list[tuple[int, int]] = []
        copies: list[tuple[int, int, int]] = []
        for i, match in enumerate(prefixes):
            if match is not None and owner.get(match[0]) == i:
                places.append(match)
                continue
            target = next(free)
            if match is not None:
                copies.append((match[0], target, match[1]))
            places.append((target, match[1] if match else 0))
        for slot, length in places:
            self._last_used[slot] = self._clock
            if slot not in owner:
                length = 0
            self._drop_prefixes(slot, beyond=length + 1)
        cached = dict(places)
        pairs = _pairs_to_exchange(cached, slots)
        exchanges = [(a, b, max(cached[a], self.length(b))) for a, b in pairs]
        for a, b in pairs:
            self._exchange(a, b)
        moved = dict(pairs)
        return Assignment([(moved.get(slot, slot), length) for slot, length in places], copies, exchanges)

    def is_cached(self, prompt: _Prompt) -> bool:
        """Return whether a prefix of the prompt is in the cache."""
        return self._find_prefix(prompt) is not None

    def shrink(self, slots: int) -> None:
        """Drop all slots but the first ones. The others must be empty."""
        for column in (self._slot_ids, self._prefixes, self._last_used):
            del column[slots:]

    def length(self, slot: int) -> int:
        """Return the number of tokens in a slot."""
        return len(self._slot_ids[slot])

    def remember(self, slot: int, ids: list[int]) -> None:
        """Record that a slot holds `ids`, the last of which was never fed to the network."""
        key = _key(ids, len(ids))
        self._slot_ids[slot] = ids
        self._prefixes[slot].append((len(ids), key))
        self._slot_of[key] = slot

    def _find_prefix(self, prompt: _Prompt) -> tuple[int, int] | None:
        packed_ids = array("i", prompt.ids).tobytes()
        for length in reversed(prompt.turn_ends):
            slot = self._slot_of.get(hash(packed_ids[: 4 * length]))
            if slot is not None and self._slot_ids[slot][:length] == prompt.ids[:length]:
                return slot, min(length, len(self._slot_ids[slot]) - 1, len(prompt.ids) - 1)
        return None

    def _exchange(self, a: int, b: int) -> None:
        columns: tuple[list[Any], ...] = (self._slot_ids, self._prefixes, self._last_used)
        for column in columns:
            column[a], column[b] = column[b], column[a]
        for slot, before in ((a, b), (b, a)):
            for _, key in self._prefixes[slot]:
                if self._slot_of.get(key) == before:
                    self._slot_of[key] = slot

    def _drop_prefixes(self, slot: int, beyond: int) -> None:
        for length, key in self._prefixes[slot]:
            if length > beyond and self._slot_of.get(key) == slot:
                del self._slot_of[key]
        self._prefixes[slot] = [(length, key) for length, key in self._prefixes[slot] if length <= beyond]


def _pairs_to_exchange(used: Collection[int], slots: int) -> list[tuple[int, int]]:
    """Return pairs (a slot that is used, one that is not), whose exchange makes the used slots consecutive.

    The range with the fewest exchanges is chosen.
    """
    first = max(
        range(slots - len(used) + 1), key=lambda first: (sum(first <= s < first + len(used) for s in used), -first)
    )
    target = range(first, first + len(used))
    outside = sorted(slot for slot in used if slot not in target)
    return list(zip(outside, (slot for slot in target if slot not in used), strict=True))


def _key(ids: list[int], length: int) -> int:
    return hash(array("i", ids[:length]).tobytes())
