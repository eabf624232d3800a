"""`ChatLayout`: where a chat template puts the turns of the assistant, and how it writes each of them.

A template is split once: it renders a probe chat, and the text around each message's content is read off. If a template
cannot be split (it trims or reorders contents), each chat is rendered whole, once with marks in place of the
assistant's turns and once as it is.

Roles are fitted to the template: where it has no place for a system message, that text stands before the text of the
first user message, and where it wants user and assistant in turn, user messages that follow each other become one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...errors import UsageError
from .chat_format import ChatFormat
from .core import Message, Role
from .plain_text import MARK as PLAIN
from .template_render import render

_MARK = "\ud801{}\ud802"
"""Stands for a content while a template is rendered. Contents have no surrogates: `PlainText.mark` replaces them."""
_TRIED: tuple[tuple[str | None, tuple[str, ...]], ...] = (
    (None, ("a\n b ", " c", "d", "e e")),
    (" s \n", ("\n f\n", "", " ", "\n<think>\ng\n</think>\n\nh \n")),
    ("", ("", "", "", "")),
)
"""System messages, if any, and other contents of the chats on which a split template is compared with itself."""


@dataclass(frozen=True)
class Layout:
    """A chat as text, cut at the assistant's turns."""

    before: list[str]
    """Text before each assistant turn, from the end of the previous one on."""
    turns: list[str]
    """Text of each assistant turn as the template writes it, up to and including the token that ends it. The turn
    begins where the model would begin it. Turns that were sampled are not to be read from here."""
    after: str
    """Text after the end of the last assistant turn."""


@dataclass(frozen=True)
class _Parts:
    """Texts that a template puts around the content of messages, by role."""

    before_first: dict[str, str]
    before: dict[str, str]
    after: dict[str, str]
    generation_prompt: str


class ChatLayout:
    """The chat template of one tokenizer."""

    def __init__(self, tokenizer: Any, name: str, chat_format: ChatFormat) -> None:
        """Examine the template.

        Args:
            tokenizer: A Hugging Face tokenizer with an `eos_token`.
            name: Name of the model for error messages.
            chat_format: Replaces the tokenizer's template, or sets the date in it.

        Raises:
            UsageError: If there is no chat template, or it is none that can be used.
        """
        self.name = name
        self._special = tokenizer.special_tokens_map
        self._format = chat_format
        self.template = chat_format.template_of(tokenizer, name)
        self._takes_system = self._shows_system()
        self._takes_repeats = self._accepts("user", "user") or not self._accepts("user")
        self.eos = self._end_of_turn(tokenizer)
        """The token that ends assistant turns."""
        self._eos_pattern = re.compile(f"(?<!{PLAIN}){re.escape(self.eos)}")
        self._label, self.turn_prefix = self._before_turn()
        """The label is part of the prompt. The prefix is text that only past turns of the assistant have before their
        content, such as the space of Llama 2. A model that is asked for a turn samples it itself."""
        self._parts = self._find_parts()

    def fit_roles(self, messages: Sequence[Message]) -> list[Message]:
        """Return the chat with the roles that the template takes."""
        if self._takes_system and self._takes_repeats:
            return list(messages)
        fitted: list[Message] = []
        was_system = False
        for message in messages:
            is_system = message.role == "system" and not self._takes_system
            message = replace(message, role="user") if is_system else message
            follows = bool(fitted) and fitted[-1].role == message.role == "user"
            if follows and (was_system or is_system or not self._takes_repeats):
                contents = filter(None, (fitted[-1].content, message.content))
                fitted[-1] = Message("user", "\n\n".join(contents))
            else:
                fitted.append(message)
            was_system = is_system
        return fitted

    def arrange(self, messages: Sequence[Message], generate: bool) -> Layout:
        """Return the text of a chat whose roles were fitted.

        Args:
            messages: The chat. Its contents went through `PlainText.mark`.
            generate: Whether to end where the model continues: after the generation prompt or, if the last message is
                the assistant's, within that message.

        Raises:
            UsageError: If the template rejects the chat, or drops or repeats assistant turns.
        """
        if self._parts is None:
            return self._rendered(messages, generate)
        return self._joined(self._parts, messages, generate)

    def render_roles(self) -> str:
        """Return a chat with all roles as the template renders it, or an empty text if it rejects the chat."""
        for roles in (("system", "user", "assistant"), ("user", "assistant")):
            if (text := self._probe(*roles, prompt=True)) is not None:
                return text
        return ""

    # -- What the template does -----------------------------------------------------------------------------------

    def _render(self, messages: Sequence[dict[str, str]], prompt: bool) -> str:
        return render(
            self.template, messages, special=self._special, generate=prompt, name=self.name, date=self._format.date
        )

    def _probe(self, *roles: str, prompt: bool = False, around: str = "{}") -> str | None:
        """Return a chat with marks as contents, or None if the template rejects it."""
        chat = [{"role": role, "content": around.format(_MARK.format(i))} for i, role in enumerate(roles)]
        try:
            return self._render(chat, prompt)
        except UsageError:
            return None

    def _accepts(self, *roles: str) -> bool:
        return self._probe(*roles, prompt=True) is not None

    def _shows_system(self) -> bool:
        """Return whether the template has a place for a system message: it may reject one, or drop it silently."""
        shown = self._probe("system", "user", prompt=True)
        # A template that rejects both chats says why where a chat is encoded.
        return _MARK.format(0) in shown if shown is not None else not self._accepts("user")

    def _end_of_turn(self, tokenizer: Any) -> str:
        """Return the token that ends assistant turns in the template, or `eos_token` if the template has none.

        It may differ from `eos_token`: Gemma uses `<end_of_turn>` and Phi `<|end|>`.
        """
        eos = str(tokenizer.eos_token)
        closing = (self._probe("user", "assistant") or "").partition(_MARK.format(1))[2].lstrip()
        added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
        closed_by = [token for token in added if closing.startswith(token)]
        return eos if closing.startswith(eos) or not closed_by else max(closed_by, key=len)

    def _before_turn(self) -> tuple[str, str]:
        """Return what past assistant turns have before their content, but not the prompt: label and prefix.

        The label is that of a template which knows no `add_generation_prompt`, such as `assistant:`.
        """
        seen = self._probe("user", prompt=True)
        shown = (self._probe("user", "assistant", "user") or "").partition(_MARK.format(1))[0]
        if seen is None or not shown.startswith(seen):
            return "", ""
        more = shown[len(seen) :]
        label = more.rstrip() if seen == self._probe("user") else ""
        return label, more[len(label) :]

    # -- Whole chats ----------------------------------------------------------------------------------------------

    def _rendered(self, messages: Sequence[Message], generate: bool) -> Layout:
        """Return the layout of a chat that the template renders whole."""
        if messages[-1].role != "assistant":
            return self._cut(messages, generate)
        # The last turn follows the prompt that the model sees. Some templates render it otherwise once it is closed,
        # e.g. with a thinking block.
        seen, last = self._cut(messages[:-1], True), messages[-1]
        before = [*seen.before, seen.after]
        if generate:
            opened = self.turn_prefix + last.content if last.content else ""
            return Layout(before, [*seen.turns, opened], "")
        closed = self._cut(messages, False)
        return Layout(before, [*seen.turns, closed.turns[-1]], closed.after)

    def _cut(self, messages: Sequence[Message], prompt: bool) -> Layout:
        """Render a chat and cut it at the assistant's turns."""
        marks = itertools.count()
        marked, shown = list[dict[str, str]](), list[dict[str, str]]()
        contents: list[str] = []
        for message in messages:
            marked.append({"role": message.role, "content": message.content})
            shown.append(marked[-1])
            if message.role == "assistant":
                mark = _MARK.format(next(marks))
                contents.append(mark if message.token_ids is not None else message.content)
                marked[-1] = {"role": "assistant", "content": mark}
                shown[-1] = {"role": "assistant", "content": contents[-1]}
        text, gaps = self._render(marked, prompt), list[str]()
        for number in range(len(contents)):
            if text.count(_MARK.format(number)) != 1:
                raise UsageError(
                    f"{self.name}: the chat template drops or repeats earlier assistant turns, so training would not "
                    "see the sampled tokens; use a template that preserves prefixes"
                )
            gap, _, text = text.partition(_MARK.format(number))
            gaps.append(gap)
        gaps.append(text)
        layout = self._cut_at(self._render(shown, prompt), gaps, contents) if shown != marked else None
        if layout is None:
            # All turns were sampled, or what the template writes around a content depends on it.
            text = "".join(gap + content for gap, content in zip(gaps, [*contents, ""], strict=True))
            layout = self._cut_at(text, gaps, contents)
        assert layout is not None
        return replace(layout, after=layout.after + self._label) if prompt else layout

    def _cut_at(self, text: str, gaps: Sequence[str], contents: Sequence[str]) -> Layout | None:
        """Cut a chat at the assistant's turns.

        Args:
            text: The chat as the template renders it.
            gaps: The texts around the assistant's contents.
            contents: The assistant's contents; marks for turns that were sampled.

        Returns:
            The layout, or None if the text does not consist of gaps and contents. The template may trim contents.
        """
        before, turns, at = list[str](), list[str](), 0
        for number, content in enumerate(contents):
            gap = gaps[number] if number == 0 else gaps[number][len(self._closing(gaps[number])) :]
            closing = self._closing(gaps[number + 1])
            start = at + len(gap)
            opened = start - (len(gap) - len(gap.removesuffix(self.turn_prefix)))
            if closing and not content.startswith(_MARK[0]):
                end = self._eos_pattern.search(text, start)
                after = end.end() if end else -1
            else:
                after = start + len(content + closing) if text.startswith(content + closing, start) else -1
            if after < 0 or not text.startswith(gap, at):
                return None
            before.append(text[at:opened])
            turns.append(text[opened:after])
            at = after
        rest = gaps[-1][len(self._closing(gaps[-1])) :] if contents else gaps[-1]
        return Layout(before, turns, rest) if text[at:] == rest else None

    def _closing(self, gap: str) -> str:
        """Return what ends an assistant turn at the beginning of the text after its content."""
        closing = gap.lstrip()
        return gap[: len(gap) - len(closing)] + self.eos if closing.startswith(self.eos) else ""

    # -- Templates that can be split ------------------------------------------------------------------------------

    def _find_parts(self) -> _Parts | None:
        """Return the parts of the template, or None if it does not reduce to fixed texts around contents."""
        around = "\n  {}\n "
        first = ("system",) if self._takes_system else ()
        roles = (*first, "user", "assistant", "user", "assistant")
        asked, text = roles[: len(first) + 1], self._probe(*roles, around=around)
        shown, prompt = self._probe(*asked, around=around), self._probe(*asked, prompt=True, around=around)
        alone = self._probe("user", around=around)
        if text is None or shown is None or prompt is None or alone is None:
            return None
        contents = [around.format(_MARK.format(i)) for i in range(len(roles))]
        gaps: list[str] = []
        for content in contents:
            gap, _, text = text.partition(content)
            gaps.append(gap)
        opens_user = gaps[len(first) + 2].removeprefix(text)
        after_user = shown.partition(contents[len(first)])[2]
        generation_prompt = prompt.partition(contents[len(first)])[2].removeprefix(after_user) + self._label
        parts = _Parts(
            before_first={"system": gaps[0], "user": alone.partition(contents[0])[0]},
            before={"user": opens_user, "assistant": generation_prompt},
            after={"system": gaps[1].removesuffix(opens_user), "user": after_user, "assistant": text},
            generation_prompt=generation_prompt,
        )
        return parts if text.startswith(self.eos) and self._reproduce_template(parts) else None

    def _reproduce_template(self, parts: _Parts) -> bool:
        """Return whether `parts` give the same texts as the template for several test chats."""
        for system, contents in _TRIED:
            first = [Message("system", system)] if system is not None and self._takes_system else []
            roles: Sequence[Role] = ("user", "assistant", "user", "assistant")
            chat = first + [Message(role, content) for role, content in zip(roles, contents, strict=True)]
            for end in range(len(first) + 1, len(chat) + 1):
                for generate in (True, False):
                    try:
                        expected = self._rendered(chat[:end], generate)
                    except UsageError:
                        return False
                    if self._joined(parts, chat[:end], generate) != expected:
                        return False
        return True

    def _joined(self, parts: _Parts, messages: Sequence[Message], generate: bool) -> Layout:
        """Return the layout of a chat from the parts of the template."""
        before, turns, text = list[str](), list[str](), ""
        for number, message in enumerate(messages):
            text += (parts.before_first if number == 0 else parts.before).get(message.role, "")
            if message.role != "assistant":
                text += message.content + parts.after[message.role]
                continue
            before.append(text)
            turns.append(self.turn_prefix + message.content + self.eos)
            text = parts.after["assistant"][len(self.eos) :]
        if generate and messages[-1].role == "assistant":
            turns[-1] = turns[-1].removesuffix(self.eos) if messages[-1].content else ""
            return Layout(before, turns, "")
        return Layout(before, turns, text + (parts.generation_prompt if generate else ""))
