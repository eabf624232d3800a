"""Task types of admin consoles."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from ....portable_rng import PortableRng
from .. import vocabulary
from ..core import Args, Site, TaskType
from ..evidence import Evidence, Row
from .content import PRIORITIES, STATUSES, SUBJECTS

_PERSON_QUERY = "SELECT * FROM person ORDER BY id"
_TICKET_QUERY = "SELECT t.*, p.name AS agent FROM ticket t JOIN person p ON p.id = t.agent_id ORDER BY t.id"


def _draw_role(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    name, role = rng.choice(db.execute("SELECT name, role FROM person ORDER BY id").fetchall())
    return {"person": name, "role": rng.choice([r for r in SUBJECTS[site.subject][0] if r != role])}


def _check_role(evidence: Evidence, args: Args) -> Iterator[bool]:
    yield evidence.rows_after(_PERSON_QUERY) == _replace(
        evidence.rows_before(_PERSON_QUERY), "name", args["person"], role=args["role"]
    )


def _draw_active_person(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    found = db.execute("SELECT name FROM person WHERE status = 'Active' ORDER BY id").fetchall()
    return {"person": rng.choice(found)[0]}


def _check_suspended(evidence: Evidence, args: Args) -> Iterator[bool]:
    yield evidence.rows_after(_PERSON_QUERY) == _replace(
        evidence.rows_before(_PERSON_QUERY), "name", args["person"], status="Suspended"
    )


def _draw_new_person(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    taken = {name for (name,) in db.execute("SELECT name FROM person")}
    name = vocabulary.full_name(rng)
    while name in taken:
        name = vocabulary.full_name(rng)
    return {
        "name": name,
        "email": f"{vocabulary.user_name(name)}@{site.host}",
        "role": rng.choice(SUBJECTS[site.subject][0]),
    }


def _check_new_person(evidence: Evidence, args: Args) -> Iterator[bool]:
    added = evidence.added_rows("person")
    person: Row = added[0] if len(added) == 1 else {}
    yield bool(person)
    yield person.get("name") == args["name"]
    yield person.get("email") == args["email"]
    yield person.get("role") == args["role"]


def _draw_ticket(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    number, agent, priority = rng.choice(db.execute("SELECT id, agent_id, priority FROM ticket ORDER BY id").fetchall())
    agents = db.execute("SELECT name FROM person WHERE id <= 4 AND id <> ? ORDER BY id", (agent,)).fetchall()
    return {
        "ticket": number,
        "agent": rng.choice(agents)[0],
        "priority": rng.choice([p for p in PRIORITIES if p != priority]),
    }


def _check_ticket(evidence: Evidence, args: Args) -> Iterator[bool]:
    fields = ("id", "subject", "status", "opened")
    before = {row["id"]: row for row in evidence.rows_before(_TICKET_QUERY)}
    after = {row["id"]: row for row in evidence.rows_after(_TICKET_QUERY)}
    ticket, others = after.pop(args["ticket"]), {k: v for k, v in before.items() if k != args["ticket"]}
    yield ticket["agent"] == args["agent"]
    yield ticket["priority"] == args["priority"]
    # An untouched database also meets this condition, so it counts only if the requested change was made.
    if ticket["agent"] == args["agent"] and ticket["priority"] == args["priority"]:
        yield after == others and all(ticket[f] == before[args["ticket"]][f] for f in fields)


def _draw_count(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    agent = rng.choice(db.execute("SELECT name FROM person WHERE id <= 4 ORDER BY id").fetchall())[0]
    return {"agent": agent, "status": rng.choice(STATUSES)}


def _check_count(evidence: Evidence, args: Args) -> Iterator[bool]:
    rows = [
        row
        for row in evidence.rows_before(_TICKET_QUERY)
        if (row["agent"], row["status"]) == (args["agent"], args["status"])
    ]
    yield evidence.answer_is(len(rows))


def _draw_setting(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    name, value = rng.choice(
        db.execute("SELECT name, value FROM setting WHERE form IN ('number', 'text') ORDER BY id").fetchall()
    )
    new = str(rng.choice([n for n in range(5, 31) if str(n) != value]))
    return {
        "setting": name,
        "value": new if value.isdigit() else f"{rng.choice(vocabulary.LAST_NAMES).lower()}@{site.host}",
    }


def _check_setting(evidence: Evidence, args: Args) -> Iterator[bool]:
    query = "SELECT * FROM setting ORDER BY id"
    yield evidence.rows_after(query) == _replace(
        evidence.rows_before(query), "name", args["setting"], value=args["value"]
    )


def _draw_switch(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    found = db.execute("SELECT name, value FROM setting WHERE form = 'switch' ORDER BY id").fetchall()
    name, value = rng.choice(found)
    return {"setting": name, "value": "off" if value == "on" else "on"}


def _replace(rows: list[Row], key: str, name: object, /, **changes: object) -> list[Row]:
    return [{**row, **changes} if row[key] == name else row for row in rows]


TASK_TYPES = (
    TaskType(
        "admin_role",
        ("Set the role of '{person}' to '{role}'.", "'{person}' is to be '{role}' from now on."),
        _draw_role,
        _check_role,
        frozenset({"person"}),
        frozenset({"event"}),
    ),
    TaskType(
        "admin_suspend",
        ("Suspend the account of '{person}'.", "'{person}' has left; suspend that account."),
        _draw_active_person,
        _check_suspended,
        frozenset({"person"}),
        frozenset({"event"}),
    ),
    TaskType(
        "admin_add",
        (
            "Add '{name}' with the address '{email}' and the role '{role}'.",
            "Create an account: '{name}', '{email}', '{role}'.",
        ),
        _draw_new_person,
        _check_new_person,
        frozenset(),
        frozenset({"person", "event"}),
    ),
    TaskType(
        "admin_assign",
        (
            "Give number '{ticket}' to '{agent}' with the priority '{priority}'.",
            "Number '{ticket}' should be handled by '{agent}'; its priority is '{priority}'.",
        ),
        _draw_ticket,
        _check_ticket,
        frozenset({"ticket"}),
        frozenset({"event"}),
    ),
    TaskType(
        "admin_count",
        ("How many that are '{status}' does '{agent}' have?", "Count those of '{agent}' with the status '{status}'."),
        _draw_count,
        _check_count,
    ),
    TaskType(
        "admin_setting",
        ("Set '{setting}' to '{value}'.", "'{setting}' has to be '{value}' from now on."),
        _draw_setting,
        _check_setting,
        frozenset({"setting"}),
        frozenset({"event"}),
    ),
    TaskType(
        "admin_switch",
        ("Switch '{setting}' '{value}'.", "Turn '{setting}' '{value}'."),
        _draw_switch,
        _check_setting,
        frozenset({"setting"}),
        frozenset({"event"}),
    ),
)
