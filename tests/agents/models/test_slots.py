"""Assignment of conversations to cache slots."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.models.slots import SlotTable


@dataclass
class Prompt:
    ids: list[int]
    turn_ends: list[int] = field(default_factory=list)


def test_longest_prefix_ending_at_a_turn_is_found():
    table = SlotTable(4)
    [(slot, length)], copies = table.assign([Prompt([1, 2])], True)
    assert (length, copies) == (0, [])
    table.remember(slot, [1, 2, 3, 4])
    [(again, length)], copies = table.assign([Prompt([1, 2, 3, 4, 5], [4])], True)
    assert (again, length, copies) == (slot, 3, [])
    table.remember(slot, [1, 2, 3, 4, 5, 6])
    [(forked, length)], copies = table.assign([Prompt([1, 2, 3, 4, 9], [4])], True)
    assert (forked, length, copies) == (slot, 4, [])


def test_no_prefix_is_found_without_reuse():
    table = SlotTable(2)
    [(slot, _)], _ = table.assign([Prompt([1, 2])], False)
    table.remember(slot, [1, 2, 3])
    assert table.assign([Prompt([1, 2, 3, 4], [3])], False)[0][0][1] == 0


def test_least_recently_used_slot_is_replaced():
    table = SlotTable(9)
    for number in range(9):
        [(slot, _)], _ = table.assign([Prompt([number])], True)
        assert slot == number
        table.remember(slot, [number, 100])
    [(slot, length)], _ = table.assign([Prompt([0, 100, 5], [2])], True)
    assert (slot, length) == (0, 1)
    table.remember(0, [0, 100, 5, 6])
    [(slot, _)], _ = table.assign([Prompt([50])], True)
    assert slot == 1


calls = st.lists(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 3), st.booleans()), min_size=1, max_size=5),
    min_size=1,
    max_size=8,
)


@given(calls, st.integers(5, 9))
def test_reported_prefixes_are_in_the_cache(calls, slots):
    """A model of the cache: after the copies, a slot contains every token that its prompt does not feed."""
    table, cache = SlotTable(slots), [[0] * 99 for _ in range(slots)]
    chats: list[tuple[list[int], list[int]]] = []
    fresh = iter(range(1, 10**6))
    for call in calls:
        prompts = []
        for chat, length, follow in call:
            ids, ends = chats[chat % len(chats)] if follow and chats else ([], [])
            prompts.append(Prompt([*ids, *(next(fresh) for _ in range(length))], list(ends)))
        places, copies = table.assign(prompts, True)
        assert len({slot for slot, _ in places}) == len(prompts)
        for source, target, length in copies:
            cache[target][:length] = cache[source][:length]
        for prompt, (slot, length) in zip(prompts, places, strict=True):
            assert length < len(prompt.ids)
            assert cache[slot][:length] == prompt.ids[:length]
            held = [*prompt.ids, *(next(fresh) for _ in range(2))]
            cache[slot][: len(held) - 1] = held[:-1]
            table.remember(slot, held)
            assert table.length(slot) == len(held)
            chats.append((held, [*prompt.turn_ends, len(held)]))
