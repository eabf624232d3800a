"""Replaces the labels of links, buttons and fields in chats about the embedded sites, to prevent memorisation.

A model that has seen few sites memorises which labels occur together, such as `Bag` for the cart and `Order history`
for the orders. This module exchanges each label for the label of the same thing on another train site of its kind.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...agents.models.core import Message
from ...envs.web.sites.catalogue import SITES
from ...envs.web.sites.core import Site
from .web_renaming import made_up_word, match_case

REPLACE_PROBABILITY = 0.5
"""Probability that a label is replaced."""
INVENTED_WORD_PROBABILITY = 0.2
"""Probability that a new label contains an invented word, because unseen sites have unknown words."""
_SITE = re.compile(r"^Title: .* · (.+)$", re.MULTILINE)
_BY_NAME: Mapping[str, Site] = {site.name: site for site in SITES.values()}
_BEFORE = r"(?:(?<=')|(?<=^Title: ))"
_AFTER = r"(?='| \(\d|: | [a-z]+\.[a-z]+'| · )"
"""A label is a whole quoted text, or is followed by a number (`Cart (3)`), an object (`Book: Suite`) or a person."""


def chat_site(chat: Sequence[Message]) -> Site | None:
    """Return the embedded site that a chat is about; None if there is none."""
    named = next((name for m in chat for name in _SITE.findall(m.content)), "")
    return _BY_NAME.get(named)


def replace_labels(chat: Sequence[Message], rng: random.Random) -> list[Message]:
    """Replace labels consistently throughout a chat; leave system messages and chats about other sites unchanged."""
    site = chat_site(chat)
    if site is None:
        return list(chat)
    others = [s for s in SITES.values() if s.kind == site.kind and s.split == "train" and s is not site]
    new = {
        old: _new_label(rng.choice(others).labels[key], rng)
        for key, old in site.labels.items()
        if rng.random() < REPLACE_PROBABILITY
    }
    if not new:
        return list(chat)
    longest_first = sorted(new, key=lambda old: (-len(old), old))
    old = re.compile(f"{_BEFORE}({'|'.join(map(re.escape, longest_first))}){_AFTER}", re.MULTILINE)
    return [
        m if m.role == "system" else replace(m, content=old.sub(lambda label: new[label[0]], m.content)) for m in chat
    ]


def _new_label(label: str, rng: random.Random) -> str:
    if rng.random() >= INVENTED_WORD_PROBABILITY:
        return label
    word = rng.choice([word for word in label.split() if len(word) > 2])
    return label.replace(word, match_case(word, made_up_word(rng)))
