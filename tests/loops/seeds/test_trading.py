"""Corpus of the trading seed policy: all roles, no selection by success, renamed copies."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from kintsugi.agents.experts.trading import answer_news, answer_report
from kintsugi.agents.trading_group.roles import ROLES, SYSTEM, answer_of
from kintsugi.envs.trading.wording import WORDINGS
from kintsugi.loops.seeds.family import SINGLE_TOKENS, write_corpus
from kintsugi.loops.seeds.registry import family_of
from kintsugi.loops.seeds.tokenizer import learn_tokenizer
from kintsugi.loops.seeds.trading import COPIES, chats, demonstrate

FAMILY = family_of("trading")


@pytest.fixture(scope="module")
def corpus():
    return write_corpus(FAMILY, replace(FAMILY.recipe, demonstrations=3), lambda share: None)


def role_of(chat) -> str:
    return next(role for role in ROLES if SYSTEM[role] == chat[0].content)


def test_corpus_has_parsable_answers_of_every_role(corpus):
    assert {role_of(chat) for chat in corpus.chats} == set(ROLES)
    assert all(answer_of(role_of(chat), chat[-1].content) for chat in corpus.chats)
    assert all(chat[-1].token_ids is None and chat[-1].trainable for chat in corpus.chats)
    assert corpus.demonstrations == []


def test_demonstrations_are_not_filtered_by_success():
    tasks = list(FAMILY.tasks(8, 5))
    attempts = [demonstrate(task, seed) for seed, task in enumerate(tasks)]
    assert {each.success for each in attempts} == {True, False}
    days = [len({id(step) for step in each.steps}) for each in attempts]
    calls = [Counter(map(role_of, chats(each))) for each in attempts]
    assert [each["decision"] for each in calls] == days == [59] * 8


def test_copies_of_news_and_reports_have_other_names_and_the_same_answer(corpus):
    names = [WORDINGS["train"].company(n)[1] for n in range(WORDINGS["train"].companies)]
    news_and_reports = [chat for chat in corpus.chats if role_of(chat) in ("news", "report")]
    has_known_name = [any(name in chat[1].content for name in names) for chat in news_and_reports]
    assert sum(has_known_name) / len(has_known_name) <= 1.1 / COPIES["news"]
    for chat in news_and_reports:
        answer = answer_news if role_of(chat) == "news" else answer_report
        assert answer(chat[1].content) == chat[-1].content


def test_corpus_is_deterministic(corpus):
    again = write_corpus(FAMILY, replace(FAMILY.recipe, demonstrations=3), lambda share: None)
    assert again.chats == corpus.chats
    other = write_corpus(FAMILY, replace(FAMILY.recipe, demonstrations=3, seed=1), lambda share: None)
    assert other.chats != corpus.chats


def test_prompts_have_few_tokens(corpus):
    """The longest forecast prompt has fewer than 200 tokens, and fewer tokens than the shortest has characters."""
    texts = [message.content for chat in corpus.chats for message in chat]
    tokenizer = learn_tokenizer(texts, single_tokens=(*SINGLE_TOKENS, *FAMILY.single_tokens), phrase_tokens=False)
    lengths = [len(tokenizer(chat[1].content)["input_ids"]) for chat in corpus.chats if role_of(chat) == "forecast"]
    assert max(lengths) < 200
    assert max(lengths) < min(len(c[1].content) for c in corpus.chats if role_of(c) == "forecast")
