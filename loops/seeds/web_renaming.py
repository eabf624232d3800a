"""Chats about the embedded sites with other names in them, so that names are copied and not known by heart.

Words of a task's values (people, products, titles) and of the answer become invented words, each the same one
throughout the chat. Words of labels (of the links, buttons and fields that are acted on) stay: they are to be known.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace

from ...agents.models.core import Message
from ...envs.web.condense import QUOTED

SHARE = 0.5
"""Probability that a word is replaced."""
_ONSETS = "b c d f g h j k l m n p r s t v w z br ch cl dr fl gr kn pl pr sh sl st th tr".split()
_VOWELS = "a e i o u a e i o ai ea oo ou".split()
_ENDS = "n r l s t m nd ck rt ng d p x".split()
_WORD = re.compile(r"[^\W\d_]{4,}")
"""Short words often mean something: `off`, `the`."""
_TASK = re.compile(r"^(?:Task|Your task is to): (.*)$", re.MULTILINE)
_VALUE = re.compile(r"'([^'\n]*)'")
_ANSWER = re.compile(r"^Action: stop \[([^\]\n]*)\]", re.MULTILINE)
_LABEL = re.compile(r"^Thought: I \w+ '([^'\n]*)' \[\d+\]", re.MULTILINE)
_PLACE = re.compile(rf"^Actions: .*$|\[submit\]|(?P<names>{QUOTED}|\[[^\]\n]*\]|“[^”\n]*”|^Title: .*$)", re.MULTILINE)
"""Where names stand: in quotes, brackets and titles, but neither in a task's own words nor in how to act."""


def renamed(chat: Sequence[Message], rng: random.Random) -> list[Message]:
    """The same chat with other names; system messages stay. For chats that are texts alone, without token ids."""
    said = [message.content for message in chat if message.role == "assistant"]
    values = {value for message in chat for task in _TASK.findall(message.content) for value in _VALUE.findall(task)}
    # What is acted on may be called after a value, as in `Remove Oak Lamp`.
    after = re.compile("|".join(map(re.escape, sorted(values, key=lambda v: (-len(v), v)))) or "(?!)")
    labels = _words(after.sub(" ", label) for text in said for label in _LABEL.findall(text))
    names = _words([*values, *(answer for text in said for answer in _ANSWER.findall(text))]) - labels
    taken = _words(message.content for message in chat)
    new: dict[str, str] = {}
    for name in sorted(names):
        if rng.random() < SHARE:
            new[name] = invented(rng, taken)
            taken.add(new[name])
    if not new:
        return list(chat)
    old = re.compile(rf"(?<![^\W\d_])(?:{'|'.join(sorted(new))})(?![^\W\d_])", re.IGNORECASE)

    def exchanged(place: re.Match[str]) -> str:
        return old.sub(lambda word: like(word[0], new[word[0].lower()]), place[0]) if place["names"] else place[0]

    return [m if m.role == "system" else replace(m, content=_PLACE.sub(exchanged, m.content)) for m in chat]


def _words(texts: Iterable[str]) -> set[str]:
    return {word.lower() for text in texts for word in _WORD.findall(text)}


def invented(rng: random.Random, taken: Set[str] = frozenset()) -> str:
    """A word that does not exist, and none of `taken`."""
    while True:
        syllables = [rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.choice((1, 1, 2)))]
        word = "".join(syllables) + rng.choice(_ENDS)
        if word not in taken:
            return word


def like(old: str, new: str) -> str:
    """`new` with the capitals of `old`."""
    return new.upper() if old.isupper() else new.capitalize() if old[0].isupper() else new
