"""Schema and content of admin consoles: people with roles, tickets and settings."""

from __future__ import annotations

import sqlite3

from ....portable_rng import PortableRng
from .. import vocabulary
from ..core import Site

SCHEMA = """
CREATE TABLE person (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE COLLATE NOCASE,
    role TEXT NOT NULL,
    status TEXT NOT NULL
) STRICT;
CREATE TABLE ticket (
    id INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    status TEXT NOT NULL,
    priority TEXT NOT NULL,
    agent_id INTEGER NOT NULL REFERENCES person,
    opened TEXT NOT NULL
) STRICT;
CREATE TABLE setting (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, value TEXT NOT NULL, form TEXT NOT NULL
) STRICT;
CREATE TABLE event (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
"""
SUBJECTS = {
    "library": (
        ("Reader", "Librarian", "Archivist", "Manager"),
        ("Lost card", "Torn atlas", "Late return", "Broken scanner", "Noisy room", "Missing shelf"),
    ),
    "clinic": (
        ("Nurse", "Doctor", "Porter", "Manager"),
        ("Empty cabinet", "Cold ward", "Wrong label", "Broken lift", "Lost badge", "Late delivery"),
    ),
    "school": (
        ("Pupil", "Teacher", "Caretaker", "Manager"),
        ("Flat projector", "Wet ceiling", "Lost key", "Double booking", "Old password", "Loud alarm"),
    ),
    "museum": (
        ("Guide", "Curator", "Guard", "Manager"),
        ("Dusty case", "Faded sign", "Lost ticket", "Wrong date", "Broken lamp", "Locked gate"),
    ),
    "shipyard": (
        ("Welder", "Fitter", "Painter", "Manager"),
        ("Rusty chain", "Dull drill", "Late steel", "Leaking pump", "Lost gauge", "Blocked slip"),
    ),
}
PLACES = ("at the entrance", "on the first floor", "in the west wing", "near the stairs", "in the cellar")
STATUSES = ("Open", "Waiting", "Closed")
PRIORITIES = ("Low", "Normal", "High", "Urgent")
SETTINGS = (
    ("Contact address", "text"),
    ("Opening hour", "number"),
    ("Days to answer", "number"),
    ("Send reminders", "switch"),
    ("Public calendar", "switch"),
)


def fill(db: sqlite3.Connection, site: Site, rng: PortableRng) -> None:
    """Write 14 people, 16 tickets assigned to the first four people, and five settings."""
    roles, subjects = SUBJECTS[site.subject]
    for number, name in enumerate(vocabulary.full_names(rng, 14), start=1):
        status = "Suspended" if rng.chance(0.15) else "Active"
        values = (number, name, f"{vocabulary.user_name(name)}@{site.host}", rng.choice(roles), status)
        db.execute("INSERT INTO person VALUES (?, ?, ?, ?, ?)", values)
    opened = sorted(vocabulary.past_timestamp(rng, 1, 40) for _ in range(16))
    titles = rng.sample([f"{subject} {place}" for subject in subjects for place in PLACES], 16)
    for number, (title, timestamp) in enumerate(zip(titles, opened, strict=True), start=201):
        status = "Open" if rng.chance(0.5) else rng.choice(STATUSES)
        ticket = (number, title, status, rng.choice(PRIORITIES), rng.between(1, 4), timestamp)
        db.execute("INSERT INTO ticket VALUES (?, ?, ?, ?, ?, ?)", ticket)
    for number, (name, form) in enumerate(SETTINGS, start=1):
        value = {"text": f"desk@{site.host}", "number": str(rng.between(5, 30)), "switch": rng.choice(("on", "off"))}
        db.execute("INSERT INTO setting VALUES (?, ?, ?, ?)", (number, name, value[form], form))
