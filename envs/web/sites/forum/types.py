"""Task types of forums."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from ....portable_rng import PortableRng
from .. import vocabulary
from ..core import Args, Site, TaskType
from ..evidence import Evidence
from .content import ANSWERS, QUESTIONS, SUBJECTS, account_password

_REPLIES = (
    "Thank you, that helped me a lot.",
    "I will try this at the weekend.",
    "Could you post a photo of it?",
    "This did not work for me, sadly.",
    "Count me in for next time.",
    "Where did you find that?",
)
_PROFILE_TEXTS = ("Old hand", "Beginner", "Here to learn", "Weekend only", "Ask me anything")


def _draw_account(rng: PortableRng, db: sqlite3.Connection) -> Args:
    user = rng.choice([user for (user,) in db.execute("SELECT user FROM account ORDER BY id")])
    return {"user": user, "password": account_password(user)}


def _draw_thread(rng: PortableRng, db: sqlite3.Connection) -> str:
    title: str = rng.choice([title for (title,) in db.execute("SELECT title FROM thread ORDER BY id")])
    return title


def _draw_reply(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    return {**_draw_account(rng, db), "thread": _draw_thread(rng, db), "text": rng.choice(_REPLIES)}


def _check_reply(evidence: Evidence, args: Args) -> Iterator[bool]:
    yield _is_signed_in(evidence, args)
    posts = evidence.added_rows("post")
    threads = evidence.rows_before("SELECT id FROM thread WHERE title = ?", args["thread"])
    yield len(posts) == 1 and posts[0]["thread_id"] == threads[0]["id"] and _is_author(evidence, posts[0], args)
    yield len(posts) == 1 and posts[0]["text"] == args["text"]


def _is_signed_in(evidence: Evidence, args: Args) -> bool:
    found = evidence.rows_after("SELECT a.user FROM session s JOIN account a ON a.id = s.value WHERE s.key = 'account'")
    return found == [{"user": args["user"]}]


def _is_author(evidence: Evidence, post: dict[str, object], args: Args) -> bool:
    return evidence.rows_after("SELECT user FROM account WHERE id = ?", post["account_id"]) == [{"user": args["user"]}]


def _draw_new_thread(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    taken = {title for (title,) in db.execute("SELECT title FROM thread")}
    titles = [question.format(topic) for question in QUESTIONS for topic in SUBJECTS[site.subject][1]]
    return {
        **_draw_account(rng, db),
        "board": rng.choice([name for (name,) in db.execute("SELECT name FROM board ORDER BY id")]),
        "title": rng.choice([title for title in titles if title not in taken]),
        "text": rng.choice(ANSWERS),
    }


def _check_new_thread(evidence: Evidence, args: Args) -> Iterator[bool]:
    yield _is_signed_in(evidence, args)
    threads, posts = evidence.added_rows("thread"), evidence.added_rows("post")
    one_thread = (
        len(threads) == len(posts) == 1
        and posts[0]["thread_id"] == threads[0]["id"]
        and _is_author(evidence, posts[0], args)
    )
    boards = evidence.rows_before("SELECT id FROM board WHERE name = ?", args["board"])
    yield one_thread and threads[0]["board_id"] == boards[0]["id"]
    yield one_thread and threads[0]["title"] == args["title"]
    yield one_thread and posts[0]["text"] == args["text"]


def _draw_like(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    account = _draw_account(rng, db)
    found = db.execute(
        "SELECT t.title, a.user FROM post p JOIN thread t ON t.id = p.thread_id JOIN account a ON a.id = p.account_id "
        "WHERE a.user <> ? AND NOT EXISTS (SELECT 1 FROM likes l JOIN account f ON f.id = l.account_id "
        "WHERE l.post_id = p.id AND f.user = ?) ORDER BY p.id",
        (account["user"], account["user"]),
    ).fetchall()
    title, author = rng.choice(found)
    return {**account, "thread": title, "author": author}


def _check_like(evidence: Evidence, args: Args) -> Iterator[bool]:
    yield _is_signed_in(evidence, args)
    query = (
        "SELECT t.title AS thread, a.user AS author, f.user FROM likes l JOIN post p ON p.id = l.post_id "
        "JOIN thread t ON t.id = p.thread_id JOIN account a ON a.id = p.account_id "
        "JOIN account f ON f.id = l.account_id"
    )
    wanted = {"thread": args["thread"], "author": args["author"], "user": args["user"]}
    before, after = evidence.rows_before(query), evidence.rows_after(query)
    yield len(after) == len(before) + 1 and wanted in after


def _draw_best(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    return {"thread": _draw_thread(rng, db)}


def _check_best(evidence: Evidence, args: Args) -> Iterator[bool]:
    authors = evidence.rows_before(
        "SELECT a.user FROM post p JOIN thread t ON t.id = p.thread_id JOIN account a ON a.id = p.account_id "
        "WHERE t.title = ? ORDER BY (SELECT count(*) FROM likes WHERE post_id = p.id) DESC",
        args["thread"],
    )
    yield evidence.answer_is(authors[0]["user"], [row["user"] for row in authors])


def _draw_profile(rng: PortableRng, db: sqlite3.Connection, site: Site) -> Args:
    account = _draw_account(rng, db)
    [(place,)] = db.execute("SELECT place FROM account WHERE user = ?", (account["user"],)).fetchall()
    places = [city for city in vocabulary.CITIES if city != place]
    return {**account, "place": rng.choice(places), "about": rng.choice(_PROFILE_TEXTS)}


def _check_profile(evidence: Evidence, args: Args) -> Iterator[bool]:
    yield _is_signed_in(evidence, args)
    before = {row["user"]: row for row in evidence.rows_before("SELECT * FROM account")}
    after = {row["user"]: row for row in evidence.rows_after("SELECT * FROM account")}
    account = after.pop(args["user"])
    before.pop(args["user"])
    yield account["place"] == args["place"]
    yield account["about"] == args["about"] and after == before


TASK_TYPES = (
    TaskType(
        "forum_reply",
        (
            "Sign in as '{user}' with the password '{password}' and reply to the thread '{thread}' with '{text}'.",
            "Your account is '{user}', password '{password}'. Answer in the thread '{thread}' with '{text}'.",
        ),
        _draw_reply,
        _check_reply,
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
        _draw_new_thread,
        _check_new_thread,
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
        _draw_like,
        _check_like,
        frozenset(),
        frozenset({"likes"}),
    ),
    TaskType(
        "forum_best",
        (
            "Who wrote the post with the most likes in the thread '{thread}'?",
            "Name the author of the most liked post in the thread '{thread}'.",
        ),
        _draw_best,
        _check_best,
    ),
    TaskType(
        "forum_profile",
        (
            "Sign in as '{user}' with the password '{password}' and change the profile: "
            "'{place}' as the place, '{about}' as the words about you.",
            "Your account is '{user}', password '{password}'. Set the place in the profile to '{place}' and the words "
            "about you to '{about}'.",
        ),
        _draw_profile,
        _check_profile,
        frozenset({"account"}),
    ),
)
