"""Content of the sites: one SQLite database per site and edition, built once per process and copied per episode."""

from __future__ import annotations

import functools
import sqlite3

from ....errors import UsageError, unknown
from ...portable_rng import PortableRng
from .catalogue import KINDS, SITES
from .core import Site, SiteKind

EDITIONS = 12
"""Number of editions per site. Each edition is different content for the same site."""
SESSION_SCHEMA = "CREATE TABLE session (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;"


def get_site(slug: str) -> Site:
    """Return the site with this slug.

    Raises:
        UsageError: If the slug is unknown. The message suggests the closest one.
    """
    try:
        return SITES[slug]
    except KeyError:
        raise unknown("embedded site", slug, SITES) from None


def get_kind(site: Site) -> SiteKind:
    """Return the kind of a site."""
    return KINDS[site.kind]


@functools.lru_cache(maxsize=256)
def build_edition(slug: str, number: int) -> bytes:
    """Return a site's content as a serialised SQLite database. Deterministic.

    Args:
        slug: The site.
        number: The edition, in [0, `EDITIONS`).

    Raises:
        UsageError: If the site or the edition does not exist.
    """
    if not 0 <= number < EDITIONS:
        raise UsageError(f"the edition of site {slug!r} is {number}; expected 0 to {EDITIONS - 1}")
    site = get_site(slug)
    kind = get_kind(site)
    db = sqlite3.connect(":memory:")
    try:
        db.executescript(SESSION_SCHEMA + kind.schema)
        kind.fill(db, site, PortableRng(f"sites/{slug}/{number}"))
        db.commit()
        return db.serialize()
    finally:
        db.close()


def open_database(content: bytes) -> sqlite3.Connection:
    """Open a new in-memory database with this content. Any thread may use it, but only one at a time."""
    db = sqlite3.connect(":memory:", check_same_thread=False)
    db.deserialize(content)
    db.execute("PRAGMA foreign_keys = ON")
    return db


def open_dump(state: bytes) -> sqlite3.Connection:
    """Open a database from bytes that `Server.dump` returned, and check its integrity.

    Raises:
        UsageError: If the bytes are not the dumped state of a site.
    """
    problem = "no bytes"
    if state:
        try:
            db = open_database(state)
            # SQLite notices invalid bytes only at the first query.
            problem = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
            db.execute("SELECT count(*) FROM session").fetchone()
        except sqlite3.Error as error:
            problem = str(error)
        if problem == "ok":
            return db
    raise UsageError(
        f"{len(state)} bytes are not the state of a site ({problem}); pass the bytes that Server.dump returned"
    )
