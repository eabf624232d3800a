"""Encoding of chats: sampled tokens are kept, and masks agree with Hugging Face."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.models.chat import ChatEncoder, Encoded
from kintsugi.agents.models.core import Message
from kintsugi.errors import UsageError
from kintsugi.loops.seeds.tokenizer import learn_tokenizer
from tiny_models import CHATML, FAMILIES, MASKED, byte_tokenizer, encoder_of

ALL = tuple(FAMILIES)
words = st.text(st.characters(exclude_categories=["Cs", "Co"]), max_size=12)
stripped = words.map(str.strip)
ids = st.lists(st.integers(0, 255), max_size=6).map(tuple)


@st.composite
def chats(draw, texts=words, sampled: bool = False) -> list[Message]:
    """Draw a chat: an optional system message, then pairs of user and assistant messages."""
    chat = [Message("system", draw(texts))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        reply_ids = draw(ids) if sampled else None
        chat.append(Message("user", draw(texts)))
        chat.append(Message("assistant", draw(texts), reply_ids, trainable=draw(st.booleans()) if sampled else True))
    return chat


def plain(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in messages]


def end_of(name: str) -> int:
    return int(encoder_of(name).tokenizer.convert_tokens_to_ids(FAMILIES[name][2]))


def trained(encoded: Encoded) -> list[int]:
    return [token for token, wanted in zip(encoded.ids, encoded.mask, strict=True) if wanted]


# -- Agreement with Hugging Face --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MASKED)
@given(chat=chats(stripped))
def test_tokens_and_mask_agree_with_the_template(name, chat):
    expected = encoder_of(name).tokenizer.apply_chat_template(
        plain(chat), return_dict=True, return_assistant_tokens_mask=True
    )
    actual = encoder_of(name).encode(chat, generate=False)
    assert actual.ids == expected["input_ids"]
    assert actual.mask == [bool(bit) for bit in expected["assistant_masks"]]
    assert any(actual.mask)


@pytest.mark.parametrize("name", [name for name in ALL if name != "spaced"])
@given(chat=chats(stripped))
def test_prompt_agrees_with_the_template(name, chat):
    tokenizer = encoder_of(name).tokenizer
    wanted = tokenizer.apply_chat_template(plain(chat[:-1]), tokenize=False, add_generation_prompt=True)
    assert tokenizer.decode(encoder_of(name).encode(chat[:-1], generate=True).ids) == wanted


@given(chat=chats())
def test_fast_path_agrees_with_rendering_whole_chats(chat):
    """The fast path gives the same tokens as rendering the whole chat."""
    for name in ("chatml", "default system", "seed"):
        quick, slow = encoder_of(name), ChatEncoder(encoder_of(name).tokenizer)
        assert slow.layout._parts
        slow.layout._parts = None
        for end, generate in itertools.product(range(1, len(chat) + 1), (True, False)):
            assert quick.encode(chat[:end], generate=generate) == slow.encode(chat[:end], generate=generate)


# -- Sampled tokens ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
@given(chat=chats(sampled=True), ended=st.lists(st.booleans(), min_size=3, max_size=3))
def test_sampled_tokens_are_kept(name, chat, ended):
    """Sampled tokens are kept even if tokenising the text gives others. A missing end of turn is added without loss."""
    end, number = end_of(name), 0
    for i, message in enumerate(chat):
        if message.role == "assistant":
            reply_ids = (*(message.token_ids or ()), *([end] if ended[number] else []))
            chat[i] = Message("assistant", message.content, reply_ids, message.trainable)
            number += 1
    replies = [m for m in chat if m.role == "assistant"]
    encoded = encoder_of(name).encode(chat, generate=False)
    assert len(encoded.ids) == len(encoded.mask)
    assert trained(encoded) == [token for m in replies if m.trainable for token in m.token_ids or ()]
    for reply, stop in zip(replies, encoded.turn_ends, strict=True):
        spoken = list(reply.token_ids or ())
        closed = encoded.ids[stop - len(spoken) : stop + 1]
        assert closed[: len(spoken)] == spoken
        assert (spoken and spoken[-1] == end) or closed[len(spoken) :] == [end]


def test_unusual_tokenisation_is_kept():
    tokenizer = learn_tokenizer(["go to mug 1"] * 20)
    encoder = ChatEncoder(tokenizer)
    spelled = tuple(tokenizer(letter, add_special_tokens=False)["input_ids"][0] for letter in "go to")
    usual = tokenizer("go to", add_special_tokens=False)["input_ids"]
    assert encoder.decode(spelled) == tokenizer.decode(usual) == "go to"
    assert len(usual) < len(spelled)
    chat = [Message("user", "a"), Message("assistant", "go to", (*spelled, encoder.eos_id))]
    assert trained(encoder.encode(chat, generate=False)) == [*spelled, encoder.eos_id]


@pytest.mark.parametrize("name", ALL)
@given(chat=chats(stripped, sampled=True))
def test_prompts_are_prefixes_of_the_whole_chat(name, chat):
    """The tokens before each assistant turn equal the prompt at the time of sampling."""
    encoder = encoder_of(name)
    whole = encoder.encode(chat, generate=False)
    for number, i in enumerate(i for i, m in enumerate(chat) if m.role == "assistant"):
        prompt = encoder.encode(chat[:i], generate=True)
        reply_ids = list(chat[i].token_ids or ())
        assert prompt.turn_ends == whole.turn_ends[:number]
        assert whole.ids[: len(prompt.ids) + len(reply_ids)] == prompt.ids + reply_ids
        assert whole.turn_ends[number] == len(prompt.ids) + len(reply_ids)


@pytest.mark.parametrize("name", ALL)
@given(chat=chats(stripped, sampled=True))
def test_last_turn_can_be_left_open(name, chat):
    encoder, reply_ids = encoder_of(name), chat[-1].token_ids or ()
    prompt, opened = encoder.encode(chat[:-1], generate=True), encoder.encode(chat, generate=True)
    assert opened.ids == [*prompt.ids, *reply_ids]
    assert opened.prefix_length == len(reply_ids)
    assert opened.turn_ends[-1] == len(opened.ids)


def test_end_of_turn_is_that_of_the_template():
    for name, (_, eos, end, _) in FAMILIES.items():
        assert encoder_of(name).eos == end
        assert encoder_of(name).eos_id == end_of(name)
        assert name == "own end of turn" or end == eos
    encoder = encoder_of("own end of turn")
    assert encoder.decode([*encoder.tokens("hi"), encoder.eos_id]) == "hi"


def test_ordinary_end_of_turn_token_is_not_decoded():
    tokenizer = byte_tokenizer(CHATML, "<eos>", ("<|im_start|>",))
    tokenizer.add_tokens(["<|im_end|>"])
    encoder = ChatEncoder(tokenizer)
    assert encoder.eos == "<|im_end|>"
    assert encoder.decode([*encoder.tokens("hi"), encoder.eos_id]) == "hi"


def test_missing_end_of_turn_is_added():
    encoder = ChatEncoder(
        byte_tokenizer("{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}", "<e>")
    )
    chat = [Message("user", "a"), Message("assistant", "b"), Message("user", "c"), Message("assistant", "d")]
    encoded = encoder.encode(chat, generate=False)
    assert trained(encoded) == [*encoder.tokens(" b"), encoder.eos_id, *encoder.tokens(" d"), encoder.eos_id]


@pytest.mark.parametrize(
    "mark_turns", ["{{ m.role + ': ' + m.content + '\n' }}", "{{ m.role }}:\n{{ m.content }}<e>\n"]
)
def test_a_template_without_a_generation_prompt_still_names_the_assistant(mark_turns):
    encoder = ChatEncoder(byte_tokenizer("{% for m in messages %}" + mark_turns + "{% endfor %}", "<e>"))
    chat = [Message("user", "a"), Message("assistant", "b"), Message("user", "c")]
    prompt = encoder.encode(chat, generate=True).ids
    assert encoder.tokenizer.decode(prompt).endswith("\nassistant:")
    assert encoder.encode([*chat, Message("assistant", "d")], generate=False).ids[: len(prompt)] == prompt


# -- Errors -----------------------------------------------------------------------------------------------------------


def test_tokenizers_without_template_or_eos_are_rejected():
    with pytest.raises(UsageError, match="my model has no chat template; pass one with --chat-template FILE"):
        ChatEncoder(byte_tokenizer(None, "<e>"), "my model")
    with pytest.raises(UsageError, match="my model has no eos_token"):
        ChatEncoder(byte_tokenizer(CHATML, None), "my model")


@pytest.mark.parametrize(
    "loop", ["{% for m in messages[-2:] %}", "{% for m in messages if m.role == 'user' or m == messages[-1] %}"]
)
def test_templates_that_drop_turns_are_rejected(loop):
    encoder = ChatEncoder(byte_tokenizer(CHATML.replace("{% for m in messages %}", loop), "<|im_end|>"))
    chat = [Message("user", "a"), Message("assistant", "b"), Message("user", "c"), Message("assistant", "d")]
    with pytest.raises(UsageError, match="drops or repeats earlier assistant turns"):
        encoder.encode(chat, generate=False)


def test_error_of_the_template_is_reported():
    strict = "{% if messages[0].content == '' %}{{ raise_exception('nothing asked') }}{% endif %}" + CHATML
    encoder = ChatEncoder(byte_tokenizer(strict, "<|im_end|>", ("<|im_start|>",)), "my model")
    assert encoder.encode([Message("user", "a")], generate=True).ids
    with pytest.raises(UsageError, match="my model: the chat template rejects the chat: nothing asked"):
        encoder.encode([Message("user", "")], generate=True)


# -- Truncation -------------------------------------------------------------------------------------------------------


@given(chats(sampled=True), st.integers(0, 3), st.integers(-1, 1), st.booleans())
def test_truncate_drops_the_oldest_pairs(chat, pairs, slack, generate):
    encoder = encoder_of("seed")
    if generate:
        chat = [*chat, Message("user", "last")]
    head = 2 if chat[0].role == "system" else 1

    def size(messages: Sequence[Message]) -> int:
        return len(encoder.encode(messages, generate=generate).ids)

    rest = chat[head:]
    room = size(chat[:head] + rest[2 * pairs :]) + slack
    if size(chat[:head] + (rest[-1:] if len(rest) % 2 else rest[-2:])) > room:
        with pytest.raises(UsageError, match=f"allows {room} tokens"):
            encoder.truncate(chat, room, generate=generate)
        return
    kept = list(encoder.truncate(chat, room, generate=generate))
    dropped = len(chat) - len(kept)
    assert dropped % 2 == 0
    assert kept == chat[:head] + chat[head + dropped :]
    assert size(kept) <= room
    if dropped:
        assert size(chat[:head] + chat[head + dropped - 2 :]) > room
