"""Encoding of chats as tokens. Sampled tokens are kept exactly, and a mask marks the tokens of assistant turns.

`ChatLayout` cuts the text of a chat at the assistant's turns. What lies between two sampled turns is encoded as one
text, as if the chat template were tokenised whole: many tokenizers join tokens across the boundaries of messages, or
add a space at the beginning of a text. The tokens of a sampled turn are inserted at its place, never searched for.

Contents are plain text (`plain_text`): only the template sets control tokens such as the end of a turn, and sampled
tokens are kept as they were sampled. A lone surrogate in a content is encoded as U+FFFD.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...errors import TooLongError, UsageError
from .chat_format import DEFAULT_FORMAT, ChatFormat
from .chat_layout import ChatLayout
from .core import Message
from .plain_text import PlainText, no_panic

_NEUTRAL = (":", "\n", ".")
"""Texts that a text in the middle of a turn may follow, for tokenizers that add a space at the beginning of a text."""


@dataclass(frozen=True)
class Encoded:
    """A chat as tokens."""

    ids: list[int]
    """Token ids of the whole chat."""
    mask: list[bool]
    """One value for each token: True for trainable assistant turns, including their end-of-turn token."""
    turn_ends: list[int]
    """Positions in `ids` after the tokens of each assistant turn, where a cached prefix may end."""
    prefix_length: int = 0
    """Number of tokens at the end of `ids` that belong to an open assistant turn."""
    tail: str = ""
    """Text after the last assistant turn."""


class ChatEncoder:
    """Encodes chats with the chat template of a Hugging Face tokenizer."""

    def __init__(self, tokenizer: Any, name: str = "the tokenizer", chat_format: ChatFormat = DEFAULT_FORMAT) -> None:
        """Create the encoder.

        Args:
            tokenizer: A Hugging Face tokenizer.
            name: Name of the model for error messages.
            chat_format: Replaces the tokenizer's chat template, or sets the date in it.

        Raises:
            UsageError: If there is no chat template, or the tokenizer has no `eos_token`.
        """
        if tokenizer.eos_token is None:
            raise UsageError(f"{name} has no eos_token, which ends turns; save the tokenizer with one")
        self.tokenizer = tokenizer
        self.name = name
        self.layout = ChatLayout(tokenizer, name, chat_format)
        self.eos = self.layout.eos
        self.eos_id: int = tokenizer.convert_tokens_to_ids(self.eos)
        template_text = f"{self.layout.template}\0{self.eos}\0{self.layout.render_roles()}"
        self._plain_text = PlainText(tokenizer, template_text, name)
        self._text_tokens = functools.lru_cache(maxsize=65536)(self._encode_text)
        # A text is then not encoded as it is within a longer one.
        self._adds_space = self._plain_text.tokens_after(_NEUTRAL[0], "a") != self._plain_text.tokens("a")

    def encode(self, messages: Sequence[Message], *, generate: bool) -> Encoded:
        """Encode a chat.

        Args:
            messages: The chat.
            generate: Whether to end where the model continues: after the generation prompt or, if the last message is
                the assistant's, within that message.

        Raises:
            UsageError: If the template rejects the chat, or drops or repeats assistant turns.
        """
        messages = [
            # Copies cost more than all else here.
            message
            if (text := self._plain_text.mark(message.content)) == message.content
            else replace(message, content=text)
            for message in self.layout.fit_roles(messages)
        ]
        layout = self.layout.arrange(messages, generate)
        ids: list[int] = []
        mask: list[bool] = []
        turn_ends: list[int] = []
        replies = [m for m in messages if m.role == "assistant"]
        open_last = generate and messages[-1].role == "assistant"
        opened = 0
        for number, (reply, before, turn) in enumerate(zip(replies, layout.before, layout.turns, strict=True)):
            prompt = self._text_tokens(before, number == 0)
            turn_ids: Sequence[int]
            if reply.token_ids is None:
                whole = self._text_tokens(before + turn, number == 0)
                # The first token of a turn may also hold the end of the text before it.
                begins = _common_length(prompt, whole)
                prompt, turn_ids = whole[:begins], whole[begins:]
            else:
                turn_ids = reply.token_ids
            ids += [*prompt, *turn_ids]
            mask += [False] * len(prompt) + [reply.trainable] * len(turn_ids)
            turn_ends.append(len(ids))
            if open_last and number == len(replies) - 1:
                opened = len(turn_ids)
            elif not turn_ids or turn_ids[-1] != self.eos_id:
                ids.append(self.eos_id)
                mask.append(reply.trainable and reply.token_ids is None)
        rest = self._text_tokens(layout.after, not replies)
        tail = messages[-1].content if open_last else layout.after
        return Encoded([*ids, *rest], mask + [False] * len(rest), turn_ends, opened, tail)

    def tokens(self, text: str) -> list[int]:
        """Encode a text that is no part of a chat yet, such as an allowed action, as plain text.

        It is encoded as in the middle of a turn: no space is added at its beginning.
        """
        marked = self._plain_text.mark(text)
        for before in _NEUTRAL if self._adds_space and marked else ():
            if (found := self._plain_text.tokens_after(before, marked)) is not None:
                return found
        return list(self._text_tokens(marked, True))

    def turn_tokens(self, encoded: Encoded, text: str) -> list[int]:
        """Encode a whole turn of the assistant with its end, as it would follow a prompt.

        Args:
            encoded: A chat that ends where the model continues.
            text: Content of the turn, or its rest if the chat ends within the turn.
        """
        marked, first = self._plain_text.mark(text), not encoded.turn_ends
        if not encoded.prefix_length:
            turn = self.layout.turn_prefix + marked + self.eos
            prompt = self._text_tokens(encoded.tail, first)
            whole = self._text_tokens(encoded.tail + turn, first)
            if whole[: len(prompt)] == prompt:
                return list(whole[len(prompt) :])
        return [*self.tokens(text), self.eos_id]

    def truncate(self, messages: Sequence[Message], max_tokens: int, *, generate: bool = True) -> Sequence[Message]:
        """Drop the oldest turns until the chat has at most `max_tokens` tokens.

        Turns are dropped in pairs of assistant and user messages. The system message, the first user message and the
        last pair are kept.

        Raises:
            TooLongError: If the messages that are kept exceed `max_tokens`.
        """
        kept = list(messages)
        fixed = next((i for i, m in enumerate(kept) if m.role == "user"), 0) + 1
        while (length := len(self.encode(kept, generate=generate).ids)) > max_tokens:
            if len(kept) <= fixed + 2:
                raise TooLongError(
                    f"{self.name} allows {max_tokens} tokens here, but the first and last turns of the chat alone have "
                    f"{length}; use a model with a longer window, or shorter prompts and answers (--max-tokens)"
                )
            del kept[fixed : fixed + 2]
        return kept

    def decode(self, ids: Sequence[int]) -> str:
        """Decode sampled tokens without the end of the turn and special tokens."""
        ids = ids[:-1] if ids and ids[-1] == self.eos_id else ids
        with no_panic(self.name):
            return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _encode_text(self, text: str, first: bool) -> tuple[int, ...]:
        """Encode a text of the layout, which begins the chat or follows the end of an assistant turn."""
        if not text:
            return ()
        if first:
            return tuple(self._plain_text.tokens(text))
        ids = self._plain_text.tokens(self.eos + text)
        return tuple(ids[ids.index(self.eos_id) + 1 :] if self.eos_id in ids else self._plain_text.tokens(text))


def _common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the length of the longest common beginning."""
    shorter = min(len(a), len(b))
    return next((i for i in range(shorter) if a[i] != b[i]), shorter)
