"""Chats to tokens and back: what was sampled goes in as it was sampled, and every token knows whose it is.

A chat template is taken apart once: a probe conversation is rendered, and the text around each turn's content is read
off. Where a template cannot be taken apart so (it trims or reorders content), each chat is rendered whole, with marks
in place of the assistant's turns. Either way the assistant's tokens are spliced in by turn and never searched for.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import TooLongError, UsageError
from .core import Message

_MARK = "\ue000{}\ue001"


@dataclass(frozen=True)
class Encoded:
    """A chat as tokens. All lists are flat; `mask` is as long as `ids`."""

    ids: list[int]
    mask: list[bool]
    """True on the tokens of trainable assistant turns, their end-of-turn token included."""
    turn_ends: list[int]
    """Lengths of `ids` just after what the assistant said in each turn: where a cached prefix may end."""
    opening: int = 0
    """Tokens at the end of `ids` that belong to the assistant's turn that was left open."""


@dataclass(frozen=True)
class _Pieces:
    """Text that the template puts around the content of each turn."""

    before_first: dict[str, str]
    before: dict[str, str]
    after: dict[str, str]
    generation_prompt: str


class ChatEncoder:
    """Encodes chats for one Hugging Face tokenizer. Raises `UsageError` when it has no chat template or end of turn."""

    def __init__(self, tokenizer: Any, where: str = "the tokenizer") -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise UsageError(f"{where} has no chat template; use an instruction-tuned model, or set and save one")
        if tokenizer.eos_token is None:
            raise UsageError(f"{where} has no eos_token, so a turn has no end; set one and save it")
        self.tokenizer = tokenizer
        self.where = where
        self.tokens = functools.lru_cache(maxsize=65536)(self._tokens)
        self.eos: str = self._end_of_turn()
        self.eos_id: int = tokenizer.convert_tokens_to_ids(self.eos)
        self._lead = self._lead_of_past_turns()
        self._pieces = self._take_apart()

    def encode(self, messages: Sequence[Message], *, generate: bool) -> Encoded:
        """The chat as tokens, ending where the assistant's next turn begins if `generate`.

        With `generate` and an assistant's turn at the end, that turn is left open, to be continued.
        """
        texts = self._texts(messages, generate)
        ids: list[int] = []
        mask: list[bool] = []
        turn_ends: list[int] = []
        replies = [m for m in messages if m.role == "assistant"]
        open_last = generate and messages[-1].role == "assistant"
        said: list[int] = []
        for number, reply in enumerate(replies):
            ids += self.tokens(texts[number])
            said = list(reply.token_ids if reply.token_ids is not None else self.tokens(reply.content))
            sampled_end = bool(said) and said[-1] == self.eos_id
            closed = not (open_last and number == len(replies) - 1)
            mask += [False] * (len(ids) - len(mask)) + [reply.trainable] * len(said)
            ids += said
            turn_ends.append(len(ids))
            if closed and not sampled_end:
                ids.append(self.eos_id)
                mask.append(reply.trainable and reply.token_ids is None)
        ids += self.tokens(texts[-1])
        mask += [False] * (len(ids) - len(mask))
        return Encoded(ids, mask, turn_ends, len(said) if open_last else 0)

    def fitting(self, messages: Sequence[Message], room: int, *, generate: bool = True) -> Sequence[Message]:
        """`messages`, or what is left of them in `room` tokens.

        Whole pairs of turns go, oldest first, but never the system's turn nor the first user's. Raises `TooLongError`
        when even the last pair does not fit.
        """
        kept = list(messages)
        head = next((i for i, m in enumerate(kept) if m.role == "user"), 0) + 1
        while len(self.encode(kept, generate=generate).ids) > room:
            if len(kept) <= head + 2:
                raise TooLongError(
                    f"{self.where} has room for {room} tokens and the chat's first and last turns alone have more; "
                    "use a model with a longer window"
                )
            del kept[head : head + 2]
        return kept

    def decode(self, ids: Sequence[int]) -> str:
        """The text of sampled tokens, special tokens and the end of the turn left out."""
        ids = ids[:-1] if ids and ids[-1] == self.eos_id else ids
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    # -- inside ---------------------------------------------------------------------------------------------------

    def _tokens(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

    def _texts(self, messages: Sequence[Message], generate: bool) -> list[str]:
        """The text before, between and after the assistant's turns, without the end-of-turn that closes each."""
        if self._pieces is None:
            return self._rendered_texts(messages, generate)
        return _joined(self._pieces, messages, generate, self.eos)

    def _end_of_turn(self) -> str:
        """The token that closes the assistant's turns in the template, `eos_token` where the template has none.

        Gemma's turns end with `<end_of_turn>` and Phi's with `<|end|>`, neither of which is their `eos_token`.
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

    def _lead_of_past_turns(self) -> str:
        """What the template puts before past turns and the model did not see when it began them: Llama 2's space."""
        chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _MARK.format(0)}]
        try:
            seen = self._render(chat[:1], True)
            shown = self._render([*chat, chat[0]], False).partition(_MARK.format(0))[0]
        except UsageError:
            return ""
        return shown[len(seen) :] if shown.startswith(seen) else ""

    def _rendered_texts(self, messages: Sequence[Message], generate: bool) -> list[str]:
        if messages[-1].role != "assistant":
            return self._split(messages, generate)
        # Some templates put something else before a chat's last turn than what the model saw when it began that turn.
        before = self._split(messages[:-1], True)
        return [*before, "" if generate else self._split(messages, False)[-1]]

    def _split(self, messages: Sequence[Message], prompt: bool) -> list[str]:
        """The rendered chat, cut at the assistant's turns; their contents and end-of-turn tokens left out."""
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
                    f"{self.where}: its chat template drops or repeats earlier assistant turns, so training cannot see "
                    "what was sampled; use a prefix-preserving template"
                )
            before, rest = rest.split(mark)
            texts.append(before.removesuffix(self._lead))
            closing = rest.lstrip()
            rest = closing[len(self.eos) :] if closing.startswith(self.eos) else rest
        return [*texts, rest]

    def _render(self, messages: list[dict[str, str]], generate: bool) -> str:
        try:
            return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generate))
        except Exception as error:
            raise UsageError(f"{self.where}: its chat template refuses the chat: {error}") from error

    def _take_apart(self) -> _Pieces | None:
        """The template's pieces, or None when a probe shows that it is more than pieces around contents."""
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
        pieces = _Pieces(
            before_first={"system": gaps[0], "user": first_user},
            before={"user": opens_user, "assistant": generation_prompt},
            after={"system": gaps[1].removesuffix(opens_user), "user": after_user, "assistant": text},
            generation_prompt=generation_prompt,
        )
        return pieces if text.startswith(self.eos) and self._agrees(pieces) else None

    def _agrees(self, pieces: _Pieces) -> bool:
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
                    if _joined(pieces, messages, generate, self.eos) != self._rendered_texts(messages, generate):
                        return False
        return True


def _joined(pieces: _Pieces, messages: Sequence[Message], generate: bool, eos: str) -> list[str]:
    texts, text = [], ""
    for number, message in enumerate(messages):
        before = pieces.before_first if number == 0 else pieces.before
        text += before.get(message.role, "")
        if message.role == "assistant":
            texts.append(text)
            text = pieces.after["assistant"][len(eos) :]
        else:
            text += message.content + pieces.after[message.role]
    if generate and messages[-1].role == "assistant":
        return [*texts, ""]
    return [*texts, text + (pieces.generation_prompt if generate else "")]
