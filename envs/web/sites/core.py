"""The nouns of the embedded sites: a `Kind` of site, a `Site` of that kind, and the `TaskType`s one can be asked."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...portable_rng import PortableRng
from .evidence import Evidence

NOW = "2026-05-14T09:30:00"
"""What every clock of these worlds shows, the sites' own and the browser's (no time zone: UTC)."""
TODAY = NOW[:10]

Args = dict[str, Any]
"""What a task is about; JSON-clean."""


@dataclass(frozen=True)
class Site:
    """One site: a kind with a name, a look, an arrangement, its own words and its own subject."""

    name: str
    """`Larch & Loom`."""
    kind: str
    """Name of its `Kind`."""
    split: str
    """The one split that it is met in."""
    theme: str
    """Name of a colour theme of the style sheet."""
    subject: str
    """Which vocabulary fills it."""
    layout: Mapping[str, str] = field(default_factory=dict)
    """How pages are arranged, by the names that the kind's templates ask for."""
    words: Mapping[str, str] = field(default_factory=dict)
    """What links, buttons and labels say, by the kind's name for them."""
    tagline: str = ""

    @property
    def slug(self) -> str:
        """`larch-loom`: letters and digits with hyphens between."""
        letters = "".join(letter if letter.isalnum() else " " for letter in self.name.lower())
        return "-".join(letters.split())

    @property
    def host(self) -> str:
        """`larch-loom.test`, under the top level that is reserved for tests and leads nowhere (RFC 6761)."""
        return f"{self.slug}.test"


@dataclass(frozen=True)
class TaskType:
    """One kind of thing to ask for on one kind of site."""

    name: str
    """`shop_buy`."""
    texts: tuple[str, ...]
    """The ways of asking, with the names of arguments in braces."""
    draw: Callable[[PortableRng, sqlite3.Connection, Site], Args | None]
    """What to ask for, given the content; None when this content has nothing of the kind."""
    wanted: Callable[[Evidence, Args], Iterator[bool]]
    """The conditions of success, each True when it is met; the share that is met is the score."""
    touches: frozenset[str] = frozenset()
    """Tables whose rows may change on the way."""
    adds: frozenset[str] = frozenset()
    """Tables that rows may be added to. A change of all else is damage."""
    prepare: Callable[[sqlite3.Connection, Args], None] | None = None
    """Changes the content before an attempt begins, where the task needs it."""


@dataclass(frozen=True)
class Kind:
    """What all sites of a kind have in common: tables, content and what can be asked; the pages are its `views`."""

    name: str
    """`shop`."""
    schema: str
    """SQL that makes the tables."""
    fill: Callable[[sqlite3.Connection, Site, PortableRng], None]
    """Writes a site's content; a function of site and dice."""
    types: tuple[TaskType, ...]
    """What one can be asked."""
    sites: tuple[Site, ...]
    """Those there are."""
    views: str
    """Module (of this package) that holds the pages, imported when the first is asked for."""
