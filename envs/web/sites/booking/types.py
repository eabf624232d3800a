"""Task types of booking sites."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from ....portable_rng import PortableRng
from .. import vocabulary
from ..core import Args, Site, TaskType
from ..evidence import Evidence, Row
from .content import EXTRAS, date_after

_ROOM_QUERY = "SELECT p.name AS place, p.city, r.* FROM room r JOIN place p ON p.id = r.place_id"
_BOOKING_QUERY = "SELECT id, code, room_id, arrival, departure, guests, name, status FROM booking ORDER BY id"


def _draw_room(rng: PortableRng, db: sqlite3.Connection) -> Row:
    cursor = db.execute(f"{_ROOM_QUERY} ORDER BY r.id")
    names = [column[0] for column in cursor.description]
    return dict(zip(names, rng.choice(cursor.fetchall()), strict=True))


def _draw_stay(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    room = _draw_room(rng, db)
    arrival = date_after(rng.between(70, 200))
    return {
        "room": room["name"],
        "place": room["place"],
        "city": room["city"],
        "arrival": arrival,
        "departure": date_after(rng.between(1, 6), arrival),
        "guests": rng.between(1, room["sleeps"]),
        "name": vocabulary.full_name(rng),
    }


def _check_stay(evidence: Evidence, args: Args) -> Iterator[bool]:
    added = evidence.added_rows("booking")
    booking: Row = added[0] if len(added) == 1 else {}
    rooms = evidence.rows_before(f"{_ROOM_QUERY} WHERE r.id = ?", booking.get("room_id"))
    room: Row = rooms[0] if rooms else {}
    yield bool(booking)
    yield (room.get("place"), room.get("name")) == (args["place"], args["room"])
    yield (booking.get("arrival"), booking.get("departure")) == (args["arrival"], args["departure"])
    yield booking.get("guests") == args["guests"]
    yield booking.get("name") == args["name"]


def _draw_room_args(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    room = _draw_room(rng, db)
    return {"room": room["name"], "place": room["place"], "city": room["city"]}


def _check_price(evidence: Evidence, args: Args) -> Iterator[bool]:
    [room] = evidence.rows_before(f"{_ROOM_QUERY} WHERE p.name = ? AND r.name = ?", args["place"], args["room"])
    yield evidence.answer_is(room["price"] / 100)


def _draw_cheapest(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args | None:
    cities = [city for (city,) in db.execute("SELECT DISTINCT city FROM place ORDER BY city")]
    options = [(city, extra) for city in cities for extra in EXTRAS if len(_rank_places(db, city, extra)) > 1]
    if not options:
        return None
    city, extra = rng.choice(options)
    return {"city": city, "extra": extra}


def _rank_places(db: sqlite3.Connection, city: str, extra: str) -> list[str]:
    """Return the places with an extra by lowest price; an empty list if two places share the lowest price."""
    rows = db.execute(
        "SELECT p.name, min(r.price) AS low FROM place p JOIN room r ON r.place_id = p.id "
        "WHERE p.city = ? AND ', ' || p.extras || ',' LIKE '%, ' || ? || ',%' GROUP BY p.id ORDER BY low",
        (city, extra),
    ).fetchall()
    return [] if len(rows) > 1 and rows[0][1] == rows[1][1] else [name for name, _ in rows]


def _check_cheapest(evidence: Evidence, args: Args) -> Iterator[bool]:
    others = [row["name"] for row in evidence.rows_before("SELECT name FROM place")]
    yield evidence.answer_is(_rank_places(evidence.before, args["city"], args["extra"])[0], others)


def _draw_booking(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    code, name = rng.choice(db.execute("SELECT code, name FROM booking ORDER BY id").fetchall())
    return {"code": code, "name": name.split()[-1]}


def _check_cancelled(evidence: Evidence, args: Args) -> Iterator[bool]:
    yield evidence.rows_after(_BOOKING_QUERY) == _bookings_with(evidence, args, status="Cancelled")


def _draw_guests(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    code, name, guests, sleeps = rng.choice(
        db.execute(
            "SELECT b.code, b.name, b.guests, r.sleeps FROM booking b JOIN room r ON r.id = b.room_id ORDER BY b.id"
        ).fetchall()
    )
    others = [n for n in range(1, sleeps + 1) if n != guests]
    return {"code": code, "name": name.split()[-1], "guests": rng.choice(others)}


def _check_guests(evidence: Evidence, args: Args) -> Iterator[bool]:
    yield evidence.rows_after(_BOOKING_QUERY) == _bookings_with(evidence, args, guests=args["guests"])


def _bookings_with(evidence: Evidence, args: Args, **changes: object) -> list[Row]:
    return [{**row, **changes} if row["code"] == args["code"] else row for row in evidence.rows_before(_BOOKING_QUERY)]


TASK_TYPES = (
    TaskType(
        "booking_book",
        (
            "Book the '{room}' at '{place}' in '{city}' from '{arrival}' to '{departure}' for '{guests}' "
            "in the name of '{name}'.",
            "In '{city}', at '{place}', reserve the '{room}', arrival '{arrival}', departure '{departure}', "
            "guests: '{guests}', name: '{name}'.",
        ),
        _draw_stay,
        _check_stay,
        frozenset(),
        frozenset({"booking"}),
    ),
    TaskType(
        "booking_price",
        (
            "How many dollars a night is the '{room}' at '{place}' in '{city}'?",
            "What does one night in the '{room}' at '{place}' in '{city}' cost?",
        ),
        _draw_room_args,
        _check_price,
    ),
    TaskType(
        "booking_cheapest",
        (
            "Which place in '{city}' with '{extra}' has the cheapest room?",
            "Name the place in '{city}' that offers '{extra}' and has the lowest price.",
        ),
        _draw_cheapest,
        _check_cheapest,
    ),
    TaskType(
        "booking_cancel",
        (
            "Cancel the booking '{code}' of '{name}'.",
            "The booking '{code}' under the name '{name}' is not needed; cancel it.",
        ),
        _draw_booking,
        _check_cancelled,
        frozenset({"booking"}),
    ),
    TaskType(
        "booking_guests",
        (
            "Change the booking '{code}' of '{name}' to '{guests}' guests.",
            "For the booking '{code}' under the name '{name}', set the number of guests to '{guests}'.",
        ),
        _draw_guests,
        _check_guests,
        frozenset({"booking"}),
    ),
)
