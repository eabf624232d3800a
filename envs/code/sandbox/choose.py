"""Which sandbox there is: Docker where an engine answers, bubblewrap where none does, and never none at all."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable

from ....errors import MissingExtraError, UsageError, unknown
from .bubblewrap import BubblewrapSandbox
from .core import Sandbox, Unavailable
from .docker_sandbox import DockerSandbox

VARIABLE = "KINTSUGI_SANDBOX"
"""Names the back end where the code does not."""
BACKENDS: dict[str, Callable[[], Sandbox]] = {"docker": DockerSandbox, "bubblewrap": BubblewrapSandbox}
_shared: dict[tuple[int, str], Sandbox] = {}


def open_sandbox(backend: str | None = None) -> Sandbox:
    """A new sandbox of a back end: `docker`, `bubblewrap`, or `auto`; None is `$KINTSUGI_SANDBOX`, else `auto`.

    `auto` is Docker where an engine answers this user, and bubblewrap where none does. Raises `UsageError`, saying what
    is missing and how to get it, where neither can be had: there is no sandbox that does not isolate.
    """
    backend = backend or os.environ.get(VARIABLE) or "auto"
    if backend == "auto":
        return _first_available()
    if backend not in BACKENDS:
        raise unknown("sandbox", backend, ["auto", *BACKENDS])
    return BACKENDS[backend]()


def shared_sandbox(backend: str | None = None) -> Sandbox:
    """The sandbox of a back end that this process shares; opened when first asked for, closed when the process ends."""
    key = os.getpid(), backend or os.environ.get(VARIABLE) or "auto"
    if key not in _shared:
        _shared[key] = sandbox = open_sandbox(key[1])
        atexit.register(sandbox.close)
    return _shared[key]


def _first_available() -> Sandbox:
    reasons = []
    for name, make in BACKENDS.items():
        try:
            return make()
        except (Unavailable, MissingExtraError) as error:
            reasons.append(f"{name}: {error}")
    raise UsageError("there is no sandbox to run code in, and it is never run without one.\n" + "\n".join(reasons))
