"""Chats with other labels: each is exchanged everywhere alike, for what train sites say, and nothing else changes."""

from __future__ import annotations

import random
import re

from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.models.core import Message
from kintsugi.envs.web.sites.catalogue import SITES
from kintsugi.loops.seeds.web_labels import relabelled

CHAT = [
    Message("system", "'Cart'"),
    Message(
        "user",
        "Task: Add the 'Order Cart' to the cart.\nTitle: Cart · Larch & Loom\nlink 'Cart (3)' [2]\nlink 'Orders' [4]\n"
        "'1 × Order Cart (Blue) is in your cart.' 'Cart of Ada' 'Add to cart'",
    ),
    Message("assistant", "Thought: I press 'Add to cart' [5].\nAction: click [5]"),
    Message("user", "Title: Orders · Larch & Loom\nheading 'Orders'\n'Orders 17'\n'Cart'"),
    Message("assistant", "Reflection: I should have opened 'Orders'."),
]
LABELS = ("Cart", "Orders", "Add to cart")
SEEDS = range(80)


def parts(chat):
    return [re.split(r"('[^'\n]*'|^Title: [^\n]*)", m.content, flags=re.MULTILINE) for m in chat]


@given(st.integers(0, 2**32))
def test_labels_are_exchanged_everywhere_alike_and_nothing_else_is(seed):
    new = relabelled(CHAT, random.Random(seed))
    assert new[0] == CHAT[0]
    became: dict[str, set[str]] = {}
    for old, other in zip(parts(CHAT[1:]), parts(new[1:]), strict=True):
        for before, after in zip(old, other, strict=True):
            label = re.fullmatch(r"(?:'|Title: )(Cart|Orders|Add to cart)((?: \(\d+\))?'| · Larch & Loom)", before)
            if label is None:
                assert after == before
            else:
                assert after.endswith(label[2])
                found = after.removesuffix(label[2]).removeprefix("Title: ").removeprefix("'")
                became.setdefault(label[1], set()).add(found)
    assert became.keys() == set(LABELS)
    assert all(len(found) == 1 for found in became.values())


def test_other_labels_are_those_of_train_sites_now_and_then_with_a_word_that_does_not_exist():
    key_of = {word: key for key, word in SITES["larch-loom"].words.items()}
    for label in LABELS:
        alike = {s.words[key_of[label]] for s in SITES.values() if s.kind == "shop" and s.split == "train"}
        found = set()
        for seed in SEEDS:
            said = relabelled([*CHAT, Message("user", f"button '{label}'")], random.Random(seed))[-1].content
            found.add(said.removeprefix("button '").removesuffix("'"))
        assert alike <= found
        strange = found - alike
        assert 0 < len(strange) < len(SEEDS) / 2
        assert all(len(word.split()) in {len(other.split()) for other in alike} for word in strange)


def test_chats_of_no_embedded_site_stay():
    chat = [Message("user", "Title: Cart · Nowhere\n'Cart'"), Message("assistant", "Thought: 'Cart'")]
    assert relabelled(chat, random.Random(0)) == chat
