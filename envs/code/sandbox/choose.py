"""Which sandboxes there are: Docker, bubblewrap, and those that other packages offer.

A package offers one by its name in its `pyproject.toml`; it is what `Sandbox` says, opened without arguments:

    [project.entry-points."kintsugi.sandboxes"]
    my-sandbox = "mypackage.sandbox:MySandbox"

`conformance.check_sandbox` says whether it keeps what programs are kept from.
"""

from __future__ import annotations

import atexit
import contextlib
import inspect
import os

from ....errors import MissingExtraError, UsageError
from ....plugins import Plugin, find_plugin, load, plugins
from .core import Sandbox, Unavailable

GROUP = "kintsugi.sandboxes"
VARIABLE = "KINTSUGI_SANDBOX"
"""Names the back end where the code does not."""
OURS = (
    Plugin("docker", "kintsugi.envs.code.sandbox.docker_sandbox:DockerSandbox", "containers of a Docker engine"),
    Plugin("bubblewrap", "kintsugi.envs.code.sandbox.bubblewrap:BubblewrapSandbox", "namespaces without an engine"),
)
"""In the order in which `auto` tries them."""
BUILTIN = (
    Plugin("auto", "kintsugi.envs.code.sandbox.choose:first_available", "the first of ours that can be had"),
    *OURS,
)
_shared: dict[tuple[int, str], Sandbox] = {}


def backends() -> list[Plugin]:
    """Ours, and those of installed packages."""
    return plugins(GROUP, BUILTIN)


def open_sandbox(backend: str | None = None) -> Sandbox:
    """A new sandbox of a back end: a name of `backends`, or a `module:Class`; None is `$KINTSUGI_SANDBOX`, else `auto`.

    `auto` is Docker where an engine answers this user, and bubblewrap where none does. Raises `UsageError`, saying what
    is missing and how to get it, where neither can be had: there is no sandbox that does not isolate.
    """
    return _opened(find_plugin("sandbox", GROUP, backend or os.environ.get(VARIABLE) or "auto", BUILTIN))


def shared_sandbox(backend: str | None = None) -> Sandbox:
    """The sandbox of a back end that this process shares; opened when first asked for, closed when the process ends."""
    key = os.getpid(), backend or os.environ.get(VARIABLE) or "auto"
    if key not in _shared:
        _shared[key] = sandbox = open_sandbox(key[1])
        atexit.register(sandbox.close)
    return _shared[key]


def first_available() -> Sandbox:
    """The first of `OURS` that can be had; raises `UsageError` with what each of them lacks."""
    reasons = []
    for part in OURS:
        try:
            return _opened(part)
        except (Unavailable, MissingExtraError) as error:
            reasons.append(f"{part.name}: {error}")
    raise UsageError("there is no sandbox to run code in, and it is never run without one.\n" + "\n".join(reasons))


def _opened(part: Plugin) -> Sandbox:
    what = f"sandbox {part.name!r} ({part.about})"
    make = load(part.target, what)
    # What is written in C may have no signature that could be asked for.
    with contextlib.suppress(ValueError):
        try:
            inspect.signature(make).bind()
        except TypeError as error:
            raise UsageError(
                f"{what}: {part.target!r} cannot be opened without arguments ({error}); expected a class of sandboxes"
            ) from None
    sandbox = make()
    if not isinstance(sandbox, Sandbox):
        raise UsageError(
            f"{what}: {part.target!r} opens {type(sandbox).__name__}; expected what "
            "kintsugi.envs.code.sandbox.Sandbox says: name, run, holdings, close"
        )
    return sandbox
