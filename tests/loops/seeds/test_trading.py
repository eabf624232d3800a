"""The corpus of the trading seed: every role, nothing selected by success, and names that do not matter."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from kintsugi.agents.experts.trading import answer_news, answer_report
from kintsugi.agents.trading_group.roles import ROLES, SYSTEM, answer_of
from kintsugi.envs.trading.wording import WORDINGS
from kintsugi.loops.seeds.family import UNITS, write_corpus
from kintsugi.loops.seeds.registry import family_of
from kintsugi.loops.seeds.tokenizer import learn_tokenizer
from kintsugi.loops.seeds.trading import READINGS, chats, demonstrate

FAMILY = family_of("trading")


@pytest.fixture(scope="module")
def corpus():
    return write_corpus(FAMILY, replace(FAMILY.recipe, demonstrations=3), lambda share: None)


def role_of(chat) -> str:
    return next(role for role in ROLES if SYSTEM[role] == chat[0].content)


def test_every_role_speaks_and_can_be_read(corpus):
    assert {role_of(chat) for chat in corpus.chats} == set(ROLES)
    assert all(answer_of(role_of(chat), chat[-1].content) for chat in corpus.chats)
    assert all(chat[-1].token_ids is None and chat[-1].trainable for chat in corpus.chats)
    assert corpus.demonstrations == []


def test_success_is_not_selected_for():
    tasks = list(FAMILY.tasks(8, 5))
    shown = [demonstrate(task, seed) for seed, task in enumerate(tasks)]
    assert {each.success for each in shown} == {True, False}
    days = [len({id(step) for step in each.steps}) for each in shown]
    found = [Counter(map(role_of, chats(each))) for each in shown]
    assert [each["decision"] for each in found] == days == [59] * 8


def test_what_is_read_is_read_again_under_other_names(corpus):
    names = [WORDINGS["train"].company(n)[1] for n in range(WORDINGS["train"].companies)]
    read = [chat for chat in corpus.chats if role_of(chat) in ("news", "report")]
    known = [any(name in chat[1].content for name in names) for chat in read]
    assert sum(known) / len(known) <= 1.1 / READINGS["news"]
    for chat in read:
        answer = answer_news if role_of(chat) == "news" else answer_report
        assert answer(chat[1].content) == chat[-1].content


def test_it_is_the_same_again(corpus):
    again = write_corpus(FAMILY, replace(FAMILY.recipe, demonstrations=3), lambda share: None)
    assert again.chats == corpus.chats
    other = write_corpus(FAMILY, replace(FAMILY.recipe, demonstrations=3, seed=1), lambda share: None)
    assert other.chats != corpus.chats


def test_prompts_are_few_tokens(corpus):
    """What a small model has to read in each call, and what a tokenizer without its words would make of it."""
    texts = [message.content for chat in corpus.chats for message in chat]
    tokenizer = learn_tokenizer(texts, units=(*UNITS, *FAMILY.units), phrases=False)
    lengths = [len(tokenizer(chat[1].content)["input_ids"]) for chat in corpus.chats if role_of(chat) == "forecast"]
    assert max(lengths) < 200
    assert max(lengths) < min(len(c[1].content) for c in corpus.chats if role_of(c) == "forecast")
