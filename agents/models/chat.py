"""Encoding of chats as tokens. Sampled tokens are kept exactly, and a mask marks the tokens of assistant turns.

The encoder splits a chat template once: it renders a probe chat and reads off the text around each message's content.
If a template cannot be split (it trims or reorders content), each chat is rendered whole, with marks in place of the
assistant's turns. In both cases, the tokens of each assistant turn are inserted at its place, never searched for.

Contents are plain text (`plain_text`): only the template sets control tokens such as the end of a turn, and sampled
tokens are kept as they were sampled. A lone surrogate in a content is encoded as U+FFFD.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...errors import TooLongError, UsageError
from .core import Message
from .plain_text import PlainText, no_panic
from .template_render import render, template_of

_MARK = "\ud801{}\ud802"
"""Stands for a content while a template is rendered. Contents have no surrogates: `PlainText.mark` replaces them."""
MAX_TEMPLATE_CHARS = 1 << 20
"""Maximum length of a chat template, in characters."""


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


@dataclass(frozen=True)
class _TemplateParts:
    """Texts that a template puts around the content of messages, by role."""

    before_first: dict[str, str]
    before: dict[str, str]
    after: dict[str, str]
    generation_prompt: str


class ChatEncoder:
    """Encodes chats with the chat template of a Hugging Face tokenizer."""

    def __init__(self, tokenizer: Any, name: str = "the tokenizer") -> None:
        """Create the encoder.

        Args:
            tokenizer: A Hugging Face tokenizer.
            name: Name of the model for error messages.

        Raises:
            UsageError: If the tokenizer has no chat template or no `eos_token`.
        """
        template = template_of(tokenizer, name)
        if len(template) > MAX_TEMPLATE_CHARS:
            raise UsageError(
                f"{name} has a chat template of {len(template)} characters; expected at most "
                f"{MAX_TEMPLATE_CHARS}; use a tokenizer with an ordinary template"
            )
        if tokenizer.eos_token is None:
            raise UsageError(f"{name} has no eos_token, which ends turns; save the tokenizer with one")
        self.tokenizer = tokenizer
        self.name = name
        self._template = template
        self.eos: str = self._end_of_turn()
        self.eos_id: int = tokenizer.convert_tokens_to_ids(self.eos)
        self._turn_prefix = self._find_turn_prefix()
        self._parts = self._find_template_parts()
        self._plain_text = PlainText(tokenizer, f"{template}\0{self.eos}\0{self._render_roles()}", name)
        self._marked_tokens = functools.lru_cache(maxsize=65536)(self._plain_text.tokens)

    def encode(self, messages: Sequence[Message], *, generate: bool) -> Encoded:
        """Encode a chat.

        Args:
            messages: The chat.
            generate: Whether to end where the model continues: after the generation prompt or, if the last message is
                the assistant's, within that message.

        Raises:
            UsageError: If the template rejects the chat, or drops or repeats assistant turns.
        """
        marked = [self._plain_text.mark(message.content) for message in messages]
        messages = [
            message if message.content == text else replace(message, content=text)
            for message, text in zip(messages, marked, strict=True)
        ]
        texts = self._surrounding_texts(messages, generate)
        ids: list[int] = []
        mask: list[bool] = []
        turn_ends: list[int] = []
        replies = [m for m in messages if m.role == "assistant"]
        open_last = generate and messages[-1].role == "assistant"
        turn_ids: list[int] = []
        for number, reply in enumerate(replies):
            ids += self._text_tokens(texts[number])
            turn_ids = list(reply.token_ids if reply.token_ids is not None else self._text_tokens(reply.content))
            sampled_end = bool(turn_ids) and turn_ids[-1] == self.eos_id
            closed = not (open_last and number == len(replies) - 1)
            mask += [False] * (len(ids) - len(mask)) + [reply.trainable] * len(turn_ids)
            ids += turn_ids
            turn_ends.append(len(ids))
            if closed and not sampled_end:
                ids.append(self.eos_id)
                mask.append(reply.trainable and reply.token_ids is None)
        ids += self._text_tokens(texts[-1])
        mask += [False] * (len(ids) - len(mask))
        return Encoded(ids, mask, turn_ends, len(turn_ids) if open_last else 0)

    def tokens(self, text: str) -> list[int]:
        """Encode a text that is no part of a chat yet, such as an allowed action, as plain text."""
        return list(self._text_tokens(self._plain_text.mark(text)))

    def truncate(self, messages: Sequence[Message], max_tokens: int, *, generate: bool = True) -> Sequence[Message]:
        """Drop the oldest turns until the chat has at most `max_tokens` tokens.

        Turns are dropped in pairs of assistant and user messages. The system message, the first user message and the
        last pair are kept.

        Raises:
            TooLongError: If the messages that are kept exceed `max_tokens`.
        """
        kept = list(messages)
        fixed = next((i for i, m in enumerate(kept) if m.role == "user"), 0) + 1
        while len(self.encode(kept, generate=generate).ids) > max_tokens:
            if len(kept) <= fixed + 2:
                raise TooLongError(
                    f"{self.name} allows {max_tokens} tokens here, but the first and last turns of the chat alone are "
                    "longer; use a model with a longer window"
                )
            del kept[fixed : fixed + 2]
        return kept

    def decode(self, ids: Sequence[int]) -> str:
        """Decode sampled tokens without the end of the turn and special tokens."""
        ids = ids[:-1] if ids and ids[-1] == self.eos_id else ids
        with no_panic(self.name):
            return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    # -- Template -------------------------------------------------------------------------------------------------

    def _text_tokens(self, marked: str) -> list[int]:
        return self._marked_tokens(marked) if marked else []

    def _render_roles(self) -> str:
        """Return a chat with all roles as the template renders it, or an empty text if it rejects the chat."""
        for roles in (("system", "user", "assistant"), ("user", "assistant")):
            with contextlib.suppress(UsageError):
                return self._render([{"role": role, "content": "a"} for role in roles], True)
        return ""

    def _surrounding_texts(self, messages: Sequence[Message], generate: bool) -> list[str]:
        """Return the texts before, between and after the assistant turns, without end-of-turn tokens."""
        if self._parts is None:
            return self._surrounding_texts_by_marks(messages, generate)
        return _join_parts(self._parts, messages, generate, self.eos)

    def _end_of_turn(self) -> str:
        """Return the token that ends assistant turns in the template, or `eos_token` if the template has none.

        It may differ from `eos_token`: Gemma uses `<end_of_turn>` and Phi `<|end|>`.
        """
        mark, eos = _MARK.format(0), str(self.tokenizer.eos_token)
        try:
            chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": mark}]
            closing = self._render(chat, False).partition(mark)[2].lstrip()
        except UsageError:
            return eos
        added = {str(token) for token in self.tokenizer.added_tokens_decoder.values()}
        closed_by = [token for token in added if closing.startswith(token)]
        return eos if closing.startswith(eos) or not closed_by else max(closed_by, key=len)

    def _find_turn_prefix(self) -> str:
        """Return the text that only past assistant turns have before their content, such as the space of Llama 2."""
        chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _MARK.format(0)}]
        try:
            seen = self._render(chat[:1], True)
            shown = self._render([*chat, chat[0]], False).partition(_MARK.format(0))[0]
        except UsageError:
            return ""
        return shown[len(seen) :] if shown.startswith(seen) else ""

    def _surrounding_texts_by_marks(self, messages: Sequence[Message], generate: bool) -> list[str]:
        if messages[-1].role != "assistant":
            return self._render_around_turns(messages, generate)
        # Some templates render the last turn differently from the prompt that the model saw, e.g. with a thinking
        # block.
        before = self._render_around_turns(messages[:-1], True)
        return [*before, "" if generate else self._render_around_turns(messages, False)[-1]]

    def _render_around_turns(self, messages: Sequence[Message], prompt: bool) -> list[str]:
        """Render the chat with marks as assistant turns and split it at them, without end-of-turn tokens."""
        marked: list[dict[str, str]] = []
        marks: list[str] = []
        for message in messages:
            content = message.content
            if message.role == "assistant":
                content = _MARK.format(len(marks))
                marks.append(content)
            marked.append({"role": message.role, "content": content})
        rest = self._render(marked, prompt)
        texts = []
        for mark in marks:
            if rest.count(mark) != 1:
                raise UsageError(
                    f"{self.name}: the chat template drops or repeats earlier assistant turns, so training would not "
                    "see the sampled tokens; use a template that preserves prefixes"
                )
            before, rest = rest.split(mark)
            texts.append(before.removesuffix(self._turn_prefix))
            closing = rest.lstrip()
            rest = closing[len(self.eos) :] if closing.startswith(self.eos) else rest
        return [*texts, rest]

    def _render(self, messages: list[dict[str, str]], generate: bool) -> str:
        special = self.tokenizer.special_tokens_map
        return render(self._template, messages, special=special, generate=generate, name=self.name)

    def _find_template_parts(self) -> _TemplateParts | None:
        """Return the parts of the template, or None if it does not reduce to fixed texts around contents."""
        roles = ("system", "user", "assistant", "user", "assistant")
        probe = [{"role": role, "content": f"  {_MARK.format(i)}\n "} for i, role in enumerate(roles)]
        try:
            text = self._render(probe, False)
            after_user = self._render(probe[:2], False).partition(probe[1]["content"])[2]
            generation_prompt = self._render(probe[:2], True).partition(probe[1]["content"])[2].removeprefix(after_user)
            first_user = self._render(probe[1:2], False).partition(probe[1]["content"])[0]
        except UsageError:
            return None
        gaps: list[str] = []
        for turn in probe:
            gap, _, text = text.partition(turn["content"])
            gaps.append(gap)
        opens_user = gaps[3].removeprefix(text)
        parts = _TemplateParts(
            before_first={"system": gaps[0], "user": first_user},
            before={"user": opens_user, "assistant": generation_prompt},
            after={"system": gaps[1].removesuffix(opens_user), "user": after_user, "assistant": text},
            generation_prompt=generation_prompt,
        )
        return parts if text.startswith(self.eos) and self._reproduce_template(parts) else None

    def _reproduce_template(self, parts: _TemplateParts) -> bool:
        """Return whether `parts` give the same texts as the template for several test chats."""
        chat = [
            Message("user", "a\n b "),
            Message("assistant", " c"),
            Message("user", "d"),
            Message("assistant", "e e"),
        ]
        for first in ([], [Message("system", " s ")]):
            for end in (1, 2, 3, 4):
                messages = [*first, *chat[:end]]
                for generate in (True, False):
                    if _join_parts(parts, messages, generate, self.eos) != self._surrounding_texts_by_marks(
                        messages, generate
                    ):
                        return False
        return True


def _join_parts(parts: _TemplateParts, messages: Sequence[Message], generate: bool, eos: str) -> list[str]:
    """Return the texts before, between and after the assistant turns, without end-of-turn tokens."""
    texts, text = [], ""
    for number, message in enumerate(messages):
        before = parts.before_first if number == 0 else parts.before
        text += before.get(message.role, "")
        if message.role == "assistant":
            texts.append(text)
            text = parts.after["assistant"][len(eos) :]
        else:
            text += message.content + parts.after[message.role]
    if generate and messages[-1].role == "assistant":
        return [*texts, ""]
    return [*texts, text + (parts.generation_prompt if generate else "")]
