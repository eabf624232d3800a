"""Plugins: environments, agents, loops, backends, seed families and sandboxes, built in or from other packages.

Each group lists its built-in plugins and those that installed packages declare as entry points, for example:

    [project.entry-points."kintsugi.loops"]
    my-loop = "mypackage.loop:LOOP"

Listing plugins imports nothing. A plugin is imported when it is loaded.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from .errors import UsageError, missing_extra, unknown


@dataclass(frozen=True)
class Plugin:
    """A named plugin that is not imported yet."""

    name: str
    target: str
    """`module:attribute`."""
    about: str
    """One line for listings: a description, or the package that declares it."""

    def load(self) -> Any:
        """Import the target and return it.

        Raises:
            UsageError: If the import fails.
            MissingExtraError: If an optional library is not installed.
        """
        return load(self.target, f"{self.name!r} ({self.about})")


def plugins(group: str, builtin: Sequence[Plugin] = ()) -> list[Plugin]:
    """Return the built-in plugins, then those of installed packages, sorted by name.

    When a name occurs twice, the built-in plugin wins, then the package whose name sorts first. Every other entry point
    of this name is skipped with a warning.

    Args:
        group: Entry-point group, such as `kintsugi.agents`.
        builtin: The plugins that Kintsugi itself provides in this group.
    """
    found = {plugin.name: plugin for plugin in builtin}
    points = [
        (point.name, point.dist.name if point.dist else "", point) for point in metadata.entry_points(group=group)
    ]
    for name, package, point in sorted(points, key=lambda each: each[:2]):
        about = f"from {package or 'an installed package'}"
        if name not in found:
            found[name] = Plugin(name, point.value, about)
        elif (found[name].target, found[name].about) != (point.value, about):
            warnings.warn(
                f"{group}: the entry point {name!r} {about} is skipped because the name is taken "
                f"({found[name].about}); rename the entry point",
                stacklevel=2,
            )
    return list(found.values())


def find_plugin(kind: str, group: str, name: str, builtin: Sequence[Plugin] = ()) -> Plugin:
    """Return the plugin called `name`, or one for a `module:attribute` reference.

    Args:
        kind: Kind of plugin for error messages, such as `agent`.
        group: Entry-point group.
        name: Name of a plugin, or `module:attribute`.
        builtin: The plugins that Kintsugi itself provides in this group.

    Raises:
        UsageError: If there is no such plugin. The message suggests similar names.
    """
    known = plugins(group, builtin)
    for plugin in known:
        if plugin.name == name:
            return plugin
    if ":" in name:
        return Plugin(name, name, f"{kind} named by its module")
    raise unknown(kind, name, [plugin.name for plugin in known])


def load(target: str, label: str) -> Any:
    """Import `module:attribute` and return the object.

    Raises:
        UsageError: If the import fails. The message begins with `label`.
    """
    module, _, attribute = target.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        return found
    except Exception as error:  # an imported module may raise anything
        if isinstance(error, ModuleNotFoundError) and (missing := missing_extra(error)):
            raise missing from error
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"{label}: cannot import {target!r} ({type(error).__name__}: {error}); "
            "expected 'module:attribute': correct the name or the entry point, or reinstall the package"
        ) from error
