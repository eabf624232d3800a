"""Assignment of conversations to slots, the rows of the key/value cache."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Protocol

LARGE = 8
"""A batch is large if it has at least 1 / LARGE as many prompts as there are slots."""


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

    def assign(
        self, prompts: Sequence[_Prompt], reuse: bool
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int, int]]]:
        """Assign a slot to each prompt.

        A large batch gets slots below twice its size, so that its rows form a dense range. Conversations in higher
        slots are copied to lower ones.

        Args:
            prompts: At most as many prompts as there are slots.
            reuse: Whether to use cached prefixes.

        Returns:
            Slot and number of cached tokens for each prompt, and the copies (source, target, length) to make first.
        """
        self._clock += 1
        slots = len(self._last_used)
        limit = min(slots, 2 * len(prompts)) if LARGE * len(prompts) >= slots else slots
        prefixes = [self._find_prefix(prompt) if reuse else None for prompt in prompts]
        owner: dict[int, int] = {}
        for i, match in enumerate(prefixes):
            if match is not None and match[0] not in owner and match[0] < limit:
                owner[match[0]] = i
        free = iter(sorted((s for s in range(limit) if s not in owner), key=lambda s: (self._last_used[s], s)))
        assigned: list[tuple[int, int]] = []
        copies: list[tuple[int, int, int]] = []
        for i, match in enumerate(prefixes):
            if match is not None and owner.get(match[0]) == i:
                assigned.append(match)
                continue
            target = next(free)
            if match is not None:
                copies.append((match[0], target, match[1]))
            assigned.append((target, match[1] if match else 0))
        for slot, length in assigned:
            self._last_used[slot] = self._clock
            if slot not in owner:
                length = 0
            self._drop_prefixes(slot, beyond=length + 1)
        return assigned, copies

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

    def _drop_prefixes(self, slot: int, beyond: int) -> None:
        for length, key in self._prefixes[slot]:
            if length > beyond and self._slot_of.get(key) == slot:
                del self._slot_of[key]
        self._prefixes[slot] = [(length, key) for length, key in self._prefixes[slot] if length <= beyond]


def _key(ids: list[int], length: int) -> int:
    return hash(array("i", ids[:length]).tobytes())
