"""What one can be asked to do in a console."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from ....portable_rng import PortableRng
from .. import words
from ..core import Args, Site, TaskType
from ..evidence import Evidence, Row
from .content import PRIORITIES, STATUSES, SUBJECTS

_PEOPLE = "SELECT * FROM person ORDER BY id"
_TICKETS = "SELECT t.*, p.name AS agent FROM ticket t JOIN person p ON p.id = t.agent_id ORDER BY t.id"


def _role(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    name, role = rng.choice(db.execute("SELECT name, role FROM person ORDER BY id").fetchall())
    return {"person": name, "role": rng.choice([r for r in SUBJECTS[site.subject][0] if r != role])}


def _role_given(e: Evidence, args: Args) -> Iterator[bool]:
    yield e.rows(_PEOPLE) == _with(e.was(_PEOPLE), "name", args["person"], role=args["role"])


def _active(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    found = db.execute("SELECT name FROM person WHERE status = 'Active' ORDER BY id").fetchall()
    return {"person": rng.choice(found)[0]}


def _suspended(e: Evidence, args: Args) -> Iterator[bool]:
    yield e.rows(_PEOPLE) == _with(e.was(_PEOPLE), "name", args["person"], status="Suspended")


def _newcomer(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    taken = {name for (name,) in db.execute("SELECT name FROM person")}
    name = words.person(rng)
    while name in taken:
        name = words.person(rng)
    return {"name": name, "email": f"{words.handle(name)}@{site.host}", "role": rng.choice(SUBJECTS[site.subject][0])}


def _added(e: Evidence, args: Args) -> Iterator[bool]:
    added = e.added("person")
    person: Row = added[0] if len(added) == 1 else {}
    yield bool(person)
    yield person.get("name") == args["name"]
    yield person.get("email") == args["email"]
    yield person.get("role") == args["role"]


def _ticket(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    number, agent, priority = rng.choice(db.execute("SELECT id, agent_id, priority FROM ticket ORDER BY id").fetchall())
    agents = db.execute("SELECT name FROM person WHERE id <= 4 AND id <> ? ORDER BY id", (agent,)).fetchall()
    return {
        "ticket": number,
        "agent": rng.choice(agents)[0],
        "priority": rng.choice([p for p in PRIORITIES if p != priority]),
    }


def _assigned(e: Evidence, args: Args) -> Iterator[bool]:
    fields = ("id", "subject", "status", "opened")
    before = {row["id"]: row for row in e.was(_TICKETS)}
    after = {row["id"]: row for row in e.rows(_TICKETS)}
    mine, others = after.pop(args["ticket"]), {k: v for k, v in before.items() if k != args["ticket"]}
    yield mine["agent"] == args["agent"]
    yield mine["priority"] == args["priority"]
    # Only counts together with the change that was asked for, since nothing was to be done for it.
    if mine["agent"] == args["agent"] and mine["priority"] == args["priority"]:
        yield after == others and all(mine[f] == before[args["ticket"]][f] for f in fields)


def _count(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    agent = rng.choice(db.execute("SELECT name FROM person WHERE id <= 4 ORDER BY id").fetchall())[0]
    return {"agent": agent, "status": rng.choice(STATUSES)}


def _counted(e: Evidence, args: Args) -> Iterator[bool]:
    rows = [row for row in e.was(_TICKETS) if (row["agent"], row["status"]) == (args["agent"], args["status"])]
    yield e.says(len(rows))


def _setting(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    name, value = rng.choice(
        db.execute("SELECT name, value FROM setting WHERE form IN ('number', 'text') ORDER BY id").fetchall()
    )
    new = str(rng.choice([n for n in range(5, 31) if str(n) != value]))
    return {
        "setting": name,
        "value": new if value.isdigit() else f"{rng.choice(words.LAST_NAMES).lower()}@{site.host}",
    }


def _set(e: Evidence, args: Args) -> Iterator[bool]:
    query = "SELECT * FROM setting ORDER BY id"
    yield e.rows(query) == _with(e.was(query), "name", args["setting"], value=args["value"])


def _switch(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    found = db.execute("SELECT name, value FROM setting WHERE form = 'switch' ORDER BY id").fetchall()
    name, value = rng.choice(found)
    return {"setting": name, "value": "off" if value == "on" else "on"}


def _with(rows: list[Row], key: str, name: object, /, **changes: object) -> list[Row]:
    return [{**row, **changes} if row[key] == name else row for row in rows]


TYPES = (
    TaskType(
        "admin_role",
        ("Set the role of '{person}' to '{role}'.", "'{person}' is to be '{role}' from now on."),
        _role,
        _role_given,
        frozenset({"person"}),
        frozenset({"event"}),
    ),
    TaskType(
        "admin_suspend",
        ("Suspend the account of '{person}'.", "'{person}' has left; suspend that account."),
        _active,
        _suspended,
        frozenset({"person"}),
        frozenset({"event"}),
    ),
    TaskType(
        "admin_add",
        (
            "Add '{name}' with the address '{email}' and the role '{role}'.",
            "Create an account: '{name}', '{email}', '{role}'.",
        ),
        _newcomer,
        _added,
        frozenset(),
        frozenset({"person", "event"}),
    ),
    TaskType(
        "admin_assign",
        (
            "Give number '{ticket}' to '{agent}' with the priority '{priority}'.",
            "Number '{ticket}' should be handled by '{agent}'; its priority is '{priority}'.",
        ),
        _ticket,
        _assigned,
        frozenset({"ticket"}),
        frozenset({"event"}),
    ),
    TaskType(
        "admin_count",
        ("How many that are '{status}' does '{agent}' have?", "Count those of '{agent}' with the status '{status}'."),
        _count,
        _counted,
    ),
    TaskType(
        "admin_setting",
        ("Set '{setting}' to '{value}'.", "'{setting}' has to be '{value}' from now on."),
        _setting,
        _set,
        frozenset({"setting"}),
        frozenset({"event"}),
    ),
    TaskType(
        "admin_switch",
        ("Switch '{setting}' '{value}'.", "Turn '{setting}' '{value}'."),
        _switch,
        _set,
        frozenset({"setting"}),
        frozenset({"event"}),
    ),
)
