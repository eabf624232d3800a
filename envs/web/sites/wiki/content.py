"""What wikis hold: articles of three sorts that link to each other, their facts and their history."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from ....portable_rng import PortableRng
from .. import words
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
class Sort:
    """One sort of article in a subject."""

    name: str
    title: str
    """With the proper name in braces."""
    facts: dict[str, str]
    """Name of a fact to what it holds: `number LOW HIGH`, `year`, `person`, `place`, or `link` to the next sort."""
    sentence: str
    """How the text begins."""


SUBJECTS = {
    "atlas": (
        Sort(
            "Town",
            "{} Bay",
            {"Population": "number 900 90000", "Mayor": "person", "River": "link"},
            "is a harbour town known for its markets and its light",
        ),
        Sort(
            "River",
            "{} River",
            {"Length": "number 20 900", "Region": "place", "Source": "link"},
            "runs through farmland and floods its meadows every spring",
        ),
        Sort(
            "Mountain",
            "Mount {}",
            {"Height": "number 800 5200", "First climbed": "year", "First climber": "person"},
            "is a mountain of old rock with a hut below its summit",
        ),
    ),
    "rail": (
        Sort(
            "Engine",
            "{} Engine",
            {"Built": "year", "Designer": "person", "Home line": "link"},
            "is a steam engine that was built for heavy trains",
        ),
        Sort(
            "Line",
            "{} Line",
            {"Length": "number 20 900", "Opened": "year", "Terminus": "link"},
            "is a single-track line that served mines and mills",
        ),
        Sort(
            "Station",
            "{} Station",
            {"Platforms": "number 2 19", "Architect": "person", "Town": "place"},
            "is a station with an iron roof and a clock that is never right",
        ),
    ),
    "dishes": (
        Sort(
            "Dish",
            "{} Stew",
            {"Cooking time": "number 20 240", "Inventor": "person", "Made with": "link"},
            "is a dish for cold evenings that is better on the second day",
        ),
        Sort(
            "Sauce",
            "{} Sauce",
            {"First recipe": "year", "Town": "place", "Based on": "link"},
            "is a sauce that every family makes in its own way",
        ),
        Sort(
            "Spice",
            "{} Spice",
            {"Strength": "number 2 99", "Grown in": "place", "First trader": "person"},
            "is a spice that is sold whole and ground just before use",
        ),
    ),
    "garden": (
        Sort(
            "Garden",
            "{} Garden",
            {"Opened": "year", "Head gardener": "person", "Main flower": "link"},
            "is a walled garden with a pond and four old apple trees",
        ),
        Sort(
            "Flower",
            "{} Lily",
            {"Height": "number 20 240", "Region": "place", "Bred from": "link"},
            "is a flower that opens late in the day",
        ),
        Sort(
            "Herb",
            "{} Herb",
            {"Days to harvest": "number 20 150", "Found by": "person", "Found in": "year"},
            "is a herb that likes dry soil and forgives neglect",
        ),
    ),
    "stars": (
        Sort(
            "Probe",
            "{} Probe",
            {"Launched": "year", "Director": "person", "Destination": "link"},
            "is a probe that carries three cameras and a very small radio",
        ),
        Sort(
            "Moon",
            "{} Moon",
            {"Diameter": "number 20 5200", "Found by": "person", "Orbits": "link"},
            "is a moon of ice with a thin sky",
        ),
        Sort(
            "Planet",
            "Planet {}",
            {"Distance": "number 20 900", "Found in": "year", "Named after": "place"},
            "is a cold planet with wide rings",
        ),
    ),
}
PROPER = (
    "Alder Amber Anvil Aspen Birch Briar Cedar Cobalt Crane Dorn Echo Elder Fawn Garnet Heron Holly Iris Jade Kestrel "
    "Linden Marble Myrtle Onyx Osprey Pearl Pine Robin Rowan Sable Sorrel Swift Thistle Topaz Wren"
).split()
EACH = 9
"""Articles of each sort."""
SUMMARIES = ("Fixed a typo", "Added a source", "Clearer wording", "Checked the numbers", "First version", "New details")


def fill(db: sqlite3.Connection, site: Site, rng: PortableRng) -> None:
    """27 articles; those of one sort link to those of the next."""
    sorts = SUBJECTS[site.subject]
    titles = [[sort.title.format(name) for name in rng.sample(PROPER, EACH)] for sort in sorts]
    authors = words.people(rng, 9)
    number = 0
    for level, sort in enumerate(sorts):
        for title in titles[level]:
            number += 1
            nexts = titles[level + 1] if level + 1 < len(sorts) else []
            facts = {name: _value(rule, nexts, rng) for name, rule in sort.facts.items()}
            text = _text(title, sort, facts, rng.choice([other for other in titles[level] if other != title]))
            db.execute("INSERT INTO article VALUES (?, ?, ?, ?)", (number, title, sort.name, text))
            rows = [(number, name, value) for name, value in facts.items()]
            db.executemany("INSERT INTO fact (article_id, name, value) VALUES (?, ?, ?)", rows)
    changes = [(article, when) for article in range(1, number + 1) for when in _moments(rng)]
    for article, when in sorted(changes, key=lambda change: change[1]):
        db.execute(
            "INSERT INTO revision (article_id, author, changed, summary) VALUES (?, ?, ?, ?)",
            (article, rng.choice(authors), when, rng.choice(SUMMARIES)),
        )


def _moments(rng: PortableRng) -> list[str]:
    return sorted({words.moment(rng, 1, 900) for _ in range(rng.between(2, 4))})


def _value(rule: str, nexts: list[str], rng: PortableRng) -> str:
    kind, *bounds = rule.split()
    if kind == "number":
        return str(rng.between(int(bounds[0]), int(bounds[1])))
    if kind == "year":
        return str(rng.between(1780, 1999))
    if kind == "person":
        return words.person(rng)
    return rng.choice(nexts if kind == "link" else words.CITIES)


def _text(title: str, sort: Sort, facts: dict[str, str], other: str) -> str:
    """Two paragraphs; `[[Title]]` is a link."""
    links = " and ".join(f"[[{facts[name]}]]" for name, rule in sort.facts.items() if rule == "link")
    return f"{title} {sort.sentence}." + (f" It belongs with {links}." if links else "") + f"\n\nSee also [[{other}]]."
