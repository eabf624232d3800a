"""Schema and content of booking sites: places to stay, rooms and bookings."""

from __future__ import annotations

import datetime
import sqlite3

from ....portable_rng import PortableRng
from .. import vocabulary
from ..core import TODAY, Site

SCHEMA = """
CREATE TABLE place (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    city TEXT NOT NULL,
    rating INTEGER NOT NULL,
    extras TEXT NOT NULL
) STRICT;
CREATE TABLE room (
    id INTEGER PRIMARY KEY,
    place_id INTEGER NOT NULL REFERENCES place,
    name TEXT NOT NULL,
    sleeps INTEGER NOT NULL,
    price INTEGER NOT NULL
) STRICT;
CREATE TABLE booking (
    id INTEGER PRIMARY KEY,
    code TEXT NOT NULL UNIQUE,
    room_id INTEGER NOT NULL REFERENCES room,
    arrival TEXT NOT NULL,
    departure TEXT NOT NULL CHECK (departure > arrival),
    guests INTEGER NOT NULL CHECK (guests > 0),
    name TEXT NOT NULL,
    status TEXT NOT NULL
) STRICT;
"""
SUBJECTS = {
    "hotels": (("{} Hotel", "Hotel {}", "Grand {}"), ("Single room", "Double room", "Suite")),
    "inns": (("{} Inn", "The {} House", "{} Arms"), ("Attic room", "Garden room", "Family room")),
    "camps": (("Camp {}", "{} Meadow", "{} Shore"), ("Small pitch", "Large pitch", "Bell tent")),
    "hostels": (("{} Hostel", "{} Quay", "Boat {}"), ("Bunk bed", "Twin cabin", "Captain cabin")),
    "cabins": (("{} Cabin", "{} Lodge", "Hut {}"), ("Loft bed", "Stove room", "Whole cabin")),
}
NAMES = (
    "Albatross Anchor Aurora Badger Beacon Bluebell Breeze Clover Comet Compass Dolphin Dove Fern Gull Hare Hilltop "
    "Laurel Lark Meridian Mistral Nettle Otter Poppy Raven Sparrow Summit Sunrise Violet"
).split()
EXTRAS = ("Breakfast", "Parking", "Pets welcome", "Sauna", "Wi-Fi")
CITIES = 4
PER_CITY = 4


def fill(db: sqlite3.Connection, site: Site, rng: PortableRng) -> None:
    """Write 16 places in four cities, three rooms in each place, and eight bookings."""
    patterns, rooms = SUBJECTS[site.subject]
    names = rng.sample(NAMES, CITIES * PER_CITY)
    cities = rng.sample(vocabulary.CITIES, CITIES)
    for number, name in enumerate(names, start=1):
        extras = ", ".join(sorted(rng.sample(EXTRAS, rng.between(1, 3))))
        values = (
            number,
            rng.choice(patterns).format(name),
            cities[(number - 1) % CITIES],
            rng.between(60, 98),
            extras,
        )
        db.execute("INSERT INTO place VALUES (?, ?, ?, ?, ?)", values)
        prices = sorted(rng.sample(range(30, 300), len(rooms)))
        for level, (room, price) in enumerate(zip(rooms, prices, strict=True)):
            insert = "INSERT INTO room (place_id, name, sleeps, price) VALUES (?, ?, ?, ?)"
            db.execute(insert, (number, room, 2 * level + 2, price * 100))
    all_rooms = db.execute("SELECT id, sleeps FROM room ORDER BY id").fetchall()
    for number, (room, sleeps) in enumerate(rng.sample(all_rooms, 8), start=1):
        arrival = date_after(rng.between(10, 60))
        departure = date_after(rng.between(1, 5), arrival)
        booked = (
            number,
            random_code(rng),
            room,
            arrival,
            departure,
            rng.between(1, sleeps),
            vocabulary.full_name(rng),
            "Confirmed",
        )
        db.execute("INSERT INTO booking VALUES (?, ?, ?, ?, ?, ?, ?, ?)", booked)


def date_after(days: int, start: str = TODAY) -> str:
    """Return the ISO date `days` after `start`."""
    return (datetime.date.fromisoformat(start) + datetime.timedelta(days=days)).isoformat()


def random_code(rng: PortableRng) -> str:
    """Return a random booking code, such as `KM482`."""
    letters = "ABCDEFGHJKLMNPRSTUVWXYZ"
    return f"{rng.choice(letters)}{rng.choice(letters)}{rng.between(100, 999)}"
