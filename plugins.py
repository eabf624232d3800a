"""Parts that other packages bring: environments, agents, loops, back ends, seed families, sandboxes.

Each group has its built-in parts, and those that installed packages offer by an entry point, for example:

    [project.entry-points."kintsugi.loops"]
    my-loop = "mypackage.loop:LOOP"

Listing imports nothing; a part is imported when it is used.
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
    """One part, by name."""

    name: str
    target: str
    """`module:attribute`."""
    about: str
    """One line for listings: what it does, or which package it comes from."""

    def load(self) -> Any:
        """Import it. Raises `UsageError` when that fails, `MissingExtraError` when an optional library is missing."""
        return load(self.target, f"{self.name!r} ({self.about})")


def plugins(group: str, builtin: Sequence[Plugin] = ()) -> list[Plugin]:
    """The built-in parts, then those of installed packages, sorted by name.

    A name that is taken already is left out with a warning: built-in parts first, then the package that sorts first.
    """
    found = {part.name: part for part in builtin}
    points = [
        (point.name, point.dist.name if point.dist else "", point) for point in metadata.entry_points(group=group)
    ]
    for name, package, point in sorted(points, key=lambda each: each[:2]):
        about = f"from {package or 'an installed package'}"
        if name not in found:
            found[name] = Plugin(name, point.value, about)
        elif (found[name].target, found[name].about) != (point.value, about):
            warnings.warn(
                f"{group}: the name {name!r} {about} is left out: it is taken ({found[name].about}); "
                f"rename the entry point",
                stacklevel=2,
            )
    return list(found.values())


def find_plugin(kind: str, group: str, name: str, builtin: Sequence[Plugin] = ()) -> Plugin:
    """The part of this name, or the one that `module:attribute` names; raises `UsageError` with the nearest names."""
    known = plugins(group, builtin)
    for part in known:
        if part.name == name:
            return part
    if ":" in name:
        return Plugin(name, name, f"{kind} named by its module")
    raise unknown(kind, name, [part.name for part in known])


def load(target: str, what: str) -> Any:
    """Import `module:attribute`; raises `UsageError` that begins with `what` when it cannot be imported."""
    module, _, attribute = target.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        return found
    except Exception as error:  # whatever a foreign module raises when it is imported
        if isinstance(error, ModuleNotFoundError) and (missing := missing_extra(error)):
            raise missing from error
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"{what}: cannot import {target!r} ({type(error).__name__}: {error}); "
            "expected 'module:attribute': correct the name or the entry point, or reinstall the package"
        ) from error
