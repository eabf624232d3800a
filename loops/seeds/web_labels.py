"""Chats about the embedded sites with other words on links, buttons and fields, so that pages are read.

Who has seen few sites knows them by heart: where the cart is a `Bag`, orders are an `Order history`. Here, what a site
says is exchanged, label by label, with what other train sites of its kind say for the same thing.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...agents.models.core import Message
from ...envs.web.sites.catalogue import SITES
from ...envs.web.sites.core import Site
from .web_renaming import invented, like

SHARE = 0.5
"""Probability that a label is replaced."""
STRANGE = 0.2
"""Probability that the new one has a word that nobody has heard of, since sites to come will have such words."""
_SITE = re.compile(r"^Title: .* · (.+)$", re.MULTILINE)
_BY_NAME: Mapping[str, Site] = {site.name: site for site in SITES.values()}
_BEFORE = r"(?:(?<=')|(?<=^Title: ))"
_AFTER = r"(?='| \(\d|: | [a-z]+\.[a-z]+'| · )"
"""A label is all that is quoted, or is followed by a number (`Cart (3)`), what it is about (`Book: Suite`) or whom."""


def site_of(chat: Sequence[Message]) -> Site | None:
    """The embedded site that is told of; None where there is none."""
    named = next((name for m in chat for name in _SITE.findall(m.content)), "")
    return _BY_NAME.get(named)


def relabelled(chat: Sequence[Message], rng: random.Random) -> list[Message]:
    """The same chat with other labels; the same chat where no embedded site is told of. System messages stay."""
    site = site_of(chat)
    if site is None:
        return list(chat)
    others = [s for s in SITES.values() if s.kind == site.kind and s.split == "train" and s is not site]
    new = {old: _said(rng.choice(others).words[key], rng) for key, old in site.words.items() if rng.random() < SHARE}
    if not new:
        return list(chat)
    longest_first = sorted(new, key=lambda old: (-len(old), old))
    old = re.compile(f"{_BEFORE}({'|'.join(map(re.escape, longest_first))}){_AFTER}", re.MULTILINE)
    return [
        m if m.role == "system" else replace(m, content=old.sub(lambda label: new[label[0]], m.content)) for m in chat
    ]


def _said(label: str, rng: random.Random) -> str:
    if rng.random() >= STRANGE:
        return label
    word = rng.choice([word for word in label.split() if len(word) > 2])
    return label.replace(word, like(word, invented(rng)))
