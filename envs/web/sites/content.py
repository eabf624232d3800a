"""Content of the sites: one SQLite database a site and edition, made once a process and copied for every episode."""

from __future__ import annotations

import functools
import sqlite3

from ....errors import UsageError, unknown
from ...portable_rng import PortableRng
from .catalogue import KINDS, SITES
from .core import Kind, Site

EDITIONS = 12
"""So many different contents a site has."""
COMMON = "CREATE TABLE session (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;"


def site_of(slug: str) -> Site:
    """The site of this slug; raises `UsageError` with the nearest."""
    try:
        return SITES[slug]
    except KeyError:
        raise unknown("embedded site", slug, SITES) from None


def kind_of(site: Site) -> Kind:
    """The kind of a site."""
    return KINDS[site.kind]


@functools.lru_cache(maxsize=256)
def edition(slug: str, number: int) -> bytes:
    """A site's content as SQLite's own serialisation; the same for the same arguments."""
    if not 0 <= number < EDITIONS:
        raise UsageError(f"site {slug!r} has editions 0 to {EDITIONS - 1}, not {number}")
    site = site_of(slug)
    kind = kind_of(site)
    db = sqlite3.connect(":memory:")
    try:
        db.executescript(COMMON + kind.schema)
        kind.fill(db, site, PortableRng(f"sites/{slug}/{number}"))
        db.commit()
        return db.serialize()
    finally:
        db.close()


def opened(content: bytes) -> sqlite3.Connection:
    """A database of one's own with this content, in memory; for any thread, but one at a time."""
    db = sqlite3.connect(":memory:", check_same_thread=False)
    db.deserialize(content)
    db.execute("PRAGMA foreign_keys = ON")
    return db


def reopened(state: bytes) -> sqlite3.Connection:
    """The same for bytes from elsewhere, which are looked through; raises `UsageError` when they are no such state."""
    problem = "there are none"
    if state:
        try:
            db = opened(state)
            # What is no database is noticed by the first query only.
            problem = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
            db.execute("SELECT count(*) FROM session").fetchone()
        except sqlite3.Error as error:
            problem = str(error)
        if problem == "ok":
            return db
    raise UsageError(f"{len(state)} bytes are no state of a site ({problem}); give what Server.dump returned")
