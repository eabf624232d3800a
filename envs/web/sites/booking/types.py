"""What one can be asked to do on a booking site."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from ....portable_rng import PortableRng
from .. import words
from ..core import Args, Site, TaskType
from ..evidence import Evidence, Row
from .content import EXTRAS, day

_ROOMS = "SELECT p.name AS place, p.city, r.* FROM room r JOIN place p ON p.id = r.place_id"
_BOOKINGS = "SELECT id, code, room_id, arrival, departure, guests, name, status FROM booking ORDER BY id"


def _room(rng: PortableRng, db: sqlite3.Connection) -> Row:
    cursor = db.execute(f"{_ROOMS} ORDER BY r.id")
    names = [column[0] for column in cursor.description]
    return dict(zip(names, rng.choice(cursor.fetchall()), strict=True))


def _book(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    room = _room(rng, db)
    arrival = day(rng.between(70, 200))
    return {
        "room": room["name"],
        "place": room["place"],
        "city": room["city"],
        "arrival": arrival,
        "departure": day(rng.between(1, 6), arrival),
        "guests": rng.between(1, room["sleeps"]),
        "name": words.person(rng),
    }


def _booked(e: Evidence, args: Args) -> Iterator[bool]:
    added = e.added("booking")
    booking: Row = added[0] if len(added) == 1 else {}
    rooms = e.was(f"{_ROOMS} WHERE r.id = ?", booking.get("room_id"))
    room: Row = rooms[0] if rooms else {}
    yield bool(booking)
    yield (room.get("place"), room.get("name")) == (args["place"], args["room"])
    yield (booking.get("arrival"), booking.get("departure")) == (args["arrival"], args["departure"])
    yield booking.get("guests") == args["guests"]
    yield booking.get("name") == args["name"]


def _price(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    room = _room(rng, db)
    return {"room": room["name"], "place": room["place"], "city": room["city"]}


def _priced(e: Evidence, args: Args) -> Iterator[bool]:
    [room] = e.was(f"{_ROOMS} WHERE p.name = ? AND r.name = ?", args["place"], args["room"])
    yield e.says(room["price"] / 100)


def _cheapest(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args | None:
    cities = [city for (city,) in db.execute("SELECT DISTINCT city FROM place ORDER BY city")]
    options = [(city, extra) for city in cities for extra in EXTRAS if len(_ranked(db, city, extra)) > 1]
    if not options:
        return None
    city, extra = rng.choice(options)
    return {"city": city, "extra": extra}


def _ranked(db: sqlite3.Connection, city: str, extra: str) -> list[str]:
    """Places with an extra, the cheapest first; none where two are the cheapest."""
    rows = db.execute(
        "SELECT p.name, min(r.price) AS low FROM place p JOIN room r ON r.place_id = p.id "
        "WHERE p.city = ? AND ', ' || p.extras || ',' LIKE '%, ' || ? || ',%' GROUP BY p.id ORDER BY low",
        (city, extra),
    ).fetchall()
    return [] if len(rows) > 1 and rows[0][1] == rows[1][1] else [name for name, _ in rows]


def _cheapest_named(e: Evidence, args: Args) -> Iterator[bool]:
    others = [row["name"] for row in e.was("SELECT name FROM place")]
    yield e.says(_ranked(e.before, args["city"], args["extra"])[0], others)


def _booking(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    code, name = rng.choice(db.execute("SELECT code, name FROM booking ORDER BY id").fetchall())
    return {"code": code, "name": name.split()[-1]}


def _cancelled(e: Evidence, args: Args) -> Iterator[bool]:
    yield e.rows(_BOOKINGS) == _with(e, args, status="Cancelled")


def _guests(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    code, name, guests, sleeps = rng.choice(
        db.execute(
            "SELECT b.code, b.name, b.guests, r.sleeps FROM booking b JOIN room r ON r.id = b.room_id ORDER BY b.id"
        ).fetchall()
    )
    others = [n for n in range(1, sleeps + 1) if n != guests]
    return {"code": code, "name": name.split()[-1], "guests": rng.choice(others)}


def _guests_changed(e: Evidence, args: Args) -> Iterator[bool]:
    yield e.rows(_BOOKINGS) == _with(e, args, guests=args["guests"])


def _with(e: Evidence, args: Args, **changes: object) -> list[Row]:
    return [{**row, **changes} if row["code"] == args["code"] else row for row in e.was(_BOOKINGS)]


TYPES = (
    TaskType(
        "booking_book",
        (
            "Book the '{room}' at '{place}' in '{city}' from '{arrival}' to '{departure}' for '{guests}' "
            "in the name of '{name}'.",
            "In '{city}', at '{place}', reserve the '{room}', arrival '{arrival}', departure '{departure}', "
            "guests: '{guests}', name: '{name}'.",
        ),
        _book,
        _booked,
        frozenset(),
        frozenset({"booking"}),
    ),
    TaskType(
        "booking_price",
        (
            "How many dollars a night is the '{room}' at '{place}' in '{city}'?",
            "What does one night in the '{room}' at '{place}' in '{city}' cost?",
        ),
        _price,
        _priced,
    ),
    TaskType(
        "booking_cheapest",
        (
            "Which place in '{city}' with '{extra}' has the cheapest room?",
            "Name the place in '{city}' that offers '{extra}' and has the lowest price.",
        ),
        _cheapest,
        _cheapest_named,
    ),
    TaskType(
        "booking_cancel",
        (
            "Cancel the booking '{code}' of '{name}'.",
            "The booking '{code}' under the name '{name}' is not needed; cancel it.",
        ),
        _booking,
        _cancelled,
        frozenset({"booking"}),
    ),
    TaskType(
        "booking_guests",
        (
            "Change the booking '{code}' of '{name}' to '{guests}' guests.",
            "For the booking '{code}' under the name '{name}', set the number of guests to '{guests}'.",
        ),
        _guests,
        _guests_changed,
        frozenset({"booking"}),
    ),
)
