"""What one can be asked to do in a wiki."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from ....portable_rng import PortableRng
from .. import words
from ..core import Args, Site, TaskType
from ..evidence import Evidence
from .content import PROPER, SUBJECTS

_TEXTS = (
    "Nothing is known of its origin.",
    "It was described by a traveller in 1840.",
    "The name is older than the thing itself.",
    "There is a museum about it.",
    "More research is needed.",
)


def _fact(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    title, name = rng.choice(
        db.execute("SELECT a.title, f.name FROM fact f JOIN article a ON a.id = f.article_id ORDER BY f.id").fetchall()
    )
    return {"title": title, "fact": name}


def _told(e: Evidence, args: Args) -> Iterator[bool]:
    yield _says(e, args["title"], args["fact"])


def _says(e: Evidence, title: str, fact: str) -> bool:
    query = "SELECT f.value FROM fact f JOIN article a ON a.id = f.article_id"
    [row] = e.was(f"{query} WHERE a.title = ? AND f.name = ?", title, fact)
    value = row["value"]
    others = [row["value"] for row in e.was(f"{query} WHERE f.name = ?", fact)]
    return e.says(float(value)) if value.isdigit() else e.says(value, others)


def _hop(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    links = db.execute(
        "SELECT a.title, f.name, b.id FROM fact f JOIN article a ON a.id = f.article_id "
        "JOIN article b ON b.title = f.value ORDER BY f.id"
    ).fetchall()
    title, link, other = rng.choice(links)
    names = [name for (name,) in db.execute("SELECT name FROM fact WHERE article_id = ? ORDER BY id", (other,))]
    return {"title": title, "link": link, "fact": rng.choice(names)}


def _told_of_other(e: Evidence, args: Args) -> Iterator[bool]:
    [row] = e.was(
        "SELECT f.value FROM fact f JOIN article a ON a.id = f.article_id WHERE a.title = ? AND f.name = ?",
        args["title"],
        args["link"],
    )
    yield _says(e, row["value"], args["fact"])


def _new_value(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    rules = {name: rule for sort in SUBJECTS[site.subject] for name, rule in sort.facts.items()}
    args = _fact(rng, db, site)
    while rules[args["fact"]] == "link":
        args = _fact(rng, db, site)
    rule = rules[args["fact"]].split()[0]
    values = {"number": str(rng.between(20, 990)), "year": str(rng.between(1780, 1999)), "person": words.person(rng)}
    return {**args, "value": values.get(rule) or rng.choice(words.CITIES)}


def _edited(e: Evidence, args: Args) -> Iterator[bool]:
    query = "SELECT f.id, a.title, f.name, f.value FROM fact f JOIN article a ON a.id = f.article_id ORDER BY f.id"
    wanted = [
        {**row, "value": args["value"]} if (row["title"], row["name"]) == (args["title"], args["fact"]) else row
        for row in e.was(query)
    ]
    yield e.rows(query) == wanted


def _new_article(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    taken = {title for (title,) in db.execute("SELECT title FROM article")}
    sort = rng.choice(SUBJECTS[site.subject])
    free = [title for title in map(sort.title.format, PROPER) if title not in taken]
    return {"title": rng.choice(free), "text": rng.choice(_TEXTS)}


def _written(e: Evidence, args: Args) -> Iterator[bool]:
    articles = e.added("article")
    yield len(articles) == 1 and articles[0]["title"] == args["title"]
    yield len(articles) == 1 and articles[0]["text"] == args["text"]


def _article(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    return {"title": rng.choice([title for (title,) in db.execute("SELECT title FROM article ORDER BY id")])}


def _author(e: Evidence, args: Args) -> Iterator[bool]:
    authors = e.was(
        "SELECT r.author FROM revision r JOIN article a ON a.id = r.article_id WHERE a.title = ? ORDER BY r.id DESC",
        args["title"],
    )
    yield e.says(authors[0]["author"], [row["author"] for row in authors])


TYPES = (
    TaskType(
        "wiki_fact",
        ("What does the article '{title}' give as '{fact}'?", "Look up '{title}' and tell me its '{fact}'."),
        _fact,
        _told,
    ),
    TaskType(
        "wiki_hop",
        (
            "Open '{title}' and follow its '{link}'. What is the '{fact}' there?",
            "What is the '{fact}' of that which '{title}' names as its '{link}'?",
        ),
        _hop,
        _told_of_other,
    ),
    TaskType(
        "wiki_edit",
        (
            "Correct the article '{title}': its '{fact}' is '{value}'.",
            "In the article '{title}', set '{fact}' to '{value}'.",
        ),
        _new_value,
        _edited,
        frozenset({"fact"}),
        frozenset({"revision"}),
    ),
    TaskType(
        "wiki_write",
        (
            "Write a new article with the title '{title}' and the text '{text}'.",
            "There is no article '{title}' yet. Write one with the text '{text}'.",
        ),
        _new_article,
        _written,
        frozenset(),
        frozenset({"article", "revision"}),
    ),
    TaskType(
        "wiki_author",
        (
            "Who made the latest change to the article '{title}'?",
            "Name the person who last changed the article '{title}'.",
        ),
        _article,
        _author,
    ),
)
