"""Opens sandboxes by name: Docker, bubblewrap, and the backends of other packages.

A package registers a backend in its `pyproject.toml`. The target implements `Sandbox` and is called without arguments:

    [project.entry-points."kintsugi.sandboxes"]
    my-sandbox = "mypackage.sandbox:MySandbox"

`kintsugi.envs.code.conformance.check_sandbox` checks whether a backend isolates programs.
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
ENV_VARIABLE = "KINTSUGI_SANDBOX"
"""Environment variable that names the default backend."""
AUTO_ORDER = (
    Plugin("docker", "kintsugi.envs.code.sandbox.docker_sandbox:DockerSandbox", "containers of a Docker engine"),
    Plugin("bubblewrap", "kintsugi.envs.code.sandbox.bubblewrap:BubblewrapSandbox", "namespaces without an engine"),
)
"""Backends in the order in which `auto` tries them."""
BUILTIN = (
    Plugin("auto", "kintsugi.envs.code.sandbox.choose:first_available", "the first available of docker and bubblewrap"),
    *AUTO_ORDER,
)
_shared: dict[tuple[int, str], Sandbox] = {}


def backends() -> list[Plugin]:
    """Return the built-in backends and those of installed packages."""
    return plugins(GROUP, BUILTIN)


def open_sandbox(backend: str | None = None) -> Sandbox:
    """Return a new sandbox. Use it in a `with` statement, or call `close` after use.

    Args:
        backend: Name of a backend, or a `module:Class`. None means `$KINTSUGI_SANDBOX`, or `auto` if that is not set.
            `auto` is Docker if this user can reach an engine, and bubblewrap otherwise.

    Raises:
        UsageError: If the backend is unknown or unavailable. The message says what to install. Code never runs
            without a sandbox.
    """
    return _open_plugin(find_plugin("sandbox", GROUP, backend or os.environ.get(ENV_VARIABLE) or "auto", BUILTIN))


def shared_sandbox(backend: str | None = None) -> Sandbox:
    """Return this process's shared sandbox of a backend. It is opened on first use and closed at exit.

    Args:
        backend: Name of a backend, a `module:Class`, or None; see `open_sandbox`.

    Raises:
        UsageError: If the backend is unknown or unavailable.
    """
    key = os.getpid(), backend or os.environ.get(ENV_VARIABLE) or "auto"
    if key not in _shared:
        _shared[key] = sandbox = open_sandbox(key[1])
        atexit.register(sandbox.close)
    return _shared[key]


def first_available() -> Sandbox:
    """Open the first available backend of `AUTO_ORDER`. Raises `UsageError` with the reasons if there is none."""
    reasons = []
    for plugin in AUTO_ORDER:
        try:
            return _open_plugin(plugin)
        except (Unavailable, MissingExtraError) as error:
            reasons.append(f"{plugin.name}: {error}")
    raise UsageError("no sandbox is available, and code never runs without one.\n" + "\n".join(reasons))


def _open_plugin(plugin: Plugin) -> Sandbox:
    label = f"sandbox {plugin.name!r} ({plugin.about})"
    make = load(plugin.target, label)
    # Callables written in C may have no signature.
    with contextlib.suppress(ValueError):
        try:
            inspect.signature(make).bind()
        except TypeError as error:
            raise UsageError(
                f"{label}: {plugin.target!r} cannot be called without arguments ({error}); expected a sandbox class"
            ) from None
    sandbox = make()
    if not isinstance(sandbox, Sandbox):
        raise UsageError(
            f"{label}: {plugin.target!r} returns {type(sandbox).__name__}; expected an implementation of "
            "kintsugi.envs.code.sandbox.Sandbox: name, run, open_workers, close"
        )
    accepted = inspect.signature(sandbox.run).parameters
    if "channel" not in accepted and not any(each.kind is each.VAR_KEYWORD for each in accepted.values()):
        raise UsageError(
            f"{label}: run of {type(sandbox).__name__} does not accept channel and trusted, which solutions and their "
            "tests need; see kintsugi.envs.code.sandbox.Sandbox.run"
        )
    return sandbox
