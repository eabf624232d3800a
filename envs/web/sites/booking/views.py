"""Pages of booking sites."""

from __future__ import annotations

import datetime

from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from ....portable_rng import PortableRng
from ..core import TODAY
from ..pages import Form, Page, Routes, Row
from .content import EXTRAS, random_code

routes = Routes()
SORTS = {"rating": "Guest rating", "price": "Lowest price"}
PLACE_QUERY = "SELECT p.*, min(r.price) AS low FROM place p JOIN room r ON r.place_id = p.id"


@routes.get("/")
def home(page: Page) -> Response:
    """Front page: search form and the best rated places."""
    cities = [row["city"] for row in page.rows("SELECT DISTINCT city FROM place ORDER BY city")]
    best = page.rows(f"{PLACE_QUERY} GROUP BY p.id ORDER BY p.rating DESC, p.id LIMIT 3")
    return page.render("booking/home.html", cities=cities, best=best)


@routes.get("/places")
def places(page: Page) -> Response:
    """List of places, filtered by city and extra, and sorted."""
    city, extra, sort = page.query("city"), page.query("extra"), page.query("sort", "rating")
    order = "low, p.id" if sort == "price" else "p.rating DESC, p.id"
    found = page.rows(
        f"{PLACE_QUERY} WHERE (? = '' OR p.city = ? COLLATE NOCASE) AND (? = '' OR instr(p.extras, ?)) "
        f"GROUP BY p.id ORDER BY {order}",
        city,
        city,
        extra,
        extra,
    )
    return page.render(
        "booking/places.html", city=city, extra=extra, sort=sort, sorts=SORTS, extras=EXTRAS, found=found
    )


@routes.get("/places/<int:number>")
def place(page: Page, number: int) -> Response:
    """Page of a place with its rooms."""
    row = page.row(f"{PLACE_QUERY} WHERE p.id = ? GROUP BY p.id", number)
    if row is None:
        raise NotFound("There is no such place.")
    rooms = page.rows("SELECT * FROM room WHERE place_id = ? ORDER BY price", number)
    return page.render("booking/place.html", place=row, rooms=rooms)


@routes.get("/rooms/<int:number>")
def room(page: Page, number: int, form: Form | None = None) -> Response:
    """Form to book a room."""
    status = 422 if form and form.errors else 200
    return page.render("booking/room.html", room=_get_room(page, number), form=form, status=status)


@routes.post("/rooms/<int:number>")
def book(page: Page, number: int) -> Response:
    """Book a room."""
    row, form, labels = _get_room(page, number), page.form(), page.site.labels
    arrival, departure = _date_field(form, "arrival", labels["from"]), _date_field(form, "departure", labels["to"])
    guests = form.number("guests", labels["guests"], 1, row["sleeps"])
    name = form.text("name", "Full name", max_length=80)
    if not form.errors:
        _check_stay(page, form, row, arrival, departure)
    if form.errors:
        return room(page, number, form)
    booking = page.execute(
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
    page.set_session_value("booking", str(booking))
    page.set_notice(f"Your booking is confirmed. Its code is {made['code']}.")
    return page.redirect("/booking")


@routes.get("/find")
def find(page: Page, form: Form | None = None) -> Response:
    """Form to find a booking."""
    return page.render("booking/find.html", form=form, status=422 if form and form.errors else 200)


@routes.post("/find")
def submit_find(page: Page) -> Response:
    """Find a booking by its code and last name."""
    form = page.form()
    wanted, name = (
        form.text("code", page.site.labels["code"], max_length=20),
        form.text("name", "Last name", max_length=80),
    )
    row = page.row("SELECT * FROM booking WHERE code = ? COLLATE NOCASE", wanted)
    if not form.errors and (row is None or row["name"].split()[-1].casefold() != name.split()[-1].casefold()):
        form.errors["code"] = "No booking has this code and this name."
    if form.errors or row is None:
        return find(page, form)
    page.set_session_value("booking", str(row["id"]))
    return page.redirect("/booking")


@routes.get("/booking")
def booking(page: Page, form: Form | None = None) -> Response:
    """Page of the booking that the visitor found or made last."""
    return page.render(
        "booking/booking.html", booking=_get_booking(page), form=form, status=422 if form and form.errors else 200
    )


@routes.post("/booking")
def change_guests(page: Page) -> Response:
    """Change the number of guests of the booking."""
    row, form = _get_booking(page), page.form()
    guests = form.number("guests", page.site.labels["guests"], 1, row["sleeps"])
    if form.errors:
        return booking(page, form)
    if row["status"] == "Confirmed":
        page.execute("UPDATE booking SET guests = ? WHERE id = ?", guests, row["id"])
        page.set_notice("Your booking is changed.")
    return page.redirect("/booking")


@routes.post("/booking/cancel")
def cancel(page: Page) -> Response:
    """Cancel the booking."""
    row = _get_booking(page)
    page.execute("UPDATE booking SET status = 'Cancelled' WHERE id = ?", row["id"])
    page.set_notice(f"Booking {row['code']} is cancelled.")
    return page.redirect("/booking")


def _get_room(page: Page, number: int) -> Row:
    row = page.row(
        "SELECT r.*, p.name AS place, p.city FROM room r JOIN place p ON p.id = r.place_id WHERE r.id = ?", number
    )
    if row is None:
        raise NotFound("There is no such room.")
    return row


def _get_booking(page: Page) -> Row:
    number = page.session_value("booking")
    row = page.row(
        "SELECT b.*, r.name AS room, r.sleeps, r.price, p.name AS place, p.city FROM booking b "
        "JOIN room r ON r.id = b.room_id JOIN place p ON p.id = r.place_id WHERE b.id = ?",
        int(number or 0),
    )
    if row is None:
        raise NotFound("Find your booking first.")
    return row


def _date_field(form: Form, name: str, label: str) -> str:
    text = form.text(name, label, max_length=20)
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
    """Return an unused booking code. Deterministic given the existing bookings."""
    for number in range(page.value("SELECT count(*) FROM booking"), 1_000_000):
        made = random_code(PortableRng(f"code/{page.site.slug}/{number}"))
        if page.value("SELECT 1 FROM booking WHERE code = ?", made) is None:
            return made
    raise NotFound("There are no codes left.")
