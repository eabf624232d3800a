"""What one can be asked to do in a forum."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from ....portable_rng import PortableRng
from .. import words
from ..core import Args, Site, TaskType
from ..evidence import Evidence
from .content import ANSWERS, QUESTIONS, SUBJECTS, secret

_REPLIES = (
    "Thank you, that helped me a lot.",
    "I will try this at the weekend.",
    "Could you post a photo of it?",
    "This did not work for me, sadly.",
    "Count me in for next time.",
    "Where did you find that?",
)
_ABOUT = ("Old hand", "Beginner", "Here to learn", "Weekend only", "Ask me anything")


def _account(rng: PortableRng, db: sqlite3.Connection) -> Args:
    user = rng.choice([user for (user,) in db.execute("SELECT user FROM account ORDER BY id")])
    return {"user": user, "password": secret(user)}


def _thread(rng: PortableRng, db: sqlite3.Connection) -> str:
    title: str = rng.choice([title for (title,) in db.execute("SELECT title FROM thread ORDER BY id")])
    return title


def _reply(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    return {**_account(rng, db), "thread": _thread(rng, db), "text": rng.choice(_REPLIES)}


def _replied(e: Evidence, args: Args) -> Iterator[bool]:
    yield _signed_in(e, args)
    posts = e.added("post")
    threads = e.was("SELECT id FROM thread WHERE title = ?", args["thread"])
    yield len(posts) == 1 and posts[0]["thread_id"] == threads[0]["id"] and _wrote(e, posts[0], args)
    yield len(posts) == 1 and posts[0]["text"] == args["text"]


def _signed_in(e: Evidence, args: Args) -> bool:
    found = e.rows("SELECT a.user FROM session s JOIN account a ON a.id = s.value WHERE s.key = 'account'")
    return found == [{"user": args["user"]}]


def _wrote(e: Evidence, post: dict[str, object], args: Args) -> bool:
    return e.rows("SELECT user FROM account WHERE id = ?", post["account_id"]) == [{"user": args["user"]}]


def _start(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    taken = {title for (title,) in db.execute("SELECT title FROM thread")}
    titles = [question.format(topic) for question in QUESTIONS for topic in SUBJECTS[site.subject][1]]
    return {
        **_account(rng, db),
        "board": rng.choice([name for (name,) in db.execute("SELECT name FROM board ORDER BY id")]),
        "title": rng.choice([title for title in titles if title not in taken]),
        "text": rng.choice(ANSWERS),
    }


def _started(e: Evidence, args: Args) -> Iterator[bool]:
    yield _signed_in(e, args)
    threads, posts = e.added("thread"), e.added("post")
    one = len(threads) == len(posts) == 1 and posts[0]["thread_id"] == threads[0]["id"] and _wrote(e, posts[0], args)
    boards = e.was("SELECT id FROM board WHERE name = ?", args["board"])
    yield one and threads[0]["board_id"] == boards[0]["id"]
    yield one and threads[0]["title"] == args["title"]
    yield one and posts[0]["text"] == args["text"]


def _like(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    account = _account(rng, db)
    found = db.execute(
        "SELECT t.title, a.user FROM post p JOIN thread t ON t.id = p.thread_id JOIN account a ON a.id = p.account_id "
        "WHERE a.user <> ? AND NOT EXISTS (SELECT 1 FROM likes l JOIN account f ON f.id = l.account_id "
        "WHERE l.post_id = p.id AND f.user = ?) ORDER BY p.id",
        (account["user"], account["user"]),
    ).fetchall()
    title, author = rng.choice(found)
    return {**account, "thread": title, "author": author}


def _liked(e: Evidence, args: Args) -> Iterator[bool]:
    yield _signed_in(e, args)
    query = (
        "SELECT t.title AS thread, a.user AS author, f.user FROM likes l JOIN post p ON p.id = l.post_id "
        "JOIN thread t ON t.id = p.thread_id JOIN account a ON a.id = p.account_id "
        "JOIN account f ON f.id = l.account_id"
    )
    wanted = {"thread": args["thread"], "author": args["author"], "user": args["user"]}
    before, after = e.was(query), e.rows(query)
    yield len(after) == len(before) + 1 and wanted in after


def _best(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    return {"thread": _thread(rng, db)}


def _named(e: Evidence, args: Args) -> Iterator[bool]:
    authors = e.was(
        "SELECT a.user FROM post p JOIN thread t ON t.id = p.thread_id JOIN account a ON a.id = p.account_id "
        "WHERE t.title = ? ORDER BY (SELECT count(*) FROM likes WHERE post_id = p.id) DESC",
        args["thread"],
    )
    yield e.says(authors[0]["user"], [row["user"] for row in authors])


def _profile(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    account = _account(rng, db)
    [(place,)] = db.execute("SELECT place FROM account WHERE user = ?", (account["user"],)).fetchall()
    places = [city for city in words.CITIES if city != place]
    return {**account, "place": rng.choice(places), "about": rng.choice(_ABOUT)}


def _profiled(e: Evidence, args: Args) -> Iterator[bool]:
    yield _signed_in(e, args)
    before = {row["user"]: row for row in e.was("SELECT * FROM account")}
    after = {row["user"]: row for row in e.rows("SELECT * FROM account")}
    mine = after.pop(args["user"])
    before.pop(args["user"])
    yield mine["place"] == args["place"]
    yield mine["about"] == args["about"] and after == before


TYPES = (
    TaskType(
        "forum_reply",
        (
            "Sign in as '{user}' with the password '{password}' and reply to the thread '{thread}' with '{text}'.",
            "Your account is '{user}', password '{password}'. Answer in the thread '{thread}' with '{text}'.",
        ),
        _reply,
        _replied,
        frozenset(),
        frozenset({"post"}),
    ),
    TaskType(
        "forum_start",
        (
            "Sign in as '{user}' with the password '{password}'. In '{board}', start a thread called '{title}' "
            "with the text '{text}'.",
            "Your account is '{user}', password '{password}'. Open a new thread in '{board}' with the title '{title}' "
            "and the text '{text}'.",
        ),
        _start,
        _started,
        frozenset(),
        frozenset({"thread", "post"}),
    ),
    TaskType(
        "forum_like",
        (
            "Sign in as '{user}' with the password '{password}' and like the post of '{author}' "
            "in the thread '{thread}'.",
            "Your account is '{user}', password '{password}'. Give a like to what '{author}' wrote "
            "in the thread '{thread}'.",
        ),
        _like,
        _liked,
        frozenset(),
        frozenset({"likes"}),
    ),
    TaskType(
        "forum_best",
        (
            "Who wrote the post with the most likes in the thread '{thread}'?",
            "Name the author of the most liked post in the thread '{thread}'.",
        ),
        _best,
        _named,
    ),
    TaskType(
        "forum_profile",
        (
            "Sign in as '{user}' with the password '{password}' and change the profile: "
            "'{place}' as the place, '{about}' as the words about you.",
            "Your account is '{user}', password '{password}'. Set the place in the profile to '{place}' and the words "
            "about you to '{about}'.",
        ),
        _profile,
        _profiled,
        frozenset({"account"}),
    ),
)
