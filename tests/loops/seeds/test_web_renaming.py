"""Renaming of entities: consistent within a chat, and without other changes."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.models.core import Message
from kintsugi.loops.seeds.web_renaming import rename_entities

CHAT = [
    Message("system", "Task: find 'Hazel Lamp'"),
    Message(
        "user",
        "Task: Change what belongs to the 'Hazel Lamp' to 'Oaken'.\nActions: click [lamp], stop [oaken]\n"
        "link 'HAZEL lamp' [3]\n'Oakens, hazel'\nbutton \"Oaken's lamp\" [4] 'Hazel' link 'Sign in' [5]",
    ),
    Message("assistant", "Thought: I fill 'Full name' [3] with 'Oaken'.\nAction: type [3] [Oaken] [submit]"),
    Message("user", "Title: Hazel Lamp\nMayor | Rosa Nakata\n'Mayor | Rosa Nakata'\ntextbox 'Full name' [3]"),
    Message("assistant", "Thought: I press 'Remove Hazel Lamp' [6].\nAction: click [6]"),
    Message("user", "'Done'\nYour task is to: Change what belongs to the 'Hazel Lamp' to 'Oaken'."),
    Message("assistant", "Thought: 'Mayor' is 'Rosa Nakata'.\nAction: stop [Rosa Nakata]"),
]
NAMES = {"hazel", "lamp", "oaken", "rosa", "nakata"}
SEEDS = range(60)


def words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]+", text)


@given(st.integers(0, 2**32))
def test_only_names_are_renamed_and_consistently(seed):
    new = rename_entities(CHAT, random.Random(seed))
    assert [m.role for m in new] == [m.role for m in CHAT]
    assert new[0] == CHAT[0]
    renamed: dict[str, set[str]] = {}
    for old, other in zip(CHAT[1:], new[1:], strict=True):
        assert re.sub(r"[A-Za-z]+", "", other.content) == re.sub(r"[A-Za-z]+", "", old.content)
        for line, after in zip(old.content.split("\n"), other.content.split("\n"), strict=True):
            if line.startswith(("Actions: ", "Mayor |")):
                # The list of actions, and unquoted text.
                assert after == line
                continue
            for before, now in zip(words(line), words(after), strict=True):
                assert (before.isupper(), before[0].isupper()) == (now.isupper(), now[0].isupper())
                renamed.setdefault(before.lower(), set()).add(now.lower())
    assert all(len(found) == 1 for found in renamed.values())
    final = {old: found.pop() for old, found in renamed.items()}
    assert {old for old, now in final.items() if now != old} <= NAMES
    assert len(set(final.values())) == len(final)


def test_every_name_is_renamed_sometimes_and_deterministically():
    chats = [rename_entities(CHAT, random.Random(seed)) for seed in SEEDS]
    acted = [" ".join(m.content.lower() for m in chat if m.role == "assistant") for chat in chats]
    for name in NAMES:
        assert 0 < sum(name in words(text) for text in acted) < len(acted)
    assert chats == [rename_entities(CHAT, random.Random(seed)) for seed in SEEDS]


@pytest.mark.parametrize(
    ("chat", "kept"),
    [
        # The wrong answer of a failed attempt is not an entity.
        (["Your task is to: Find 'Hazel'.\n> stop [Sign in]\nlink 'Sign in' [2]", "Thought: It is done."], "Sign in"),
        (["Task: Turn 'Public calendar' 'off'.\nlink 'off' [2]", "Thought: I switch 'Public calendar' [3]."], "'off'"),
        (
            ["Task: Like 'Street Lamp'.\nfield 'Street' [2]", "Thought: I fill 'Street' [2] with 'Lamp'."],
            "'Street' [2]",
        ),
        (["Task: Say 'submit this'.", "Thought: x\nAction: type [1] [submit this] [submit]"], "] [submit]"),
    ],
)
def test_labels_and_action_lists_are_unchanged(chat, kept):
    messages = [Message("user", chat[0]), Message("assistant", chat[1])]
    found = [rename_entities(messages, random.Random(seed)) for seed in SEEDS]
    assert all(kept in "\n".join(m.content for m in each) for each in found)
    assert any(each != messages for each in found)


def test_a_chat_without_names_is_unchanged():
    chat = [Message("user", "Task: Go on."), Message("assistant", "Thought: It is done.\nAction: stop")]
    assert rename_entities(chat, random.Random(0)) == chat
