"""Label replacement: consistent within a chat, with labels of train sites, and without other changes."""

from __future__ import annotations

import random
import re

from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.models.core import Message
from kintsugi.envs.web.sites.catalogue import SITES
from kintsugi.loops.seeds.web_labels import replace_labels

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
def test_only_labels_are_replaced_and_consistently(seed):
    new = replace_labels(CHAT, random.Random(seed))
    assert new[0] == CHAT[0]
    replacements: dict[str, set[str]] = {}
    for old, other in zip(parts(CHAT[1:]), parts(new[1:]), strict=True):
        for before, after in zip(old, other, strict=True):
            label = re.fullmatch(r"(?:'|Title: )(Cart|Orders|Add to cart)((?: \(\d+\))?'| · Larch & Loom)", before)
            if label is None:
                assert after == before
            else:
                assert after.endswith(label[2])
                found = after.removesuffix(label[2]).removeprefix("Title: ").removeprefix("'")
                replacements.setdefault(label[1], set()).add(found)
    assert replacements.keys() == set(LABELS)
    assert all(len(found) == 1 for found in replacements.values())


def test_new_labels_come_from_train_sites_and_sometimes_have_an_invented_word():
    key_of = {word: key for key, word in SITES["larch-loom"].labels.items()}
    for label in LABELS:
        known = {s.labels[key_of[label]] for s in SITES.values() if s.kind == "shop" and s.split == "train"}
        found = set()
        for seed in SEEDS:
            text = replace_labels([*CHAT, Message("user", f"button '{label}'")], random.Random(seed))[-1].content
            found.add(text.removeprefix("button '").removesuffix("'"))
        assert known <= found
        invented = found - known
        assert 0 < len(invented) < len(SEEDS) / 2
        assert all(len(word.split()) in {len(other.split()) for other in known} for word in invented)


def test_chats_about_other_sites_are_unchanged():
    chat = [Message("user", "Title: Cart · Nowhere\n'Cart'"), Message("assistant", "Thought: 'Cart'")]
    assert replace_labels(chat, random.Random(0)) == chat
