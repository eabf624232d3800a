"""Scripted models, whose completions come from a function or a file: for tests, examples and baselines.

`ScriptedBackend` opens scripted models. Its adapters are tables from chats to answers, written by
`loops.learning.table`. For a chat that is not in the table, the base script answers.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ...envs.reading import parse_json, read_text
from ...errors import UsageError
from .core import Completion, Message, Sampling, Usage

Script = Callable[[Sequence[Message], Sampling], str]
"""Function that returns the completion of a chat."""
TABLE = "table.json"
"""File in an adapter's folder: answers (`turns`) and values (`values`) by `chat_key`."""


class ScriptedModel:
    """Deterministic language model whose completions are `script(messages, sampling)`.

    Token ids are the UTF-8 bytes of the text. All log-probabilities are 0.
    """

    window = 1 << 30

    def __init__(self, script: Script | Sequence[str], version: str = "scripted") -> None:
        """Create the model.

        Args:
            script: A function, or texts that are returned in turn; see `as_script`.
            version: Identifier of the model.
        """
        self.script = as_script(script)
        """The function that returns completions."""
        self.version = version
        self.calls = 0
        """Number of completions and scores."""
        self.waves = 0
        """Number of calls of `start_wave`."""
        self._read = self._sampled = 0

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Return the script's text, cut to `max_tokens` bytes. With `choices`, one of them follows `choices_after`."""
        self.calls += 1
        text = self.script(messages, sampling)
        if sampling.choices is not None:
            text = _constrained(text, sampling)
        ids = tuple(text.encode("utf-8", "surrogatepass"))
        read = sum(len(m.content.encode("utf-8", "surrogatepass")) for m in messages)
        self._read += read
        self._sampled += min(len(ids), sampling.max_tokens)
        if len(ids) > sampling.max_tokens:
            ids = ids[: sampling.max_tokens]
            text = bytes(ids).decode(errors="ignore")
            return Completion(text, ids, (0.0,) * len(ids), "length", prompt_tokens=read)
        return Completion(text, ids, (0.0,) * len(ids), "stop", prompt_tokens=read)

    async def score(self, messages: Sequence[Message], candidates: Sequence[str]) -> list[float]:
        """Score 0 for the script's own text, and a hash of the text in [-11, -1] for any other candidate."""
        self.calls += 1
        own_text = self.script(messages, Sampling(temperature=0))
        return [
            0.0 if c == own_text else -1.0 - zlib.crc32(c.encode("utf-8", "surrogatepass")) % 1001 / 100
            for c in candidates
        ]

    def start_wave(self) -> None:
        """Count the call. There is no cache."""
        self.waves += 1

    def usage(self) -> Usage:
        """Return calls and tokens so far. Tokens are bytes."""
        return Usage(self.calls, self._read, self._sampled)


class ScriptedCritic:
    """Critic with values from a table, and 0.5 for any other chat."""

    def __init__(self, values: Mapping[str, float], version: str) -> None:
        self._values = values
        self.version = version
        self.calls = 0

    async def value(self, messages: Sequence[Message]) -> float:
        """See `Critic.value`."""
        self.calls += 1
        return self._values.get(chat_key(messages), 0.5)

    def usage(self) -> Usage:
        """Return the number of calls so far."""
        return Usage(self.calls)


class ScriptedBackend:
    """Backend of scripted models. Adapters are tables, so `weights` is None."""

    repeatable = True
    weights = None

    def __init__(
        self, script: Script | Sequence[str], base: str = "scripted", adapters: Mapping[str, Script] | None = None
    ) -> None:
        """Create the backend.

        Args:
            script: Script of the base model; see `as_script`.
            base: Name of the base model.
            adapters: Scripts that replace adapters, by adapter name with or without `@<round>`. The name `base`
                replaces the base script.
        """
        self.base = base
        self._script = as_script(script)
        self._adapters = dict(adapters or {})
        self.opened: list[str] = []
        """Names of the models that were called, in the order of their first call; `base` for the base model."""
        self.freed = 0
        """Number of calls of `free`."""

    def model(
        self, adapter: Path | None = None, *, parallel: int = 128, batch_invariant: bool = False
    ) -> ScriptedModel:
        """See `Backend.model`."""
        name, started = (adapter.name if adapter else "base"), list[bool]()
        script = self._script_for(adapter)

        def recording_script(messages: Sequence[Message], sampling: Sampling) -> str:
            if not started:
                started.append(True)
                self.opened.append(name)
            return script(messages, sampling)

        return ScriptedModel(recording_script, self._version(adapter))

    def critic(self, adapter: Path) -> ScriptedCritic:
        """See `Backend.critic`."""
        return ScriptedCritic(read_table(adapter)[1], self._version(adapter))

    def free(self) -> None:
        """Count the call. There is no memory to release."""
        self.freed += 1

    def _script_for(self, adapter: Path | None) -> Script:
        if adapter is None:
            return self._adapters.get("base", self._script)
        for name in (adapter.name, adapter.name.partition("@")[0]):
            if name in self._adapters:
                return self._adapters[name]
        turns, _ = read_table(adapter)

        def from_table(messages: Sequence[Message], sampling: Sampling) -> str:
            known = turns.get(chat_key(messages))
            return self._script(messages, sampling) if known is None else known

        return from_table

    def _version(self, adapter: Path | None) -> str:
        if adapter is None:
            return self.base
        read_table(adapter)
        digest = hashlib.sha256((adapter / TABLE).read_bytes()).hexdigest()[:12]
        return f"{self.base}+{adapter.name}:{digest}"


def as_script(script: Script | Sequence[str]) -> Script:
    """Return a function as it is, or a script that cycles through texts, one for each assistant turn."""
    if callable(script):
        return script
    lines = tuple(script)
    return lambda messages, sampling: lines[sum(m.role == "assistant" for m in messages) % len(lines)]


def chat_key(messages: Sequence[Message]) -> str:
    """Return the key of a chat in a table: 16 hexadecimal digits of a hash of its roles and texts."""
    text = "\x1e".join(f"{m.role}\x1f{m.content}" for m in messages)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_table(adapter: Path) -> tuple[dict[str, str], dict[str, float]]:
    """Return the answers and values of an adapter. Raise `UsageError` if the folder has no valid table."""
    try:
        table = parse_json(read_text(adapter / TABLE))
        turns, values = dict(table["turns"]), dict(table["values"])
        if not all(isinstance(turn, str) for turn in turns.values()):
            raise TypeError("a turn is not a text")
        return turns, {key: float(value) for key, value in values.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{adapter} has no valid {TABLE} of a scripted model ({error}); train the adapter again"
        ) from error


def open_scripted(rest: str, on_status: object = None) -> ScriptedBackend:
    """Open `scripted:FILE`, where FILE is a JSON list or object.

    A list holds the turns, in order. An object maps texts to answers: the first key that occurs in the system prompt or
    in the last message selects the answer, which is a text or a list of texts to draw from. The empty key always
    matches.
    """
    try:
        content = parse_json(read_text(Path(rest)))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot read the script {rest!r} ({error}); expected scripted:FILE with a JSON file"
        ) from error
    if isinstance(content, list) and content and all(isinstance(turn, str) for turn in content):
        script: Script | list[str] = content
    elif isinstance(content, dict) and content and all(map(_is_answer, content.values())):
        script = _script_from_rules(content)
    else:
        raise UsageError(
            f"the script {rest!r} has the wrong form; expected a list of texts, or an object of texts or lists of texts"
        )
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    return ScriptedBackend(script, f"{Path(rest).name}:{digest}")


def _is_answer(value: object) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
    )


def _script_from_rules(rules: Mapping[str, str | list[str]]) -> Script:
    def script(messages: Sequence[Message], sampling: Sampling) -> str:
        shown = f"{messages[0].content}\n{messages[-1].content}"
        answer = next((text for key, text in rules.items() if key in shown), "")
        return answer if isinstance(answer, str) else answer[sampling.seed % len(answer)]

    return script


def _constrained(text: str, sampling: Sampling) -> str:
    """Replace the text after `choices_after` by the choice that it equals, or by one that the seed selects."""
    choices = sampling.choices or ("",)
    before, mark, rest = text.partition(sampling.choices_after) if sampling.choices_after else ("", "", text)
    if sampling.choices_after and not mark:
        return text
    chosen = next((choice for choice in choices if rest.strip() == choice), choices[sampling.seed % len(choices)])
    return f"{before}{mark}{chosen}"
