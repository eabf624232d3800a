"""Schema and content of wikis: articles of three kinds that link to each other, with facts and revisions."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from ....portable_rng import PortableRng
from .. import vocabulary
from ..core import Site

SCHEMA = """
CREATE TABLE article (
    id INTEGER PRIMARY KEY, title TEXT NOT NULL UNIQUE, sort TEXT NOT NULL, text TEXT NOT NULL
) STRICT;
CREATE TABLE fact (
    id INTEGER PRIMARY KEY,
    article_id INTEGER NOT NULL REFERENCES article,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    UNIQUE (article_id, name)
) STRICT;
CREATE TABLE revision (
    id INTEGER PRIMARY KEY,
    article_id INTEGER NOT NULL REFERENCES article,
    author TEXT NOT NULL,
    changed TEXT NOT NULL,
    summary TEXT NOT NULL
) STRICT;
"""


@dataclass(frozen=True)
class ArticleKind:
    """One kind of article in a subject."""

    name: str
    title_template: str
    """Title, with `{}` for a proper name."""
    fact_rules: dict[str, str]
    """Fact names and the rules for their values: `number LOW HIGH`, `year`, `person`, `place`, or `link` (title of an
    article of the next kind)."""
    sentence: str
    """Predicate of the first sentence; the title is its subject."""


SUBJECTS = {
    "atlas": (
        ArticleKind(
            "Town",
            "{} Bay",
            {"Population": "number 900 90000", "Mayor": "person", "River": "link"},
            "is a harbour town known for its markets and its light",
        ),
        ArticleKind(
            "River",
            "{} River",
            {"Length": "number 20 900", "Region": "place", "Source": "link"},
            "runs through farmland and floods its meadows every spring",
        ),
        ArticleKind(
            "Mountain",
            "Mount {}",
            {"Height": "number 800 5200", "First climbed": "year", "First climber": "person"},
            "is a mountain of old rock with a hut below its summit",
        ),
    ),
    "rail": (
        ArticleKind(
            "Engine",
            "{} Engine",
            {"Built": "year", "Designer": "person", "Home line": "link"},
            "is a steam engine that was built for heavy trains",
        ),
        ArticleKind(
            "Line",
            "{} Line",
            {"Length": "number 20 900", "Opened": "year", "Terminus": "link"},
            "is a single-track line that served mines and mills",
        ),
        ArticleKind(
            "Station",
            "{} Station",
            {"Platforms": "number 2 19", "Architect": "person", "Town": "place"},
            "is a station with an iron roof and a clock that is never right",
        ),
    ),
    "dishes": (
        ArticleKind(
            "Dish",
            "{} Stew",
            {"Cooking time": "number 20 240", "Inventor": "person", "Made with": "link"},
            "is a dish for cold evenings that is better on the second day",
        ),
        ArticleKind(
            "Sauce",
            "{} Sauce",
            {"First recipe": "year", "Town": "place", "Based on": "link"},
            "is a sauce that every family makes in its own way",
        ),
        ArticleKind(
            "Spice",
            "{} Spice",
            {"Strength": "number 2 99", "Grown in": "place", "First trader": "person"},
            "is a spice that is sold whole and ground just before use",
        ),
    ),
    "garden": (
        ArticleKind(
            "Garden",
            "{} Garden",
            {"Opened": "year", "Head gardener": "person", "Main flower": "link"},
            "is a walled garden with a pond and four old apple trees",
        ),
        ArticleKind(
            "Flower",
            "{} Lily",
            {"Height": "number 20 240", "Region": "place", "Bred from": "link"},
            "is a flower that opens late in the day",
        ),
        ArticleKind(
            "Herb",
            "{} Herb",
            {"Days to harvest": "number 20 150", "Found by": "person", "Found in": "year"},
            "is a herb that likes dry soil and forgives neglect",
        ),
    ),
    "stars": (
        ArticleKind(
            "Probe",
            "{} Probe",
            {"Launched": "year", "Director": "person", "Destination": "link"},
            "is a probe that carries three cameras and a very small radio",
        ),
        ArticleKind(
            "Moon",
            "{} Moon",
            {"Diameter": "number 20 5200", "Found by": "person", "Orbits": "link"},
            "is a moon of ice with a thin sky",
        ),
        ArticleKind(
            "Planet",
            "Planet {}",
            {"Distance": "number 20 900", "Found in": "year", "Named after": "place"},
            "is a cold planet with wide rings",
        ),
    ),
}
PROPER_NAMES = (
    "Alder Amber Anvil Aspen Birch Briar Cedar Cobalt Crane Dorn Echo Elder Fawn Garnet Heron Holly Iris Jade Kestrel "
    "Linden Marble Myrtle Onyx Osprey Pearl Pine Robin Rowan Sable Sorrel Swift Thistle Topaz Wren"
).split()
ARTICLES_PER_KIND = 9
"""Number of articles of each kind."""
SUMMARIES = ("Fixed a typo", "Added a source", "Clearer wording", "Checked the numbers", "First version", "New details")


def fill(db: sqlite3.Connection, site: Site, rng: PortableRng) -> None:
    """Write 27 articles. Articles of each kind link to articles of the next kind."""
    article_kinds = SUBJECTS[site.subject]
    titles = [
        [article_kind.title_template.format(name) for name in rng.sample(PROPER_NAMES, ARTICLES_PER_KIND)]
        for article_kind in article_kinds
    ]
    authors = vocabulary.full_names(rng, 9)
    number = 0
    for level, article_kind in enumerate(article_kinds):
        for title in titles[level]:
            number += 1
            linked_titles = titles[level + 1] if level + 1 < len(article_kinds) else []
            facts = {name: _value(rule, linked_titles, rng) for name, rule in article_kind.fact_rules.items()}
            text = _text(title, article_kind, facts, rng.choice([other for other in titles[level] if other != title]))
            db.execute("INSERT INTO article VALUES (?, ?, ?, ?)", (number, title, article_kind.name, text))
            rows = [(number, name, value) for name, value in facts.items()]
            db.executemany("INSERT INTO fact (article_id, name, value) VALUES (?, ?, ?)", rows)
    changes = [(article, timestamp) for article in range(1, number + 1) for timestamp in _timestamps(rng)]
    for article, timestamp in sorted(changes, key=lambda change: change[1]):
        db.execute(
            "INSERT INTO revision (article_id, author, changed, summary) VALUES (?, ?, ?, ?)",
            (article, rng.choice(authors), timestamp, rng.choice(SUMMARIES)),
        )


def _timestamps(rng: PortableRng) -> list[str]:
    return sorted({vocabulary.past_timestamp(rng, 1, 900) for _ in range(rng.between(2, 4))})


def _value(rule: str, linked_titles: list[str], rng: PortableRng) -> str:
    kind, *bounds = rule.split()
    if kind == "number":
        return str(rng.between(int(bounds[0]), int(bounds[1])))
    if kind == "year":
        return str(rng.between(1780, 1999))
    if kind == "person":
        return vocabulary.full_name(rng)
    return rng.choice(linked_titles if kind == "link" else vocabulary.CITIES)


def _text(title: str, article_kind: ArticleKind, facts: dict[str, str], other: str) -> str:
    """Return two paragraphs. `[[Title]]` marks a link."""
    links = " and ".join(f"[[{facts[name]}]]" for name, rule in article_kind.fact_rules.items() if rule == "link")
    return (
        f"{title} {article_kind.sentence}."
        + (f" It belongs with {links}." if links else "")
        + f"\n\nSee also [[{other}]]."
    )
