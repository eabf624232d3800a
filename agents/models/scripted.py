"""Models that say what a function or a file tells them to: for tests, examples and baselines.

`ScriptedBackend` opens them as models of one base. Its adapters are tables, which `loops.learning.table` learns: what
a table does not know is answered by the base's script.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ...errors import UsageError
from .core import Completion, Message, Sampling, Usage

Script = Callable[[Sequence[Message], Sampling], str]
TABLE = "table.json"
"""In an adapter's folder: `turns`, chat to answer, and `values`, chat to number, by `chat_key`."""


class ScriptedModel:
    """Deterministic: each completion is `script(messages, sampling)`; token ids are its UTF-8 bytes, log-probabilities
    0.

    `calls` counts completions and scores, so that tests can check budgets.
    """

    window = 1 << 30

    def __init__(self, script: Script | Sequence[str], version: str = "scripted") -> None:
        self.script = script_of(script)
        """What it says."""
        self.version = version
        self.calls = 0
        self.waves = 0
        """How often `start_wave` was called."""
        self._read = self._sampled = 0

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """The script's next line; cut to `max_tokens` bytes. With `choices`, the first of them that it says."""
        self.calls += 1
        text = self.script(messages, sampling)
        if sampling.choices is not None:
            text = _constrained(text, sampling)
        ids = tuple(text.encode())
        read = sum(len(m.content.encode()) for m in messages)
        self._read += read
        self._sampled += min(len(ids), sampling.max_tokens)
        if len(ids) > sampling.max_tokens:
            ids = ids[: sampling.max_tokens]
            text = bytes(ids).decode(errors="ignore")
            return Completion(text, ids, (0.0,) * len(ids), "length", prompt_tokens=read)
        return Completion(text, ids, (0.0,) * len(ids), "stop", prompt_tokens=read)

    async def score(self, messages: Sequence[Message], candidates: Sequence[str]) -> list[float]:
        """0 for what the script would say, and otherwise a fixed number in [-11, -1] that depends on the text alone."""
        self.calls += 1
        said = self.script(messages, Sampling(temperature=0))
        return [0.0 if c == said else -1.0 - zlib.crc32(c.encode()) % 1001 / 100 for c in candidates]

    def start_wave(self) -> None:
        """Nothing is kept; it is counted."""
        self.waves += 1

    def usage(self) -> Usage:
        """Tokens are bytes."""
        return Usage(self.calls, self._read, self._sampled)


class ScriptedCritic:
    """Values from a table; 0.5 for a chat that it does not know."""

    def __init__(self, values: Mapping[str, float], version: str) -> None:
        self._values = values
        self.version = version
        self.calls = 0

    async def value(self, messages: Sequence[Message]) -> float:
        """See `Critic.value`."""
        self.calls += 1
        return self._values.get(chat_key(messages), 0.5)

    def usage(self) -> Usage:
        """Its calls."""
        return Usage(self.calls)


class ScriptedBackend:
    """A `Backend` of scripts. Nothing is trained here but tables, so `weights` is None."""

    repeatable = True
    weights = None

    def __init__(
        self, script: Script | Sequence[str], base: str = "scripted", adapters: Mapping[str, Script] | None = None
    ) -> None:
        """`adapters` replaces what the adapters of these names, with or without `@<round>`, have learnt."""
        self.base = base
        self._script = script_of(script)
        self._adapters = dict(adapters or {})
        self.opened: list[str] = []
        """Names of the models that were asked something, in the order of their first call; `base` for the base."""
        self.freed = 0
        """How often `free` was called."""

    def model(
        self, adapter: Path | None = None, *, parallel: int = 128, batch_invariant: bool = False
    ) -> ScriptedModel:
        """See `Backend.model`."""
        name, begun = (adapter.name if adapter else "base"), list[bool]()
        script = self._of(adapter)

        def noted(messages: Sequence[Message], sampling: Sampling) -> str:
            if not begun:
                begun.append(True)
                self.opened.append(name)
            return script(messages, sampling)

        return ScriptedModel(noted, self._version(adapter))

    def critic(self, adapter: Path) -> ScriptedCritic:
        """See `Backend.critic`."""
        return ScriptedCritic(read_table(adapter)[1], self._version(adapter))

    def free(self) -> None:
        """Nothing is held; it is counted."""
        self.freed += 1

    def _of(self, adapter: Path | None) -> Script:
        if adapter is None:
            return self._adapters.get("base", self._script)
        for name in (adapter.name, adapter.name.partition("@")[0]):
            if name in self._adapters:
                return self._adapters[name]
        turns, _ = read_table(adapter)

        def learnt(messages: Sequence[Message], sampling: Sampling) -> str:
            known = turns.get(chat_key(messages))
            return self._script(messages, sampling) if known is None else known

        return learnt

    def _version(self, adapter: Path | None) -> str:
        if adapter is None:
            return self.base
        read_table(adapter)
        digest = hashlib.sha256((adapter / TABLE).read_bytes()).hexdigest()[:12]
        return f"{self.base}+{adapter.name}:{digest}"


def script_of(script: Script | Sequence[str]) -> Script:
    """A function as it is; of texts, the one whose number is that of the assistant's turns so far, round and round."""
    if callable(script):
        return script
    lines = tuple(script)
    return lambda messages, sampling: lines[sum(m.role == "assistant" for m in messages) % len(lines)]


def chat_key(messages: Sequence[Message]) -> str:
    """What a table knows a chat by: 16 hexadecimal digits of its roles and texts."""
    text = "\x1e".join(f"{m.role}\x1f{m.content}" for m in messages)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_table(adapter: Path) -> tuple[dict[str, str], dict[str, float]]:
    """Turns and values that `loops.learning.table` wrote; raises `UsageError` for another kind of adapter."""
    try:
        table = json.loads((adapter / TABLE).read_text())
        return dict(table["turns"]), dict(table["values"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{adapter} holds no {TABLE} of a scripted model ({error}); train it anew") from error


def open_scripted(rest: str, watch: object = None) -> ScriptedBackend:
    """`scripted:FILE`: a JSON list of turns that are said one after another, or an object.

    In an object, each key is a text to look for in the system prompt and in the last turn; the first that is found
    there gives the answer, a text or a list of texts to draw from. The empty key is always found.
    """
    try:
        content = json.loads(Path(rest).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the script {rest!r} ({error}); expected scripted:FILE, a JSON file") from error
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    base = f"{Path(rest).name}:{digest}"
    if isinstance(content, list) and content and all(isinstance(turn, str) for turn in content):
        return ScriptedBackend(content, base)
    if isinstance(content, dict) and content and all(map(_is_answer, content.values())):
        return ScriptedBackend(_looked_up(content), base)
    raise UsageError(f"the script {rest!r} is neither a list of texts nor an object of texts or lists of texts")


def _is_answer(value: object) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
    )


def _looked_up(rules: Mapping[str, str | list[str]]) -> Script:
    def script(messages: Sequence[Message], sampling: Sampling) -> str:
        shown = f"{messages[0].content}\n{messages[-1].content}"
        answer = next((said for text, said in rules.items() if text in shown), "")
        return answer if isinstance(answer, str) else answer[sampling.seed % len(answer)]

    return script


def _constrained(text: str, sampling: Sampling) -> str:
    """The text with what follows `choices_after` replaced by a choice, the one that it names or the first."""
    choices = sampling.choices or ("",)
    before, mark, rest = text.partition(sampling.choices_after) if sampling.choices_after else ("", "", text)
    if sampling.choices_after and not mark:
        return text
    chosen = next((choice for choice in choices if rest.strip() == choice), choices[sampling.seed % len(choices)])
    return f"{before}{mark}{chosen}"
