"""Chats as well-known models lay them out: tokens are those of the template tokenised whole, masks cover the turns."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from chat_templates import FAMILIES, GEMMA2, KINDS, MISTRAL01, family_encoder, tokenizer_of
from hypothesis import given, settings
from hypothesis import strategies as st
from kintsugi.agents.models.chat import ChatEncoder, Encoded
from kintsugi.agents.models.chat_format import DATE, ChatFormat
from kintsugi.agents.models.core import Message
from kintsugi.errors import UsageError
from tiny_models import CHATML, byte_tokenizer

DAY = datetime.date.fromisoformat(DATE)
NO_SYSTEM = ("gemma 2", "mistral 0.1")
PAIRS = [(name, family.kind) for name, family in FAMILIES.items()] + [
    # Each template with a tokenizer of another kind too.
    (name, list(KINDS)[(list(KINDS).index(family.kind) + 1 + number % 4) % 5])
    for number, (name, family) in enumerate(FAMILIES.items())
]
BOTH = pytest.mark.parametrize(("name", "kind"), PAIRS)
pieces = st.sampled_from(
    ["Look around.", "Thought: yes\nAction: open drawer 2", "go", "a  b", "é", "naïve 中", "🙂", "x = [1,\n    2]", "1"]
)
words = st.lists(pieces, min_size=1, max_size=3).map(" ".join)
texts = st.tuples(
    st.sampled_from(["", " ", "\n", "  "]), words | st.just(""), st.sampled_from(["", " ", "\n\n", " \n"])
)
spaced = texts.map("".join)


@st.composite
def chats(draw: Any, contents: Any = words, ends: str = "assistant") -> list[Message]:
    """Draw a chat as agents make them: perhaps a system message, then user and assistant in turn."""
    chat = [Message("system", draw(contents))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        chat += [Message("user", draw(contents)), Message("assistant", draw(contents))]
    return chat if ends == "assistant" else chat[:-1]


def plain(name: str, messages: Sequence[Message]) -> list[dict[str, str]]:
    """Return the chat that the template gets."""
    chat = [{"role": m.role, "content": m.content} for m in messages]
    if name in NO_SYSTEM and chat[0]["role"] == "system":
        system, user = chat[0]["content"], chat[1]["content"]
        chat[:2] = [{"role": "user", "content": "\n\n".join(filter(None, (system, user)))}]
    return chat


def rendered(name: str, kind: str, messages: Sequence[Message], **options: Any) -> Any:
    template = FAMILIES[name].template_on(DAY)
    return tokenizer_of(name, kind).apply_chat_template(plain(name, messages), chat_template=template, **options)


def tokenised(name: str, kind: str, text: str) -> list[int]:
    return list(tokenizer_of(name, kind)(text, add_special_tokens=False)["input_ids"])


def whole(name: str, kind: str, chat: Sequence[Message]) -> list[int]:
    """Return the tokens of a chat that ends with the assistant."""
    if name == "deepseek":
        # Closed, the template drops the `<think>` of the prompt. What is trained on follows the prompt.
        text = rendered(name, kind, chat[:-1], tokenize=False, add_generation_prompt=True)
        return tokenised(name, kind, text + chat[-1].content + FAMILIES[name].eos)
    return list(rendered(name, kind, chat, return_dict=True)["input_ids"])


def runs(encoded: Encoded) -> list[list[int]]:
    """Return the tokens of each uninterrupted stretch of the mask."""
    pairs = zip(encoded.ids, encoded.mask, strict=True)
    groups = itertools.groupby(pairs, key=lambda pair: pair[1])
    return [[token for token, _ in group] for wanted, group in groups if wanted]


# -- Tokens and masks -------------------------------------------------------------------------------------------------


@BOTH
@settings(max_examples=12)
@given(chat=chats(spaced))
def test_tokens_are_those_of_the_template_tokenised_whole(name: str, kind: str, chat: list[Message]) -> None:
    encoder = family_encoder(name, kind)
    assert encoder.encode(chat, generate=False).ids == whole(name, kind, chat)
    wanted = rendered(name, kind, chat[:-1], return_dict=True, add_generation_prompt=True)["input_ids"]
    assert encoder.encode(chat[:-1], generate=True).ids == wanted


@BOTH
@settings(max_examples=12)
@given(chat=chats())
def test_the_mask_is_that_of_the_template(name: str, kind: str, chat: list[Message]) -> None:
    marked = rendered(name, kind, chat, return_dict=True, return_assistant_tokens_mask=True)
    expected = [token for token, wanted in zip(marked["input_ids"], marked["assistant_masks"], strict=True) if wanted]
    encoded = family_encoder(name, kind).encode(chat, generate=False)
    assert [*itertools.chain(*runs(encoded))] == expected
    if name != "deepseek":
        assert encoded.mask == list(map(bool, marked["assistant_masks"]))


@BOTH
@settings(max_examples=12)
@given(chat=chats(spaced), trainable=st.lists(st.booleans(), min_size=3, max_size=3))
def test_the_mask_covers_each_trainable_turn_with_its_end(
    name: str, kind: str, chat: list[Message], trainable: list[bool]
) -> None:
    flags = iter(trainable)
    chat = [replace(m, trainable=next(flags)) if m.role == "assistant" else m for m in chat]
    encoder = family_encoder(name, kind)
    found, wanted = (
        runs(encoder.encode(chat, generate=False)),
        [m for m in chat if m.role == "assistant" and m.trainable],
    )
    assert [run[-1] for run in found] == [encoder.eos_id] * len(wanted)
    if kind != "unigram":
        # Its vocabulary has no token for some letters.
        assert [encoder.decode(run).strip() for run in found] == [m.content.strip() for m in wanted]


@BOTH
@settings(max_examples=12)
@given(chat=chats(ends="user"), prefix=words)
def test_a_forced_beginning_of_a_turn_is_encoded_with_its_prompt(
    name: str, kind: str, chat: list[Message], prefix: str
) -> None:
    opened = [*chat, Message("assistant", prefix)]
    encoder = family_encoder(name, kind)
    encoded = encoder.encode(opened, generate=True)
    if name == "deepseek":
        wanted = tokenised(name, kind, rendered(name, kind, chat, tokenize=False, add_generation_prompt=True) + prefix)
    else:
        wanted = rendered(name, kind, opened, return_dict=True, continue_final_message=True)["input_ids"]
    assert encoded.ids == wanted
    prompt = encoder.encode(chat, generate=True)
    assert encoded.ids[: -encoded.prefix_length] == prompt.ids
    # The model goes on from there, and the turn is kept as tokens.
    kept = Message("assistant", prefix, tuple(encoded.ids[-encoded.prefix_length :]))
    assert encoder.encode([*chat, kept], generate=True).ids == encoded.ids
    assert encoder.encode([*chat, Message("assistant", "")], generate=True).ids == prompt.ids


@BOTH
@settings(max_examples=12)
@given(chat=chats(), kept=st.lists(st.booleans(), min_size=3, max_size=3))
def test_kept_tokens_of_some_turns_change_nothing(name: str, kind: str, chat: list[Message], kept: list[bool]) -> None:
    """A turn sampled as the template writes it gives the same chat, next to turns that were not sampled."""
    encoder, number = family_encoder(name, kind), 0
    expected = encoder.encode(chat, generate=False)
    sampled = list(chat)
    for i, message in enumerate(chat):
        if message.role == "assistant":
            if kept[number]:
                sampled[i] = replace(message, content="not read", token_ids=tuple(runs(expected)[number]))
            number += 1
    assert encoder.encode(sampled, generate=False) == expected


@BOTH
@settings(max_examples=12)
@given(chat=chats(spaced), ids=st.lists(st.integers(260, 300), max_size=5).map(tuple))
def test_sampled_tokens_stay(name: str, kind: str, chat: list[Message], ids: tuple[int, ...]) -> None:
    encoder = family_encoder(name, kind)
    ids = tuple(token % 200 for token in ids)
    sampled = [replace(m, token_ids=(*ids, encoder.eos_id)) if m.role == "assistant" else m for m in chat]
    replies = sum(m.role == "assistant" for m in chat)
    assert runs(encoder.encode(sampled, generate=False)) == [[*ids, encoder.eos_id]] * replies


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=10)
@given(chat=chats(ends="user"), choice=words)
def test_a_choice_is_encoded_as_the_turn_that_it_would_be(name: str, chat: list[Message], choice: str) -> None:
    for kind in KINDS:
        encoder = family_encoder(name, kind)
        encoded = encoder.encode(chat, generate=True)
        turn = encoder.encode([*chat, Message("assistant", choice)], generate=False)
        expected = runs(turn)[-1]
        if name == "llama 2":
            # The template alone puts a space before the end of a turn.
            expected = [*turn.ids[len(encoded.ids) : len(encoded.ids) + len(expected) - 2], encoder.eos_id]
        assert encoder.turn_tokens(encoded, choice)[-len(expected) :] == expected
        assert encoder.turn_tokens(encoded, choice) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_no_space_is_added_in_the_middle_of_a_turn(kind: str) -> None:
    encoder = family_encoder("zephyr", kind)
    for text in ("look", " look", "go to desk 1", "\nAction: look"):
        ids = encoder.tokens("Action:" + text)
        assert [*encoder.tokens("Action:"), *encoder.tokens(text)] == ids


@pytest.mark.parametrize("kind", ["llama", "metaspace", "unigram"])
def test_a_token_across_the_beginning_of_a_turn_belongs_to_the_turn(kind: str) -> None:
    """The space at the end of a prompt becomes part of the turn's first word."""
    template = (
        "{% for m in messages %}{{ m.role + ': ' + m.content + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    encoder = ChatEncoder(tokenizer_of("zephyr", kind), "m", ChatFormat(template))
    chat = [Message("user", "a"), Message("assistant", "open drawer 2")]
    encoded = encoder.encode(chat, generate=False)
    assert encoded.ids == tokenised("zephyr", kind, "user: a</s>assistant: open drawer 2</s>")
    [turn] = runs(encoded)
    assert turn == tokenised("zephyr", kind, "open drawer 2</s>")
    opened = encoder.encode(chat, generate=True)
    assert opened.ids[-opened.prefix_length :] == turn[:-1]


# -- Roles ------------------------------------------------------------------------------------------------------------


def encoder_for(template: str) -> ChatEncoder:
    return ChatEncoder(byte_tokenizer(template, "<eos>", ("<start_of_turn>", "<end_of_turn>")))


@pytest.mark.parametrize(
    "template",
    [GEMMA2, MISTRAL01, CHATML.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}")],
)
def test_the_system_text_stands_before_the_first_user_text(template: str) -> None:
    """Where a template refuses a system message or drops it, for acting and for training."""
    encoder = encoder_for(template)
    rest = [Message("assistant", "b"), Message("user", "c"), Message("assistant", "d")]
    chat, joined = [Message("system", "You act."), Message("user", "a")], [Message("user", "You act.\n\na")]
    for end, generate in itertools.product(range(len(rest) + 1), (True, False)):
        expected = encoder.encode([*joined, *rest[:end]], generate=generate)
        assert encoder.encode([*chat, *rest[:end]], generate=generate) == expected
    assert encoder.encode([Message("system", ""), chat[1]], generate=True) == encoder.encode(chat[1:], generate=True)
    assert encoder.encode(chat[:1], generate=True) == encoder.encode([Message("user", "You act.")], generate=True)


@pytest.mark.parametrize("name", ["llama 2", "mistral", "gemma 2", "gemma 3", "mistral 0.1"])
def test_user_messages_that_follow_each_other_become_one(name: str) -> None:
    encoder = family_encoder(name)
    chat = [Message("system", "s"), Message("user", "a"), Message("user", "b")]
    joined = [Message("system", "s"), Message("user", "a\n\nb")]
    assert encoder.encode(chat, generate=True) == encoder.encode(joined, generate=True)


def test_roles_that_the_template_takes_stay_as_they_are() -> None:
    encoder = family_encoder("chatml")
    chat = [Message("system", "s"), Message("user", "a"), Message("user", "b"), Message("system", "t")]
    assert encoder.layout.fit_roles(chat) == chat


# -- Today's date -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("llama 3.2", "26 Jul 2024"),
        ("granite", "July 26, 2024"),
        ("smollm 3", "26 July 2024"),
        ("mistral", "2024-07-26"),
    ],
)
def test_the_date_in_a_template_is_fixed_unless_one_is_given(name: str, shown: str) -> None:
    chat, tokenizer = [Message("user", "a")], tokenizer_of(name)
    text = tokenizer.decode(family_encoder(name).encode(chat, generate=True).ids)
    assert shown in text
    dated = ChatEncoder(tokenizer, name, ChatFormat(date="2026-03-01"))
    later = tokenizer.decode(dated.encode(chat, generate=True).ids)
    assert later == text.replace(
        shown,
        datetime.date(2026, 3, 1).strftime(
            {
                "26 Jul 2024": "%d %b %Y",
                "July 26, 2024": "%B %d, %Y",
                "26 July 2024": "%d %B %Y",
                "2024-07-26": "%Y-%m-%d",
            }[shown]
        ),
    )


def test_a_given_date_reaches_templates_that_take_date_string() -> None:
    template = (
        "{% if not date_string is defined %}{% set date_string = '26 Jul 2024' %}{% endif %}{{ date_string }}" + CHATML
    )
    tokenizer, chat = byte_tokenizer(template, "<|im_end|>", ("<|im_start|>",)), [Message("user", "a")]
    for chat_format, shown in ((ChatFormat(), "26 Jul 2024"), (ChatFormat(date="2025-12-31"), "31 Dec 2025")):
        ids = ChatEncoder(tokenizer, "m", chat_format).encode(chat, generate=True).ids
        assert tokenizer.decode(ids).startswith(shown + "<|im_start|>")


@pytest.mark.parametrize(
    "date", ["", "today", "26 Jul 2024", "2024-7-26", "20240726", "2024-02-30", "2024-07-26T10:00"]
)
def test_other_dates_are_refused(date: str) -> None:
    with pytest.raises(
        UsageError, match=r"the date of chats is .*; expected YYYY-MM-DD, such as 2024-07-26; pass --date"
    ):
        ChatFormat(date=date)


# -- A template from a file -------------------------------------------------------------------------------------------


def test_a_template_replaces_that_of_the_tokenizer() -> None:
    bare = byte_tokenizer(None, "<|im_end|>", ("<|im_start|>",))
    own = byte_tokenizer(CHATML, "<|im_end|>", ("<|im_start|>",))
    chat = [Message("user", "a"), Message("assistant", "b")]
    expected = ChatEncoder(own).encode(chat, generate=False)
    assert ChatEncoder(bare, "base", ChatFormat(CHATML)).encode(chat, generate=False) == expected
    with pytest.raises(UsageError, match="base has no chat template; pass one with --chat-template FILE"):
        ChatEncoder(bare, "base")
