"""Task types of wikis."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from ....portable_rng import PortableRng
from .. import vocabulary
from ..core import Args, Site, TaskType
from ..evidence import Evidence
from .content import PROPER_NAMES, SUBJECTS

_ARTICLE_TEXTS = (
    "Nothing is known of its origin.",
    "It was described by a traveller in 1840.",
    "The name is older than the thing itself.",
    "There is a museum about it.",
    "More research is needed.",
)


def _draw_fact(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    title, name = rng.choice(
        db.execute("SELECT a.title, f.name FROM fact f JOIN article a ON a.id = f.article_id ORDER BY f.id").fetchall()
    )
    return {"title": title, "fact": name}


def _check_fact(evidence: Evidence, args: Args) -> Iterator[bool]:
    yield _answer_is_fact(evidence, args["title"], args["fact"])


def _answer_is_fact(evidence: Evidence, title: str, fact: str) -> bool:
    query = "SELECT f.value FROM fact f JOIN article a ON a.id = f.article_id"
    [row] = evidence.rows_before(f"{query} WHERE a.title = ? AND f.name = ?", title, fact)
    value = row["value"]
    others = [row["value"] for row in evidence.rows_before(f"{query} WHERE f.name = ?", fact)]
    return evidence.answer_is(float(value)) if value.isdigit() else evidence.answer_is(value, others)


def _draw_hop(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    links = db.execute(
        "SELECT a.title, f.name, b.id FROM fact f JOIN article a ON a.id = f.article_id "
        "JOIN article b ON b.title = f.value ORDER BY f.id"
    ).fetchall()
    title, link, other = rng.choice(links)
    names = [name for (name,) in db.execute("SELECT name FROM fact WHERE article_id = ? ORDER BY id", (other,))]
    return {"title": title, "link": link, "fact": rng.choice(names)}


def _check_hop(evidence: Evidence, args: Args) -> Iterator[bool]:
    [row] = evidence.rows_before(
        "SELECT f.value FROM fact f JOIN article a ON a.id = f.article_id WHERE a.title = ? AND f.name = ?",
        args["title"],
        args["link"],
    )
    yield _answer_is_fact(evidence, row["value"], args["fact"])


def _draw_edit(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    fact_rules = {
        name: rule for article_kind in SUBJECTS[site.subject] for name, rule in article_kind.fact_rules.items()
    }
    args = _draw_fact(rng, db, site)
    while fact_rules[args["fact"]] == "link":
        args = _draw_fact(rng, db, site)
    rule = fact_rules[args["fact"]].split()[0]
    values = {
        "number": str(rng.between(20, 990)),
        "year": str(rng.between(1780, 1999)),
        "person": vocabulary.full_name(rng),
    }
    return {**args, "value": values.get(rule) or rng.choice(vocabulary.CITIES)}


def _check_edit(evidence: Evidence, args: Args) -> Iterator[bool]:
    query = "SELECT f.id, a.title, f.name, f.value FROM fact f JOIN article a ON a.id = f.article_id ORDER BY f.id"
    wanted = [
        {**row, "value": args["value"]} if (row["title"], row["name"]) == (args["title"], args["fact"]) else row
        for row in evidence.rows_before(query)
    ]
    yield evidence.rows_after(query) == wanted


def _draw_new_article(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    taken = {title for (title,) in db.execute("SELECT title FROM article")}
    article_kind = rng.choice(SUBJECTS[site.subject])
    free = [title for title in map(article_kind.title_template.format, PROPER_NAMES) if title not in taken]
    return {"title": rng.choice(free), "text": rng.choice(_ARTICLE_TEXTS)}


def _check_new_article(evidence: Evidence, args: Args) -> Iterator[bool]:
    articles = evidence.added_rows("article")
    yield len(articles) == 1 and articles[0]["title"] == args["title"]
    yield len(articles) == 1 and articles[0]["text"] == args["text"]


def _draw_article(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    return {"title": rng.choice([title for (title,) in db.execute("SELECT title FROM article ORDER BY id")])}


def _check_author(evidence: Evidence, args: Args) -> Iterator[bool]:
    authors = evidence.rows_before(
        "SELECT r.author FROM revision r JOIN article a ON a.id = r.article_id WHERE a.title = ? ORDER BY r.id DESC",
        args["title"],
    )
    yield evidence.answer_is(authors[0]["author"], [row["author"] for row in authors])


TASK_TYPES = (
    TaskType(
        "wiki_fact",
        ("What does the article '{title}' give as '{fact}'?", "Look up '{title}' and tell me its '{fact}'."),
        _draw_fact,
        _check_fact,
    ),
    TaskType(
        "wiki_hop",
        (
            "Open '{title}' and follow its '{link}'. What is the '{fact}' there?",
            "What is the '{fact}' of that which '{title}' names as its '{link}'?",
        ),
        _draw_hop,
        _check_hop,
    ),
    TaskType(
        "wiki_edit",
        (
            "Correct the article '{title}': its '{fact}' is '{value}'.",
            "In the article '{title}', set '{fact}' to '{value}'.",
        ),
        _draw_edit,
        _check_edit,
        frozenset({"fact"}),
        frozenset({"revision"}),
    ),
    TaskType(
        "wiki_write",
        (
            "Write a new article with the title '{title}' and the text '{text}'.",
            "There is no article '{title}' yet. Write one with the text '{text}'.",
        ),
        _draw_new_article,
        _check_new_article,
        frozenset(),
        frozenset({"article", "revision"}),
    ),
    TaskType(
        "wiki_author",
        (
            "Who made the latest change to the article '{title}'?",
            "Name the person who last changed the article '{title}'.",
        ),
        _draw_article,
        _check_author,
    ),
)
