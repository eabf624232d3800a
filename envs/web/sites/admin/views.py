"""Pages of admin consoles."""

from __future__ import annotations

from typing import Any

from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from ..pages import Form, Page, Routes, Row
from .content import PRIORITIES, STATUSES, SUBJECTS

routes = Routes()
TICKET_QUERY = "SELECT t.*, p.name AS agent FROM ticket t JOIN person p ON p.id = t.agent_id"


def render(page: Page, template: str, here: str, **values: Any) -> Response:
    """Render a page with the menu. `here` is the path of the current menu entry."""
    labels = page.site.labels
    menu = [
        ("/", "Overview"),
        ("/people", labels["people"]),
        ("/tickets", labels["tickets"]),
        ("/settings", labels["settings"]),
    ]
    return page.render(f"admin/{template}", menu=menu, here=here, **values)


@routes.get("/")
def home(page: Page) -> Response:
    """Overview: counts and the latest events."""
    counts = {
        page.site.labels["people"]: page.value("SELECT count(*) FROM person"),
        f"{page.site.labels['tickets']}, all": page.value("SELECT count(*) FROM ticket"),
        "Urgent": page.value("SELECT count(*) FROM ticket WHERE priority = 'Urgent' AND status <> 'Closed'"),
    }
    events = page.rows("SELECT text FROM event ORDER BY id DESC LIMIT 5")
    return render(page, "home.html", "/", counts=counts, events=events)


@routes.get("/people")
def people(page: Page) -> Response:
    """List of all people."""
    return render(page, "people.html", "/people", people=page.rows("SELECT * FROM person ORDER BY name"))


@routes.get("/people/new")
def new(page: Page, form: Form | None = None) -> Response:
    """Form for a new person."""
    status = 422 if form and form.errors else 200
    return render(page, "new.html", "/people", form=form, roles=_get_roles(page), status=status)


@routes.post("/people/new")
def create(page: Page) -> Response:
    """Add a person."""
    form = page.form()
    name, email = form.text("name", "Full name", max_length=80), form.text("email", "Address", max_length=120)
    role = form.choice("role", page.site.labels["role"], _get_roles(page))
    if "email" not in form.errors and email.count("@") != 1:
        form.errors["email"] = "Address: write it as name@example.test."
    elif page.value("SELECT 1 FROM person WHERE email = ?", email):
        form.errors["email"] = f"{email} is in use already."
    if form.errors:
        return new(page, form)
    number = page.execute(
        "INSERT INTO person (name, email, role, status) VALUES (?, ?, ?, 'Active')", name, email, role
    )
    _log_event(page, f"{name} was added.")
    return page.redirect(f"/people/{number}")


@routes.get("/people/<int:number>")
def person(page: Page, number: int, form: Form | None = None) -> Response:
    """Page of a person."""
    row, status = _get_row(page, "person", number), 422 if form and form.errors else 200
    return render(page, "person.html", "/people", person=row, roles=_get_roles(page), form=form, status=status)


@routes.post("/people/<int:number>")
def change_role(page: Page, number: int) -> Response:
    """Change the role of a person."""
    row, form = _get_row(page, "person", number), page.form()
    role = form.choice("role", page.site.labels["role"], _get_roles(page))
    if form.errors:
        return person(page, number, form)
    page.execute("UPDATE person SET role = ? WHERE id = ?", role, number)
    _log_event(page, f"{row['name']}: {role}.")
    return page.redirect(f"/people/{number}")


@routes.post("/people/<int:number>/suspend")
def toggle_suspension(page: Page, number: int) -> Response:
    """Suspend an active account, or reactivate a suspended one."""
    row = _get_row(page, "person", number)
    status = "Suspended" if row["status"] == "Active" else "Active"
    page.execute("UPDATE person SET status = ? WHERE id = ?", status, number)
    _log_event(page, f"{row['name']} is {status.lower()}.")
    return page.redirect(f"/people/{number}")


@routes.get("/tickets")
def tickets(page: Page) -> Response:
    """List of tickets, optionally of one agent or status."""
    agent, status = page.query_number("agent", 0), page.query("status")
    found = page.rows(
        f"{TICKET_QUERY} WHERE (? = 0 OR t.agent_id = ?) AND (? = '' OR t.status = ?) ORDER BY t.id",
        agent,
        agent,
        status,
        status,
    )
    return render(
        page,
        "tickets.html",
        "/tickets",
        tickets=found,
        agents=_get_agents(page),
        agent=agent,
        statuses=STATUSES,
        status_=status,
    )


@routes.get("/tickets/<int:number>")
def ticket(page: Page, number: int, form: Form | None = None) -> Response:
    """Page of a ticket."""
    row = page.row(f"{TICKET_QUERY} WHERE t.id = ?", number)
    if row is None:
        raise NotFound("There is nothing of that number.")
    status, agents = 422 if form and form.errors else 200, [agent["name"] for agent in _get_agents(page)]
    return render(
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
def update_ticket(page: Page, number: int) -> Response:
    """Change the agent, priority and status of a ticket."""
    _get_row(page, "ticket", number)
    form, agents = page.form(), {agent["name"]: agent["id"] for agent in _get_agents(page)}
    agent = form.choice("agent", page.site.labels["agent"], agents)
    priority = form.choice("priority", "Priority", PRIORITIES)
    status = form.choice("status", "Status", STATUSES)
    if form.errors:
        return ticket(page, number, form)
    page.execute(
        "UPDATE ticket SET agent_id = ?, priority = ?, status = ? WHERE id = ?", agents[agent], priority, status, number
    )
    _log_event(page, f"Number {number} was changed.")
    return page.redirect(f"/tickets/{number}")


@routes.get("/settings")
def settings(page: Page, form: Form | None = None) -> Response:
    """Form with all settings."""
    rows, status = page.rows("SELECT * FROM setting ORDER BY id"), 422 if form and form.errors else 200
    return render(page, "settings.html", "/settings", settings=rows, form=form, status=status)


@routes.post("/settings")
def save_settings(page: Page) -> Response:
    """Save the settings."""
    form, values = page.form(), {}
    for setting in page.rows("SELECT * FROM setting ORDER BY id"):
        field = f"setting-{setting['id']}"
        if setting["form"] == "switch":
            values[setting["id"]] = "on" if field in form.values else "off"
        elif setting["form"] == "number":
            values[setting["id"]] = str(form.number(field, setting["name"], 0, 100))
        else:
            values[setting["id"]] = form.text(field, setting["name"], max_length=120)
    if form.errors:
        return settings(page, form)
    for number, value in values.items():
        page.execute("UPDATE setting SET value = ? WHERE id = ?", value, number)
    _log_event(page, "The settings are saved.")
    return page.redirect("/settings")


def _get_row(page: Page, table: str, number: int) -> Row:
    row = page.row(f"SELECT * FROM {table} WHERE id = ?", number)
    if row is None:
        raise NotFound("There is nothing of that number.")
    return row


def _get_roles(page: Page) -> tuple[str, ...]:
    return SUBJECTS[page.site.subject][0]


def _get_agents(page: Page) -> list[Row]:
    return page.rows("SELECT id, name FROM person WHERE id <= 4 ORDER BY name")


def _log_event(page: Page, text: str) -> None:
    page.execute("INSERT INTO event (text) VALUES (?)", text)
    page.set_notice(text)
