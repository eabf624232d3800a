"""Chats with other names: all that is said of a name is said of the new one, and nothing else changes."""

from __future__ import annotations

import random
import re

from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.models.core import Message
from kintsugi.loops.seeds.web_renaming import renamed

CHAT = [
    Message("system", "Task: find 'Hazel Lamp'"),
    Message("user", "Task: Change what belongs to the 'Hazel Lamp' to 'Oak'.\nlink 'HAZEL lamp' [3]\n'Oaken, hazel'"),
    Message("assistant", "Thought: I fill 'Full name' [3] with 'Oak'.\nAction: type [3] [Oak]"),
    Message(
        "user", "Title: Hazel Lamp\nMayor | Rosa Nakata\n'Mayor | Rosa Nakata'\ntextbox 'Full name' [3] value 'Oak'"
    ),
    Message("assistant", "Thought: 'Mayor' is 'Rosa Nakata'.\nAction: stop [Rosa Nakata]"),
]
WORDS = ("hazel", "lamp", "oak", "rosa", "nakata")


def words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]+", text)


@given(st.integers(0, 2**32))
def test_names_are_exchanged_everywhere_alike_and_nothing_else_is(seed):
    new = renamed(CHAT, random.Random(seed))
    assert [m.role for m in new] == [m.role for m in CHAT]
    assert new[0] == CHAT[0]
    exchanged: dict[str, set[str]] = {}
    for old, other in zip(CHAT[1:], new[1:], strict=True):
        assert re.sub(r"[A-Za-z]+", "", other.content) == re.sub(r"[A-Za-z]+", "", old.content)
        for before, after in zip(words(old.content), words(other.content), strict=True):
            assert (before.isupper(), before[0].isupper()) == (after.isupper(), after[0].isupper())
            if before != after:
                exchanged.setdefault(before.lower(), set()).add(after.lower())
    assert set(exchanged) <= set(WORDS)
    assert all(len(found) == 1 for found in exchanged.values())
    # The second line of the page is no name: what is not quoted is left alone.
    assert "\nMayor | Rosa Nakata\n" in new[3].content


def test_every_name_is_exchanged_now_and_then_and_the_same_draws_give_the_same_names():
    chats = [renamed(CHAT, random.Random(seed)) for seed in range(40)]
    texts = ["\n".join(re.sub(r"^Mayor .*$", "", m.content, flags=re.M) for m in chat[1:]).lower() for chat in chats]
    for word in WORDS:
        assert 0 < sum(word in words(text) for text in texts) < len(texts)
    assert chats == [renamed(CHAT, random.Random(seed)) for seed in range(40)]


def test_a_chat_without_names_stays():
    chat = [Message("user", "Task: Go on."), Message("assistant", "Thought: It is done.\nAction: stop")]
    assert renamed(chat, random.Random(0)) == chat
