"""The pages of a booking site."""

from __future__ import annotations

import datetime

from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from ....portable_rng import PortableRng
from ..core import TODAY
from ..pages import Form, Page, Routes, Row
from .content import EXTRAS, code

routes = Routes()
SORTS = {"rating": "Guest rating", "price": "Lowest price"}
PLACES = "SELECT p.*, min(r.price) AS low FROM place p JOIN room r ON r.place_id = p.id"


@routes.get("/")
def home(page: Page) -> Response:
    """Where to, and what guests like."""
    cities = [row["city"] for row in page.rows("SELECT DISTINCT city FROM place ORDER BY city")]
    best = page.rows(f"{PLACES} GROUP BY p.id ORDER BY p.rating DESC, p.id LIMIT 3")
    return page.show("booking/home.html", cities=cities, best=best)


@routes.get("/places")
def places(page: Page) -> Response:
    """Places in a city, with an extra, sorted."""
    city, extra, sort = page.query("city"), page.query("extra"), page.query("sort", "rating")
    order = "low, p.id" if sort == "price" else "p.rating DESC, p.id"
    found = page.rows(
        f"{PLACES} WHERE (? = '' OR p.city = ? COLLATE NOCASE) AND (? = '' OR instr(p.extras, ?)) "
        f"GROUP BY p.id ORDER BY {order}",
        city,
        city,
        extra,
        extra,
    )
    return page.show("booking/places.html", city=city, extra=extra, sort=sort, sorts=SORTS, extras=EXTRAS, found=found)


@routes.get("/places/<int:number>")
def place(page: Page, number: int) -> Response:
    """One place and its rooms."""
    row = page.row(f"{PLACES} WHERE p.id = ? GROUP BY p.id", number)
    if row is None:
        raise NotFound("There is no such place.")
    rooms = page.rows("SELECT * FROM room WHERE place_id = ? ORDER BY price", number)
    return page.show("booking/place.html", place=row, rooms=rooms)


@routes.get("/rooms/<int:number>")
def room(page: Page, number: int, form: Form | None = None) -> Response:
    """The form to book a room."""
    status = 422 if form and form.errors else 200
    return page.show("booking/room.html", room=_room(page, number), form=form, status=status)


@routes.post("/rooms/<int:number>")
def book(page: Page, number: int) -> Response:
    """Book it."""
    row, form, word = _room(page, number), page.form(), page.site.words
    arrival, departure = _day(form, "arrival", word["from"]), _day(form, "departure", word["to"])
    guests = form.number("guests", word["guests"], 1, row["sleeps"])
    name = form.text("name", "Full name", most=80)
    if not form.errors:
        _check_stay(page, form, row, arrival, departure)
    if form.errors:
        return room(page, number, form)
    booking = page.run(
        "INSERT INTO booking (code, room_id, arrival, departure, guests, name, status) "
        "VALUES (?, ?, ?, ?, ?, ?, 'Confirmed')",
        _new_code(page),
        number,
        arrival,
        departure,
        guests,
        name,
    )
    made = page.row("SELECT * FROM booking WHERE id = ?", booking) or {}
    page.remember("booking", str(booking))
    page.notice(f"Your booking is confirmed. Its code is {made['code']}.")
    return page.go("/booking")


@routes.get("/find")
def find(page: Page, form: Form | None = None) -> Response:
    """The form to find one's booking."""
    return page.show("booking/find.html", form=form, status=422 if form and form.errors else 200)


@routes.post("/find")
def found(page: Page) -> Response:
    """Find a booking by its code and the last name."""
    form = page.form()
    wanted, name = form.text("code", page.site.words["code"], most=20), form.text("name", "Last name", most=80)
    row = page.row("SELECT * FROM booking WHERE code = ? COLLATE NOCASE", wanted)
    if not form.errors and (row is None or row["name"].split()[-1].casefold() != name.split()[-1].casefold()):
        form.errors["code"] = "No booking has this code and this name."
    if form.errors or row is None:
        return find(page, form)
    page.remember("booking", str(row["id"]))
    return page.go("/booking")


@routes.get("/booking")
def booking(page: Page, form: Form | None = None) -> Response:
    """The booking that was found or made."""
    return page.show(
        "booking/booking.html", booking=_booking(page), form=form, status=422 if form and form.errors else 200
    )


@routes.post("/booking")
def change(page: Page) -> Response:
    """Change the number of guests."""
    row, form = _booking(page), page.form()
    guests = form.number("guests", page.site.words["guests"], 1, row["sleeps"])
    if form.errors:
        return booking(page, form)
    if row["status"] == "Confirmed":
        page.run("UPDATE booking SET guests = ? WHERE id = ?", guests, row["id"])
        page.notice("Your booking is changed.")
    return page.go("/booking")


@routes.post("/booking/cancel")
def cancel(page: Page) -> Response:
    """Cancel it."""
    row = _booking(page)
    page.run("UPDATE booking SET status = 'Cancelled' WHERE id = ?", row["id"])
    page.notice(f"Booking {row['code']} is cancelled.")
    return page.go("/booking")


def _room(page: Page, number: int) -> Row:
    row = page.row(
        "SELECT r.*, p.name AS place, p.city FROM room r JOIN place p ON p.id = r.place_id WHERE r.id = ?", number
    )
    if row is None:
        raise NotFound("There is no such room.")
    return row


def _booking(page: Page) -> Row:
    number = page.remembered("booking")
    row = page.row(
        "SELECT b.*, r.name AS room, r.sleeps, r.price, p.name AS place, p.city FROM booking b "
        "JOIN room r ON r.id = b.room_id JOIN place p ON p.id = r.place_id WHERE b.id = ?",
        int(number or 0),
    )
    if row is None:
        raise NotFound("Find your booking first.")
    return row


def _day(form: Form, name: str, label: str) -> str:
    text = form.text(name, label, most=20)
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        form.errors.setdefault(name, f"{label}: write the day as 2026-07-31.")
        return TODAY


def _check_stay(page: Page, form: Form, room: Row, arrival: str, departure: str) -> None:
    if arrival < TODAY:
        form.errors["arrival"] = "The stay cannot begin in the past."
    elif departure <= arrival:
        form.errors["departure"] = "The stay must end after it begins."
    elif page.value(
        "SELECT 1 FROM booking WHERE room_id = ? AND status = 'Confirmed' AND arrival < ? AND departure > ?",
        room["id"],
        departure,
        arrival,
    ):
        form.errors["arrival"] = "The room is taken on these days."


def _new_code(page: Page) -> str:
    """The next code; the same after the same bookings."""
    for number in range(page.value("SELECT count(*) FROM booking"), 1_000_000):
        made = code(PortableRng(f"code/{page.site.slug}/{number}"))
        if page.value("SELECT 1 FROM booking WHERE code = ?", made) is None:
            return made
    raise NotFound("There are no codes left.")
