"""Chats about the embedded sites with other names in them, so that names are copied and not known by heart.

Words of a task's values (people, products, titles) and of what is answered become invented ones, everywhere in a chat
alike; labels of links, buttons and fields, which are to be known, stay.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...agents.models.core import Message

SHARE = 0.5
"""Of the words that could be replaced."""
_ONSETS = "b c d f g h j k l m n p r s t v w z br ch cl dr fl gr kn pl pr sh sl st th tr".split()
_VOWELS = "a e i o u a e i o ai ea oo ou".split()
_ENDS = "n r l s t m nd ck rt ng d p x".split()
_WORD = re.compile(r"[^\W\d_]{3,}")
_TASK = re.compile(r"^(?:Task|Your task is to): (.*)$", re.MULTILINE)
_QUOTED = re.compile(r"'([^'\n]*)'")
_ANSWER = re.compile(r"^(?:Action: |> )stop \[([^\]\n]*)\]", re.MULTILINE)
_LABEL = re.compile(r"^Thought: I \w+ '([^'\n]*)' \[\d+\] (?:with|to|for) ", re.MULTILINE)
_NAMING = re.compile(r"'[^'\n]*'|\[[^\]\n]*\]|“[^”\n]*”|^Title: .*$", re.MULTILINE)
"""Where names stand; a task's own words are left alone."""


def renamed(chat: Sequence[Message], rng: random.Random) -> list[Message]:
    """The same chat with other names."""
    texts = [message.content for message in chat]
    labels = set(_words(label for text in texts for label in _LABEL.findall(text)))
    names = set(_words(value for text in texts for value in _values(text))) - labels
    new = {name: _invented(rng) for name in sorted(names) if rng.random() < SHARE}
    if not new:
        return list(chat)
    longest_first = sorted(new, key=lambda name: (-len(name), name))
    old = re.compile(rf"(?<![^\W\d_])(?:{'|'.join(longest_first)})(?![^\W\d_])", re.IGNORECASE)

    def exchanged(text: str) -> str:
        return _NAMING.sub(lambda naming: old.sub(lambda word: _like(word[0], new[word[0].lower()]), naming[0]), text)

    return [m if m.role == "system" else replace(m, content=exchanged(m.content)) for m in chat]


def _values(text: str) -> Iterator[str]:
    for task in _TASK.findall(text):
        yield from _QUOTED.findall(task)
    yield from _ANSWER.findall(text)


def _words(texts: Iterator[str]) -> Iterator[str]:
    return (word.lower() for text in texts for word in _WORD.findall(text))


def _invented(rng: random.Random) -> str:
    syllables = (rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.choice((1, 1, 2))))
    return "".join(syllables) + rng.choice(_ENDS)


def _like(old: str, new: str) -> str:
    """`new` with the capitals of `old`."""
    return new.upper() if old.isupper() else new.capitalize() if old[0].isupper() else new
