"""Assignment of conversations to cache slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.models.slots import SlotTable


@dataclass
class Prompt:
    ids: list[int]
    turn_ends: list[int] = field(default_factory=list)


def alone(table: SlotTable, ids: list[int], turn_ends: Sequence[int] = (), reuse: bool = True) -> tuple[int, int]:
    """Return the slot and the number of cached tokens of a batch of one prompt, which needs no change of the cache."""
    assigned = table.assign([Prompt(ids, list(turn_ends))], reuse)
    assert (assigned.copies, assigned.exchanges) == ([], [])
    return assigned.places[0]


def test_longest_prefix_ending_at_a_turn_is_found():
    table = SlotTable(4)
    slot, length = alone(table, [1, 2])
    assert length == 0
    table.remember(slot, [1, 2, 3, 4])
    assert alone(table, [1, 2, 3, 4, 5], [4]) == (slot, 3)
    table.remember(slot, [1, 2, 3, 4, 5, 6])
    assert alone(table, [1, 2, 3, 4, 9], [4]) == (slot, 4)


def test_no_prefix_is_found_without_reuse():
    table = SlotTable(2)
    slot, _ = alone(table, [1, 2], reuse=False)
    table.remember(slot, [1, 2, 3])
    assert alone(table, [1, 2, 3, 4], [3], reuse=False)[1] == 0


def test_least_recently_used_slot_is_replaced():
    table = SlotTable(9)
    for number in range(9):
        slot, _ = alone(table, [number])
        assert slot == number
        table.remember(slot, [number, 100])
    assert alone(table, [0, 100, 5], [2]) == (0, 1)
    table.remember(0, [0, 100, 5, 6])
    assert alone(table, [50])[0] == 1


def test_a_batch_gets_consecutive_slots_and_what_was_there_stays_cached():
    table = SlotTable(5)
    for slot, _ in table.assign([Prompt([number]) for number in range(5)], True).places:
        table.remember(slot, [slot, 100])
    assigned = table.assign([Prompt([number, 100, 7], [2]) for number in (0, 4, 1)], True)
    assert assigned.exchanges == [(4, 2, 2)]
    assert assigned.places == [(0, 1), (2, 1), (1, 1)]
    table.remember(2, [4, 100, 7, 8])
    assert alone(table, [2, 100, 9], [2]) == (4, 1)


calls = st.lists(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 3), st.booleans()), min_size=1, max_size=5),
    min_size=1,
    max_size=8,
)


@given(calls, st.integers(5, 9))
def test_reported_prefixes_are_in_the_cache(calls, slots):
    """A model of the cache: after the changes, a slot contains every token that its prompt does not feed."""
    table, cache = SlotTable(slots), [[0] * 99 for _ in range(slots)]
    chats: list[tuple[list[int], list[int]]] = []
    fresh = iter(range(1, 10**6))
    for call in calls:
        prompts = []
        for chat, length, follow in call:
            ids, ends = chats[chat % len(chats)] if follow and chats else ([], [])
            prompts.append(Prompt([*ids, *(next(fresh) for _ in range(length))], list(ends)))
        assigned = table.assign(prompts, True)
        used = sorted(slot for slot, _ in assigned.places)
        assert used == list(range(used[0], used[0] + len(prompts)))
        for source, target, length in assigned.copies:
            cache[target][:length] = cache[source][:length]
        for a, b, length in assigned.exchanges:
            cache[a][:length], cache[b][:length] = cache[b][:length], cache[a][:length]
        for prompt, (slot, length) in zip(prompts, assigned.places, strict=True):
            assert length < len(prompt.ids)
            assert cache[slot][:length] == prompt.ids[:length]
            held = [*prompt.ids, *(next(fresh) for _ in range(2))]
            cache[slot][: len(held) - 1] = held[:-1]
            table.remember(slot, held)
            assert table.length(slot) == len(held)
            chats.append((held, [*prompt.turn_ends, len(held)]))
