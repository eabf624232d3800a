"""The pages of a console."""

from __future__ import annotations

from typing import Any

from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from ..pages import Form, Page, Routes, Row
from .content import PRIORITIES, STATUSES, SUBJECTS

routes = Routes()
TICKETS = "SELECT t.*, p.name AS agent FROM ticket t JOIN person p ON p.id = t.agent_id"


def show(page: Page, template: str, here: str, **values: Any) -> Response:
    """A page with the menu; `here` is where in it."""
    word = page.site.words
    menu = [
        ("/", "Overview"),
        ("/people", word["people"]),
        ("/tickets", word["tickets"]),
        ("/settings", word["settings"]),
    ]
    return page.show(f"admin/{template}", menu=menu, here=here, **values)


@routes.get("/")
def home(page: Page) -> Response:
    """Numbers, and what happened lately."""
    counts = {
        page.site.words["people"]: page.value("SELECT count(*) FROM person"),
        f"{page.site.words['tickets']}, all": page.value("SELECT count(*) FROM ticket"),
        "Urgent": page.value("SELECT count(*) FROM ticket WHERE priority = 'Urgent' AND status <> 'Closed'"),
    }
    events = page.rows("SELECT text FROM event ORDER BY id DESC LIMIT 5")
    return show(page, "home.html", "/", counts=counts, events=events)


@routes.get("/people")
def people(page: Page) -> Response:
    """Everybody."""
    return show(page, "people.html", "/people", people=page.rows("SELECT * FROM person ORDER BY name"))


@routes.get("/people/new")
def new(page: Page, form: Form | None = None) -> Response:
    """The form for a new person."""
    status = 422 if form and form.errors else 200
    return show(page, "new.html", "/people", form=form, roles=_roles(page), status=status)


@routes.post("/people/new")
def create(page: Page) -> Response:
    """Add a person."""
    form = page.form()
    name, email = form.text("name", "Full name", most=80), form.text("email", "Address", most=120)
    role = form.choice("role", page.site.words["role"], _roles(page))
    if "email" not in form.errors and email.count("@") != 1:
        form.errors["email"] = "Address: write it as name@example.test."
    elif page.value("SELECT 1 FROM person WHERE email = ?", email):
        form.errors["email"] = f"{email} is in use already."
    if form.errors:
        return new(page, form)
    number = page.run("INSERT INTO person (name, email, role, status) VALUES (?, ?, ?, 'Active')", name, email, role)
    _done(page, f"{name} was added.")
    return page.go(f"/people/{number}")


@routes.get("/people/<int:number>")
def person(page: Page, number: int, form: Form | None = None) -> Response:
    """One person."""
    row, status = _row(page, "person", number), 422 if form and form.errors else 200
    return show(page, "person.html", "/people", person=row, roles=_roles(page), form=form, status=status)


@routes.post("/people/<int:number>")
def change(page: Page, number: int) -> Response:
    """Give a person another role."""
    row, form = _row(page, "person", number), page.form()
    role = form.choice("role", page.site.words["role"], _roles(page))
    if form.errors:
        return person(page, number, form)
    page.run("UPDATE person SET role = ? WHERE id = ?", role, number)
    _done(page, f"{row['name']}: {role}.")
    return page.go(f"/people/{number}")


@routes.post("/people/<int:number>/suspend")
def suspend(page: Page, number: int) -> Response:
    """Suspend an account, or let it in again."""
    row = _row(page, "person", number)
    status = "Suspended" if row["status"] == "Active" else "Active"
    page.run("UPDATE person SET status = ? WHERE id = ?", status, number)
    _done(page, f"{row['name']} is {status.lower()}.")
    return page.go(f"/people/{number}")


@routes.get("/tickets")
def tickets(page: Page) -> Response:
    """Tickets, of one agent and status if asked for."""
    agent, status = page.number("agent", 0), page.query("status")
    found = page.rows(
        f"{TICKETS} WHERE (? = 0 OR t.agent_id = ?) AND (? = '' OR t.status = ?) ORDER BY t.id",
        agent,
        agent,
        status,
        status,
    )
    return show(
        page,
        "tickets.html",
        "/tickets",
        tickets=found,
        agents=_agents(page),
        agent=agent,
        statuses=STATUSES,
        status_=status,
    )


@routes.get("/tickets/<int:number>")
def ticket(page: Page, number: int, form: Form | None = None) -> Response:
    """One ticket."""
    row = page.row(f"{TICKETS} WHERE t.id = ?", number)
    if row is None:
        raise NotFound("There is nothing of that number.")
    status, agents = 422 if form and form.errors else 200, [agent["name"] for agent in _agents(page)]
    return show(
        page,
        "ticket.html",
        "/tickets",
        ticket=row,
        agents=agents,
        priorities=PRIORITIES,
        statuses=STATUSES,
        form=form,
        status=status,
    )


@routes.post("/tickets/<int:number>")
def update(page: Page, number: int) -> Response:
    """Change who cares for it, how urgent it is and how it stands."""
    _row(page, "ticket", number)
    form, agents = page.form(), {agent["name"]: agent["id"] for agent in _agents(page)}
    agent = form.choice("agent", page.site.words["agent"], agents)
    priority = form.choice("priority", "Priority", PRIORITIES)
    status = form.choice("status", "Status", STATUSES)
    if form.errors:
        return ticket(page, number, form)
    page.run(
        "UPDATE ticket SET agent_id = ?, priority = ?, status = ? WHERE id = ?", agents[agent], priority, status, number
    )
    _done(page, f"Number {number} was changed.")
    return page.go(f"/tickets/{number}")


@routes.get("/settings")
def settings(page: Page, form: Form | None = None) -> Response:
    """All settings."""
    rows, status = page.rows("SELECT * FROM setting ORDER BY id"), 422 if form and form.errors else 200
    return show(page, "settings.html", "/settings", settings=rows, form=form, status=status)


@routes.post("/settings")
def keep(page: Page) -> Response:
    """Keep the settings."""
    form, values = page.form(), {}
    for setting in page.rows("SELECT * FROM setting ORDER BY id"):
        field = f"setting-{setting['id']}"
        if setting["form"] == "switch":
            values[setting["id"]] = "on" if field in form.values else "off"
        elif setting["form"] == "number":
            values[setting["id"]] = str(form.number(field, setting["name"], 0, 100))
        else:
            values[setting["id"]] = form.text(field, setting["name"], most=120)
    if form.errors:
        return settings(page, form)
    for number, value in values.items():
        page.run("UPDATE setting SET value = ? WHERE id = ?", value, number)
    _done(page, "The settings are saved.")
    return page.go("/settings")


def _row(page: Page, table: str, number: int) -> Row:
    row = page.row(f"SELECT * FROM {table} WHERE id = ?", number)
    if row is None:
        raise NotFound("There is nothing of that number.")
    return row


def _roles(page: Page) -> tuple[str, ...]:
    return SUBJECTS[page.site.subject][0]


def _agents(page: Page) -> list[Row]:
    return page.rows("SELECT id, name FROM person WHERE id <= 4 ORDER BY name")


def _done(page: Page, text: str) -> None:
    page.run("INSERT INTO event (text) VALUES (?)", text)
    page.notice(text)
