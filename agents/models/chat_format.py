"""`ChatFormat`: what a user sets about how a model's chats are written: the chat template, and today's date in it."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ...envs.reading import read_text
from ...errors import UsageError

DATE = "2024-07-26"
"""The date that templates get for today's by default: a fixed one, so that a run that goes on tomorrow sees the same
prompts. Templates of Llama 3 use the same one where they get none."""
MAX_TEMPLATE_CHARS = 1 << 20
"""Maximum length of a chat template, in characters."""


@dataclass(frozen=True)
class ChatFormat:
    """How chats become text, beyond what the folder of a model says."""

    template: str | None = None
    """Source of a chat template (Jinja) in place of the tokenizer's own; None for its own."""
    date: str = DATE
    """Date (`YYYY-MM-DD`) that templates get for today's."""

    def __post_init__(self) -> None:
        try:
            valid = datetime.date.fromisoformat(self.date).isoformat() == self.date
        except ValueError:
            valid = False
        if not valid:
            raise UsageError(f"the date of chats is {self.date!r}; expected YYYY-MM-DD, such as {DATE}; pass --date")

    @classmethod
    def read(cls, template: Path | None, date: str = DATE) -> Self:
        """Return the format with the chat template of a file.

        Raises:
            UsageError: If the file cannot be read or holds nothing, or the date is not of the form YYYY-MM-DD.
        """
        if template is None:
            return cls(None, date)
        try:
            source = read_text(template)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"cannot read the chat template {str(template)!r}: {error}; expected a text file with a Jinja template"
            ) from error
        if not source.strip():
            raise UsageError(f"the chat template {str(template)!r} is empty; expected a Jinja template")
        return cls(source, date)

    @property
    def suffix(self) -> str:
        """What it adds to the version of a model: empty if nothing is set, else a hash of what is."""
        if self == DEFAULT_FORMAT:
            return ""
        digest = hashlib.sha256(f"{self.template}\0{self.date}".encode("utf-8", "surrogatepass"))
        return f"~chat:{digest.hexdigest()[:8]}"

    def template_of(self, tokenizer: Any, name: str) -> str:
        """Return the chat template for a tokenizer: the one that was set, or the tokenizer's own default one.

        Raises:
            UsageError: There is none, it is no text or too long, or none of several is named `default`.
        """
        found = self.template if self.template is not None else getattr(tokenizer, "chat_template", None)
        if not found:
            raise UsageError(
                f"{name} has no chat template; pass one with --chat-template FILE, or use an instruction-tuned model"
            )
        template = found.get("default") if isinstance(found, dict) else found
        if not isinstance(template, str):
            raise UsageError(
                f"{name} has a chat template that is {str(found)[:60]!r}; expected one text, or several with one named "
                "default; pass one with --chat-template FILE"
            )
        if len(template) > MAX_TEMPLATE_CHARS:
            raise UsageError(
                f"{name} has a chat template of {len(template)} characters; expected at most {MAX_TEMPLATE_CHARS}; "
                "pass another with --chat-template FILE"
            )
        return template


DEFAULT_FORMAT = ChatFormat()
"""The tokenizer's own chat template on the day `DATE`."""
