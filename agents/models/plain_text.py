"""Encoding of text as plain text: what a world, a page or a model says never becomes a control token of the chat.

Tokenizers look for control tokens such as `<|im_end|>` anywhere in a text, so a web page could close its own turn and
open one of another role. `PlainText` prevents it in two steps. `mark` puts a mark before each place in a content where
a control token would begin. The chat template then puts its own text around the contents. `tokens` encodes the result:
control tokens of the template are found as usual, those with a mark are spelled in the tokens of ordinary text. Texts
without such a place are encoded by the tokenizer as they are.

The marks are lone surrogates. Contents cannot forge them: `mark` replaces lone surrogates in them by U+FFFD, because
tokenizers accept only Unicode text.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Iterator
from typing import Any

from ...envs.tasks import replace_surrogates
from ...errors import UsageError

MARK = "\ud800"
"""Stands before each character of a content where a control token would begin."""
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
"""Noncharacters of Unicode, which enclose the names of control tokens while marked text is encoded."""


@contextlib.contextmanager
def no_panic(name: str) -> Iterator[None]:
    """Convert the panics of tokenizers, such as that of an endless regular expression, to `UsageError`s.

    Args:
        name: Name of the model for error messages.
    """
    try:
        yield
    except BaseException as error:
        # The library is written in Rust, whose panics are no `Exception`s.
        if type(error).__name__ != "PanicException":
            raise
        problem = " ".join(str(error).split())[:160]
        raise UsageError(f"{name}: its tokenizer fails on a text ({problem}); use a model with another one") from error


class PlainText:
    """Encodes texts in which some control tokens are marked as plain text."""

    def __init__(self, tokenizer: Any, template_text: str, name: str = "the tokenizer") -> None:
        """Create the encoder.

        Args:
            tokenizer: A Hugging Face tokenizer.
            template_text: Source and output of its chat template. An added token that occurs in it is a control token.
            name: Name of the model for error messages.
        """
        self._tokenizer, self._model = tokenizer, name
        added = {str(token): int(token_id) for token_id, token in tokenizer.added_tokens_decoder.items()}
        special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        special |= {str(token) for token in tokenizer.all_special_tokens}
        self.control = {
            text: token_id
            for text, token_id in added.items()
            if text.strip() and (text in special or text in template_text or re.fullmatch(r"<[|｜].*[|｜]>", text))
        }
        """Ids of the control tokens, by their text."""
        self._ids = frozenset(self.control.values())
        texts = sorted(self.control, key=len, reverse=True)
        any_of = "|".join(map(re.escape, texts)) or r"(?!)"
        self._begins = re.compile(f"(?={any_of})")
        self._scan = re.compile(f"{MARK}(?s:.)|({any_of})")
        self._prefixes = {text[:n] for text in texts for n in range(1, len(text))}
        self._suffixes = {text[n:] for text in texts for n in range(1, len(text))}
        self._texts, self._longest = texts, max(map(len, texts), default=0)
        # A normalizer may turn other characters, such as full-width ones, into the text of a token.
        self._normalizes = any(t.normalized for t in tokenizer.added_tokens_decoder.values() if str(t) in self.control)
        self.mark = functools.lru_cache(maxsize=4096)(self._mark)

    def _mark(self, text: str) -> str:
        """Return a content with a mark before each place where a control token may begin or go on."""
        text = replace_surrogates(text)
        places = {match.start() for match in self._begins.finditer(text)}
        # Together with the text of the template around it, an end or a beginning may also form a control token.
        shown = text.strip()
        start, end = text.find(shown), text.find(shown) + len(shown)
        lengths = range(1, min(self._longest, len(shown) + 1))
        places |= {end - n for n in lengths if shown[-n:] in self._prefixes}
        within = bool(shown) and any(shown in each for each in self._texts)
        if within or any(shown[:n] in self._suffixes for n in lengths):
            places.add(start)
        if text and not places and self._normalizes and self._count(self._plain(text)):
            places.add(start)
        for place in sorted(places, reverse=True):
            text = text[:place] + MARK + text[place:]
        return text

    def tokens(self, text: str) -> list[int]:
        """Encode a text that may have marks. Without them, the tokenizer alone decides.

        Args:
            text: Text of a template, in which contents went through `mark`.

        Raises:
            UsageError: If the tokenizer fails on the text.
        """
        if MARK not in text:
            return self._plain(text)
        wanted = sum(match[1] is not None for match in self._scan.finditer(text))
        ids = self._plain(text.replace(MARK, ""))
        if self._count(ids) == wanted:
            return ids
        if self._renamed is not None:
            text_with_names = self._scan.sub(self._name, text.replace(_OPEN, "\ufffd")).replace(MARK, "")
            with no_panic(self._model):
                ids = list(self._renamed.encode(text_with_names, add_special_tokens=False).ids)
            if self._count(ids) == wanted:
                return ids
        return self._without_control_tokens(text)

    def _count(self, ids: list[int]) -> int:
        return sum(token_id in self._ids for token_id in ids)

    def _plain(self, text: str) -> list[int]:
        with no_panic(self._model):
            return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _name(self, match: re.Match[str]) -> str:
        """Return the new name of a control token of the template, or the marked character without its mark."""
        return match[0][1:] if match[1] is None else _new_name(self.control[match[1]])

    def tokens_after(self, before: str, text: str) -> list[int] | None:
        """Encode a text that follows another one, without the space that some tokenizers add at the beginning.

        Args:
            before: What stands before the text.
            text: A text that may have marks.

        Returns:
            The tokens of `text`, or None if tokens of `before` change when the text follows.
        """
        first, both = self.tokens(before), self.tokens(before + text)
        return both[len(first) :] if both[: len(first)] == first else None

    def _without_control_tokens(self, text: str) -> list[int]:
        """Encode the text piece by piece, and leave control tokens out of what is marked."""
        ids: list[int] = []
        position, before = 0, ""
        for match in [*self._scan.finditer(text), None]:
            if match is None or match[1] is not None:
                piece = text[position : match.start() if match else len(text)].replace(MARK, "")
                found = self._plain(before + piece)[len(self._plain(before)) :] if piece else []
                ids += [token_id for token_id in found if token_id not in self._ids]
            if match is not None and match[1] is not None:
                ids.append(self.control[match[1]])
                position, before = match.end(), match[1]
        return ids

    @functools.cached_property
    def _renamed(self) -> Any:
        """The same tokenizer with other names for the control tokens, None if it is not a fast tokenizer.

        Their ids stay the same. No text of a world contains the names, and the old texts are ordinary text.
        """
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None:
            return None
        from tokenizers import Tokenizer

        data = json.loads(backend.to_str())
        names = {text: _new_name(token_id) for text, token_id in self.control.items()}
        for token in data["added_tokens"]:
            if token["content"] in names:
                token.update(content=names[token["content"]], normalized=False)
        model = data["model"]
        if isinstance(vocab := model.get("vocab"), dict):
            model["vocab"] = {names.get(text, text): token_id for text, token_id in vocab.items()}
        elif vocab is not None:
            model["vocab"] = [[names.get(text, text), score] for text, score in vocab]
        if model.get("unk_token") in names:
            model["unk_token"] = names[model["unk_token"]]
        if "merges" in model:
            pairs = (pair.split(" ", 1) if isinstance(pair, str) else pair for pair in model["merges"])
            model["merges"] = [pair for pair in pairs if not names.keys() & {*pair, "".join(pair)}]
        data.update(post_processor=None, padding=None, truncation=None)
        try:
            renamed = Tokenizer.from_str(json.dumps(data))
        except Exception:
            return None
        same = all(renamed.token_to_id(names[text]) == token_id for text, token_id in self.control.items())
        return renamed if same else None


def _new_name(token_id: int) -> str:
    return f"{_OPEN}{token_id}{_CLOSE}"
