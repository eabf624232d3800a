"""Renames entities in chats about the embedded sites, so that the model copies names instead of memorising them.

Words of the values in a task (people, products, titles) and of the answer become invented words, consistently
throughout a chat. Words in labels of links, buttons and fields that are acted on stay, because the model
needs to know them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace

from ...agents.models.core import Message
from ...envs.web.condense import QUOTED

REPLACE_PROBABILITY = 0.5
"""Probability that a word is replaced."""
_ONSETS = "b c d f g h j k l m n p r s t v w z br ch cl dr fl gr kn pl pr sh sl st th tr".split()
_VOWELS = "a e i o u a e i o ai ea oo ou".split()
_ENDS = "n r l s t m nd ck rt ng d p x".split()
_WORD = re.compile(r"[^\W\d_]{4,}")
"""Words of fewer than four letters stay, because they often carry meaning: `off`, `the`."""
_TASK = re.compile(r"^(?:Task|Your task is to): (.*)$", re.MULTILINE)
_VALUE = re.compile(r"'([^'\n]*)'")
_ANSWER = re.compile(r"^Action: stop \[([^\]\n]*)\]", re.MULTILINE)
_LABEL = re.compile(r"^Thought: I \w+ '([^'\n]*)' \[\d+\]", re.MULTILINE)
_NAME_SPANS = re.compile(
    rf"^Actions: .*$|\[submit\]|(?P<names>{QUOTED}|\[[^\]\n]*\]|“[^”\n]*”|^Title: .*$)", re.MULTILINE
)
"""Where names are replaced: in quotes, brackets and titles, but not in `[submit]` and not in the list of actions."""


def rename_entities(chat: Sequence[Message], rng: random.Random) -> list[Message]:
    """Rename entities consistently throughout a chat; leave system messages unchanged.

    Expects messages without token ids, because these would no longer match the text.
    """
    assistant_texts = [message.content for message in chat if message.role == "assistant"]
    values = {value for message in chat for task in _TASK.findall(message.content) for value in _VALUE.findall(task)}
    # Labels may contain a value, as in `Remove Oak Lamp`; the words of the value do not count as label words.
    value_pattern = re.compile("|".join(map(re.escape, sorted(values, key=lambda v: (-len(v), v)))) or "(?!)")
    labels = _words(value_pattern.sub(" ", label) for text in assistant_texts for label in _LABEL.findall(text))
    entity_words = _words([*values, *(answer for text in assistant_texts for answer in _ANSWER.findall(text))]) - labels
    used_words = _words(message.content for message in chat)
    new_words: dict[str, str] = {}
    for name in sorted(entity_words):
        if rng.random() < REPLACE_PROBABILITY:
            new_words[name] = made_up_word(rng, used_words)
            used_words.add(new_words[name])
    if not new_words:
        return list(chat)
    pattern = re.compile(rf"(?<![^\W\d_])(?:{'|'.join(sorted(new_words))})(?![^\W\d_])", re.IGNORECASE)

    def rename_span(span: re.Match[str]) -> str:
        return (
            pattern.sub(lambda word: match_case(word[0], new_words[word[0].lower()]), span[0])
            if span["names"]
            else span[0]
        )

    return [m if m.role == "system" else replace(m, content=_NAME_SPANS.sub(rename_span, m.content)) for m in chat]


def _words(texts: Iterable[str]) -> set[str]:
    return {word.lower() for text in texts for word in _WORD.findall(text)}


def made_up_word(rng: random.Random, used_words: Set[str] = frozenset()) -> str:
    """Return an invented word that is not in `used_words`."""
    while True:
        syllables = [rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.choice((1, 1, 2)))]
        word = "".join(syllables) + rng.choice(_ENDS)
        if word not in used_words:
            return word


def match_case(old: str, new: str) -> str:
    """Return `new` with the capitalisation of `old`."""
    return new.upper() if old.isupper() else new.capitalize() if old[0].isupper() else new
