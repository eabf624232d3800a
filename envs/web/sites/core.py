"""Data classes of the embedded sites: `SiteKind`, `Site` and `TaskType`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...portable_rng import PortableRng
from .evidence import Evidence

NOW = "2026-05-14T09:30:00"
"""Fixed current time of the sites and the browser, in UTC."""
TODAY = NOW[:10]

Args = dict[str, Any]
"""Arguments of a task, such as a product name. JSON-serialisable."""


@dataclass(frozen=True)
class Site:
    """One website: a site kind with its own name, theme, layout, labels and subject."""

    name: str
    """Display name, such as `Larch & Loom`."""
    kind: str
    """Name of the `SiteKind`."""
    split: str
    """The only split whose tasks use this site."""
    theme: str
    """Colour theme in the style sheet."""
    subject: str
    """Key into the `SUBJECTS` of the site kind, which supply the content."""
    layout: Mapping[str, str] = field(default_factory=dict)
    """Layout options of the templates and their values."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Texts of links, buttons and fields. All sites of a kind have the same keys."""
    tagline: str = ""

    @property
    def slug(self) -> str:
        """Name in lower case with hyphens, such as `larch-loom`."""
        spaced = "".join(character if character.isalnum() else " " for character in self.name.lower())
        return "-".join(spaced.split())

    @property
    def host(self) -> str:
        """Host name, such as `larch-loom.test`. RFC 6761 reserves `.test`, so such names never resolve publicly."""
        return f"{self.slug}.test"


@dataclass(frozen=True)
class TaskType:
    """One type of task on one kind of site."""

    name: str
    """Name, such as `shop_buy`."""
    goal_templates: tuple[str, ...]
    """Goal texts, with argument names in braces. A task uses one of them."""
    draw_args: Callable[[PortableRng, sqlite3.Connection, Site], Args | None]
    """Draws task arguments that fit the content; returns None if the content offers none."""
    conditions: Callable[[Evidence, Args], Iterator[bool]]
    """Yields whether each success condition is met. The score is the proportion of met conditions."""
    may_change: frozenset[str] = frozenset()
    """Tables whose rows the task may change."""
    may_add: frozenset[str] = frozenset()
    """Tables that the task may add rows to. Any other change is a side effect, which halves the score."""
    prepare: Callable[[sqlite3.Connection, Args], None] | None = None
    """Optional change of the content before an attempt starts."""


@dataclass(frozen=True)
class SiteKind:
    """What all sites of a kind share: database schema, content generator, task types and pages."""

    name: str
    """Name, such as `shop`."""
    schema: str
    """SQL statements that create the tables."""
    fill: Callable[[sqlite3.Connection, Site, PortableRng], None]
    """Writes the content of a site. Deterministic given the site and the random generator."""
    task_types: tuple[TaskType, ...]
    """All task types of this kind."""
    sites: tuple[Site, ...]
    """All sites of this kind."""
    views_module: str
    """Module with the pages, relative to this package. Imported at the first request."""
