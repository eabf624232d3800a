"""Schema and content of forums: accounts, boards, threads and posts with likes."""

from __future__ import annotations

import sqlite3

from ....portable_rng import PortableRng
from .. import vocabulary
from ..core import Site
from ..passwords import hash_password

SCHEMA = """
CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    user TEXT NOT NULL UNIQUE COLLATE NOCASE,
    password TEXT NOT NULL,
    place TEXT NOT NULL,
    about TEXT NOT NULL
) STRICT;
CREATE TABLE board (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE thread (
    id INTEGER PRIMARY KEY, board_id INTEGER NOT NULL REFERENCES board, title TEXT NOT NULL, started TEXT NOT NULL
) STRICT;
CREATE TABLE post (
    id INTEGER PRIMARY KEY,
    thread_id INTEGER NOT NULL REFERENCES thread,
    account_id INTEGER NOT NULL REFERENCES account,
    written TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE TABLE likes (
    id INTEGER PRIMARY KEY,
    post_id INTEGER NOT NULL REFERENCES post,
    account_id INTEGER NOT NULL REFERENCES account,
    UNIQUE (post_id, account_id)
) STRICT;
"""
SUBJECTS = {
    "baking": (
        ("Starters", "Ovens", "Flour", "Bakes"),
        ("dense crumb", "pale crust", "sour starter", "rye loaf", "oven spring", "wet dough", "old flour", "steel pan"),
    ),
    "cycling": (
        ("Repair", "Routes", "Parts", "Touring"),
        (
            "slipping chain",
            "flat tyre",
            "loose spoke",
            "worn brake",
            "creaking pedal",
            "steel frame",
            "wet descent",
            "bent wheel",
        ),
    ),
    "books": (
        ("Novels", "Poetry", "History", "Swaps"),
        (
            "slow first chapter",
            "torn cover",
            "long series",
            "old translation",
            "lost volume",
            "sad ending",
            "small print",
            "borrowed copy",
        ),
    ),
    "garden": (
        ("Vegetables", "Fruit", "Soil", "Tools"),
        (
            "late frost",
            "heavy clay",
            "blunt spade",
            "yellow leaf",
            "split carrot",
            "sour apple",
            "leaking hose",
            "hungry slug",
        ),
    ),
    "radio": (
        ("Receivers", "Speakers", "Circuits", "Exchange"),
        (
            "weak signal",
            "dry joint",
            "humming speaker",
            "cracked dial",
            "warm coil",
            "blown fuse",
            "old valve",
            "noisy switch",
        ),
    ),
}
QUESTIONS = ("How to deal with the {}", "Is the {} normal", "Advice on the {}", "Story of the {}", "Beware of the {}")
ANSWERS = (
    "I had the same last winter and it went away by itself.",
    "Take a photo first, then take it apart.",
    "Patience is all that helped me.",
    "My neighbour swears by vinegar, but I would not.",
    "Start again and change one thing at a time.",
    "There is a good guide on this in the library.",
    "Ask somebody to look at it with you.",
    "It is worth the trouble in the end.",
)
PASSWORD_WORDS = ("river", "lamp", "stone", "maple", "copper", "window", "garden", "silver", "bridge", "candle")


def account_password(user: str) -> str:
    """Return the password of an account. Deterministic given the user name."""
    rng = PortableRng(f"secret/{user}")
    return f"{rng.choice(PASSWORD_WORDS)}-{rng.choice(PASSWORD_WORDS)}-{rng.between(10, 99)}"


def fill(db: sqlite3.Connection, site: Site, rng: PortableRng) -> None:
    """Write ten accounts, four boards, and twelve threads of up to five posts.

    The posts of a thread have different numbers of likes, so the most liked post is unique.
    """
    boards, topics = SUBJECTS[site.subject]
    for number, name in enumerate(vocabulary.full_names(rng, 10), start=1):
        user = vocabulary.user_name(name)
        values = (number, user, hash_password(account_password(user), user), rng.choice(vocabulary.CITIES), "")
        db.execute("INSERT INTO account VALUES (?, ?, ?, ?, ?)", values)
    for number, board in enumerate(boards, start=1):
        db.execute("INSERT INTO board VALUES (?, ?)", (number, board))
    titles = rng.sample([question.format(topic) for question in QUESTIONS for topic in topics], 12)
    for number, title in enumerate(titles, start=1):
        timestamps = sorted({vocabulary.past_timestamp(rng, 1, 60) for _ in range(rng.between(2, 5))})
        db.execute("INSERT INTO thread VALUES (?, ?, ?, ?)", (number, (number - 1) % 4 + 1, title, timestamps[0]))
        likes = rng.sample(range(9), len(timestamps))
        authors, texts = rng.sample(range(1, 11), len(timestamps)), rng.sample(ANSWERS, len(timestamps))
        for author, timestamp, text, count in zip(authors, timestamps, texts, likes, strict=True):
            insert = "INSERT INTO post (thread_id, account_id, written, text) VALUES (?, ?, ?, ?)"
            post = db.execute(insert, (number, author, timestamp, text)).lastrowid
            fans = rng.sample([other for other in range(1, 11) if other != author], count)
            rows = [(post, fan) for fan in fans]
            db.executemany("INSERT INTO likes (post_id, account_id) VALUES (?, ?)", rows)
