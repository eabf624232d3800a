"""The pages of a forum."""

from __future__ import annotations

from werkzeug.exceptions import Forbidden, NotFound
from werkzeug.wrappers import Response

from ..core import NOW
from ..pages import Form, Page, Routes, Row
from ..pages import like as pattern
from ..passwords import fits, hashed

routes = Routes()


@routes.get("/")
def home(page: Page) -> Response:
    """The boards, and the threads with the latest posts."""
    boards = page.rows(
        "SELECT b.*, count(t.id) AS threads FROM board b LEFT JOIN thread t ON t.board_id = b.id GROUP BY b.id"
    )
    return page.show("forum/home.html", boards=boards, threads=_threads(page, "1", limit=6))


@routes.get("/boards/<int:number>")
def board(page: Page, number: int) -> Response:
    """One board: its threads, the latest first."""
    row = _board(page, number)
    return page.show("forum/board.html", board=row, threads=_threads(page, "t.board_id = ?", number))


@routes.get("/search")
def search(page: Page) -> Response:
    """Threads that have all words in the title."""
    terms = page.query("q").split()[:10]
    where = " AND ".join("t.title LIKE ? ESCAPE '!'" for _ in terms) or "0"
    found = _threads(page, where, *map(pattern, terms))
    return page.show("forum/search.html", threads=found, words=page.query("q"))


@routes.get("/threads/<int:number>")
def thread(page: Page, number: int, form: Form | None = None) -> Response:
    """One thread."""
    row = page.row("SELECT t.*, b.name AS board FROM thread t JOIN board b ON b.id = t.board_id WHERE t.id = ?", number)
    if row is None:
        raise NotFound("This thread does not exist.")
    me = page.user["id"] if page.user else 0
    posts = page.rows(
        "SELECT p.*, a.user, (SELECT count(*) FROM likes WHERE post_id = p.id) AS likes, "
        "EXISTS (SELECT 1 FROM likes WHERE post_id = p.id AND account_id = ?) AS mine "
        "FROM post p JOIN account a ON a.id = p.account_id WHERE p.thread_id = ? ORDER BY p.id",
        me,
        number,
    )
    status = 422 if form and form.errors else 200
    return page.show("forum/thread.html", thread=row, posts=posts, form=form, status=status)


@routes.post("/threads/<int:number>")
def reply(page: Page, number: int) -> Response:
    """A reply."""
    account = _account(page)
    form = page.form()
    text = form.text("text", "Text", lines=True)
    if page.value("SELECT 1 FROM thread WHERE id = ?", number) is None or form.errors:
        return thread(page, number, form)
    _write(page, number, account, text)
    page.notice("Your reply is there.")
    return page.go(f"/threads/{number}")


@routes.post("/posts/<int:number>/like")
def like(page: Page, number: int) -> Response:
    """Like a post, or take a like back."""
    account = _account(page)
    post = page.row("SELECT * FROM post WHERE id = ?", number)
    if post is None:
        raise NotFound("This post does not exist.")
    mine = page.value("SELECT id FROM likes WHERE post_id = ? AND account_id = ?", number, account["id"])
    if mine is None:
        page.run("INSERT INTO likes (post_id, account_id) VALUES (?, ?)", number, account["id"])
    else:
        page.run("DELETE FROM likes WHERE id = ?", mine)
    if page.wants_json:
        likes = page.value("SELECT count(*) FROM likes WHERE post_id = ?", number)
        return page.json({"likes": likes, "mine": mine is None})
    return page.go(f"/threads/{post['thread_id']}")


@routes.get("/boards/<int:number>/new")
def new(page: Page, number: int, form: Form | None = None) -> Response:
    """The form for a new thread."""
    _account(page)
    status = 422 if form and form.errors else 200
    return page.show("forum/new.html", board=_board(page, number), form=form, status=status)


@routes.post("/boards/<int:number>/new")
def start(page: Page, number: int) -> Response:
    """Start a thread."""
    account, row = _account(page), _board(page, number)
    form = page.form()
    title, text = form.text("title", "Title", most=120), form.text("text", "Text", lines=True)
    if form.errors:
        return new(page, number, form)
    thread_id = page.run("INSERT INTO thread (board_id, title, started) VALUES (?, ?, ?)", row["id"], title, NOW)
    _write(page, thread_id, account, text)
    page.notice("Your thread is there.")
    return page.go(f"/threads/{thread_id}")


@routes.get("/sign-in")
def sign_in(page: Page, form: Form | None = None) -> Response:
    """The form to sign in."""
    return page.show("forum/sign-in.html", form=form, status=422 if form and form.errors else 200)


@routes.post("/sign-in")
def enter(page: Page) -> Response:
    """Sign in."""
    form = page.form()
    user = form.text("user", page.site.words["user"], most=80)
    password = form.text("password", "Password", most=200)
    row = page.row("SELECT * FROM account WHERE user = ?", user)
    if not form.errors and (row is None or not fits(password, row["user"], row["password"])):
        form.errors["password"] = "Name or password are not right."
    if form.errors or row is None:
        return sign_in(page, form)
    return _welcome(page, row["id"], row["user"])


@routes.get("/join")
def join(page: Page, form: Form | None = None) -> Response:
    """The form for a new account."""
    return page.show("forum/join.html", form=form, status=422 if form and form.errors else 200)


@routes.post("/join")
def register(page: Page) -> Response:
    """Make an account and sign in."""
    form = page.form()
    user = form.text("user", page.site.words["user"], most=40, least=3)
    password = form.text("password", "Password", most=200, least=8)
    if page.value("SELECT 1 FROM account WHERE user = ?", user):
        form.errors["user"] = f"The name {user} is taken."
    if form.errors:
        return join(page, form)
    values = (user, hashed(password, user))
    number = page.run("INSERT INTO account (user, password, place, about) VALUES (?, ?, '', '')", *values)
    return _welcome(page, number, user)


@routes.post("/sign-out")
def leave(page: Page) -> Response:
    """Sign out."""
    page.forget("account")
    return page.go("/")


@routes.get("/profile")
def profile(page: Page, form: Form | None = None) -> Response:
    """One's own profile."""
    return page.show(
        "forum/profile.html", account=_account(page), form=form, status=422 if form and form.errors else 200
    )


@routes.post("/profile")
def save(page: Page) -> Response:
    """Keep the profile."""
    account = _account(page)
    form = page.form()
    place = form.text("place", page.site.words["place"], most=60, least=0)
    about = form.text("about", "About you", most=120, least=0)
    if form.errors:
        return profile(page, form)
    page.run("UPDATE account SET place = ?, about = ? WHERE id = ?", place, about, account["id"])
    page.notice("Your profile is saved.")
    return page.go("/profile")


def _welcome(page: Page, number: int, user: str) -> Response:
    page.remember("account", str(number))
    page.notice(f"Welcome, {user}.")
    return page.go("/")


def _account(page: Page) -> Row:
    if page.user is None:
        raise Forbidden("Please sign in first.")
    return page.user


def _board(page: Page, number: int) -> Row:
    row = page.row("SELECT * FROM board WHERE id = ?", number)
    if row is None:
        raise NotFound("This board does not exist.")
    return row


def _write(page: Page, thread_id: int, account: Row, text: str) -> None:
    page.run(
        "INSERT INTO post (thread_id, account_id, written, text) VALUES (?, ?, ?, ?)",
        thread_id,
        account["id"],
        NOW,
        text,
    )


def _threads(page: Page, where: str, *values: object, limit: int = 50) -> list[Row]:
    return page.rows(
        "SELECT t.*, b.name AS board, count(p.id) - 1 AS replies, max(p.written) AS latest FROM thread t "
        "JOIN board b ON b.id = t.board_id JOIN post p ON p.thread_id = t.id "
        f"WHERE {where} GROUP BY t.id ORDER BY latest DESC, t.id LIMIT ?",
        *values,
        limit,
    )
