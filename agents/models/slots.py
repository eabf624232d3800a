"""Which row of the key/value cache holds which conversation."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Protocol

LARGE = 8
"""A batch of at least the slots divided by this is large."""


class _Prompt(Protocol):
    ids: list[int]
    turn_ends: list[int]


class SlotTable:
    """Finds, for a prompt, the slot that holds its longest prefix ending at a turn; the least recently used are reused.

    A slot holds the keys and values of all its tokens but the last, which was sampled and never fed.
    """

    def __init__(self, slots: int) -> None:
        self._held: list[list[int]] = [[] for _ in range(slots)]
        self._marks: list[list[tuple[int, int]]] = [[] for _ in range(slots)]
        self._slot_of: dict[int, int] = {}
        self._used = [0] * slots
        self._clock = 0

    def assign(
        self, prompts: Sequence[_Prompt], reuse: bool
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int, int]]]:
        """Each prompt's slot and how many of its tokens are there already; and copies (from, to, length) to make first.

        At most as many prompts as there are slots. The slots of a large batch are kept below twice its size, so that it
        is a dense range of rows; conversations farther up are copied down.
        """
        self._clock += 1
        slots = len(self._used)
        near = min(slots, 2 * len(prompts)) if LARGE * len(prompts) >= slots else slots
        found = [self._find(prompt) if reuse else None for prompt in prompts]
        owner: dict[int, int] = {}
        for i, place in enumerate(found):
            if place is not None and place[0] not in owner and place[0] < near:
                owner[place[0]] = i
        free = iter(sorted((s for s in range(near) if s not in owner), key=lambda s: (self._used[s], s)))
        places: list[tuple[int, int]] = []
        copies: list[tuple[int, int, int]] = []
        for i, place in enumerate(found):
            if place is not None and owner.get(place[0]) == i:
                places.append(place)
                continue
            target = next(free)
            if place is not None:
                copies.append((place[0], target, place[1]))
            places.append((target, place[1] if place else 0))
        for slot, length in places:
            self._used[slot] = self._clock
            if slot not in owner:
                length = 0
            self._forget(slot, beyond=length + 1)
        return places, copies

    def length(self, slot: int) -> int:
        """How many tokens the slot holds."""
        return len(self._held[slot])

    def remember(self, slot: int, ids: list[int]) -> None:
        """The slot now holds `ids`, the last of which was never fed."""
        key = _key(ids, len(ids))
        self._held[slot] = ids
        self._marks[slot].append((len(ids), key))
        self._slot_of[key] = slot

    def _find(self, prompt: _Prompt) -> tuple[int, int] | None:
        packed = array("i", prompt.ids).tobytes()
        for length in reversed(prompt.turn_ends):
            slot = self._slot_of.get(hash(packed[: 4 * length]))
            if slot is not None and self._held[slot][:length] == prompt.ids[:length]:
                return slot, min(length, len(self._held[slot]) - 1, len(prompt.ids) - 1)
        return None

    def _forget(self, slot: int, beyond: int) -> None:
        for length, key in self._marks[slot]:
            if length > beyond and self._slot_of.get(key) == slot:
                del self._slot_of[key]
        self._marks[slot] = [(length, key) for length, key in self._marks[slot] if length <= beyond]


def _key(ids: list[int], length: int) -> int:
    return hash(array("i", ids[:length]).tobytes())
