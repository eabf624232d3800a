"""`open_backend`: what `--model` means. `KIND:REST`, or a Hugging Face folder or name by itself.

    local:FOLDER      a Hugging Face model folder, or a name in the local cache
    scripted:FILE     answers from a file (`agents.models.scripted`)
    seed:ENV          the seed policy of an environment, made when it is first asked for

A package offers another kind by a function of the rest and of `watch`:

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
from .core import Backend

Watch = Callable[[str, float], None]
"""Gets the name of what is being done and the share of it that is done, in [0, 1]."""
GROUP = "kintsugi.backends"
BUILTIN = (
    Plugin("local", "kintsugi.agents.models.local:open_local", "a Hugging Face model folder, in this process"),
    Plugin("scripted", "kintsugi.agents.models.scripted:open_scripted", "answers from a file, for tests and examples"),
    Plugin("seed", "kintsugi.loops.seeds.recipe:open_seed", "a small model made here, one an environment"),
)


def ignored(what: str, share: float) -> None:
    """A `Watch` that nobody looks at."""


def backends() -> list[Plugin]:
    """Ours first, then those of installed packages."""
    return plugins(GROUP, BUILTIN)


def open_backend(spec: str, watch: Watch = ignored) -> Backend:
    """The back end that `spec` names; `watch` is told of work that opening takes, such as making a seed policy.

    Raises `UsageError` for a kind that is unknown, with the nearest names, and for what the kind itself refuses.
    """
    kind, colon, rest = spec.partition(":")
    known = {part.name: part for part in backends()}
    if kind in known:
        return _opened(known[kind], rest, watch)
    if not spec:
        raise UsageError("the model's name is empty; expected KIND:REST, or a Hugging Face model folder")
    if colon and not Path(spec).exists():
        raise unknown("model", spec, [f"{name}:{rest}" for name in known])
    from .weights import known_models, load_config

    if load_config(spec) is None:
        raise unknown("model", spec, [*known, *known_models(spec)])
    return _opened(known["local"], spec, watch)


def _takes_two(opener: Callable[..., Any]) -> bool:
    try:
        inspect.signature(opener).bind("", ignored)
    except TypeError:
        return False
    except ValueError:
        # What is written in C may have no signature that could be asked for.
        return True
    return True


def _opened(part: Plugin, rest: str, watch: Watch) -> Backend:
    opener = part.load()
    if not (callable(opener) and _takes_two(opener)):
        raise UsageError(
            f"back end {part.name!r} ({part.about}): {part.target!r} is {opener!r:.80}; expected a function of the "
            "text after the colon and of watch"
        )
    found: Backend = opener(rest, watch)
    lacking = [
        name for name in ("base", "repeatable", "weights", "model", "critic", "free") if not hasattr(found, name)
    ]
    if lacking:
        raise UsageError(
            f"back end {part.name!r} ({part.about}) opened {found!r:.80}, which lacks {', '.join(lacking)}; expected a "
            "kintsugi.agents.models.Backend"
        )
    return found
