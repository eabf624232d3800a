"""Pages of forums."""

from __future__ import annotations

from werkzeug.exceptions import Forbidden, NotFound
from werkzeug.wrappers import Response

from ..core import NOW
from ..pages import Form, Page, Routes, Row, like_pattern
from ..passwords import hash_password, verify_password

routes = Routes()


@routes.get("/")
def home(page: Page) -> Response:
    """Front page: boards, and the threads with the latest posts."""
    boards = page.rows(
        "SELECT b.*, count(t.id) AS threads FROM board b LEFT JOIN thread t ON t.board_id = b.id GROUP BY b.id"
    )
    return page.render("forum/home.html", boards=boards, threads=_threads(page, "1", limit=6))


@routes.get("/boards/<int:number>")
def board(page: Page, number: int) -> Response:
    """Threads of a board, latest first."""
    row = _get_board(page, number)
    return page.render("forum/board.html", board=row, threads=_threads(page, "t.board_id = ?", number))


@routes.get("/search")
def search(page: Page) -> Response:
    """Threads whose title contains all words."""
    terms = page.query("q").split()[:10]
    where = " AND ".join("t.title LIKE ? ESCAPE '!'" for _ in terms) or "0"
    found = _threads(page, where, *map(like_pattern, terms))
    return page.render("forum/search.html", threads=found, words=page.query("q"))


@routes.get("/threads/<int:number>")
def thread(page: Page, number: int, form: Form | None = None) -> Response:
    """Thread page."""
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
    return page.render("forum/thread.html", thread=row, posts=posts, form=form, status=status)


@routes.post("/threads/<int:number>")
def reply(page: Page, number: int) -> Response:
    """Add a reply to a thread."""
    account = _require_account(page)
    form = page.form()
    text = form.text("text", "Text", multiline=True)
    if page.value("SELECT 1 FROM thread WHERE id = ?", number) is None or form.errors:
        return thread(page, number, form)
    _add_post(page, number, account, text)
    page.set_notice("Your reply is there.")
    return page.redirect(f"/threads/{number}")


@routes.post("/posts/<int:number>/like")
def like(page: Page, number: int) -> Response:
    """Like a post, or remove the like."""
    account = _require_account(page)
    post = page.row("SELECT * FROM post WHERE id = ?", number)
    if post is None:
        raise NotFound("This post does not exist.")
    mine = page.value("SELECT id FROM likes WHERE post_id = ? AND account_id = ?", number, account["id"])
    if mine is None:
        page.execute("INSERT INTO likes (post_id, account_id) VALUES (?, ?)", number, account["id"])
    else:
        page.execute("DELETE FROM likes WHERE id = ?", mine)
    if page.wants_json:
        likes = page.value("SELECT count(*) FROM likes WHERE post_id = ?", number)
        return page.json_response({"likes": likes, "mine": mine is None})
    return page.redirect(f"/threads/{post['thread_id']}")


@routes.get("/boards/<int:number>/new")
def new(page: Page, number: int, form: Form | None = None) -> Response:
    """Form for a new thread."""
    _require_account(page)
    status = 422 if form and form.errors else 200
    return page.render("forum/new.html", board=_get_board(page, number), form=form, status=status)


@routes.post("/boards/<int:number>/new")
def create_thread(page: Page, number: int) -> Response:
    """Create a thread with its first post."""
    account, row = _require_account(page), _get_board(page, number)
    form = page.form()
    title, text = form.text("title", "Title", max_length=120), form.text("text", "Text", multiline=True)
    if form.errors:
        return new(page, number, form)
    thread_id = page.execute("INSERT INTO thread (board_id, title, started) VALUES (?, ?, ?)", row["id"], title, NOW)
    _add_post(page, thread_id, account, text)
    page.set_notice("Your thread is there.")
    return page.redirect(f"/threads/{thread_id}")


@routes.get("/sign-in")
def sign_in(page: Page, form: Form | None = None) -> Response:
    """Sign-in form."""
    return page.render("forum/sign-in.html", form=form, status=422 if form and form.errors else 200)


@routes.post("/sign-in")
def submit_sign_in(page: Page) -> Response:
    """Check the password and sign in."""
    form = page.form()
    user = form.text("user", page.site.labels["user"], max_length=80)
    password = form.text("password", "Password", max_length=200)
    row = page.row("SELECT * FROM account WHERE user = ?", user)
    if not form.errors and (row is None or not verify_password(password, row["user"], row["password"])):
        form.errors["password"] = "Name or password are not right."
    if form.errors or row is None:
        return sign_in(page, form)
    return _finish_sign_in(page, row["id"], row["user"])


@routes.get("/join")
def join(page: Page, form: Form | None = None) -> Response:
    """Form for a new account."""
    return page.render("forum/join.html", form=form, status=422 if form and form.errors else 200)


@routes.post("/join")
def register(page: Page) -> Response:
    """Create an account and sign in."""
    form = page.form()
    user = form.text("user", page.site.labels["user"], max_length=40, min_length=3)
    password = form.text("password", "Password", max_length=200, min_length=8)
    if page.value("SELECT 1 FROM account WHERE user = ?", user):
        form.errors["user"] = f"The name {user} is taken."
    if form.errors:
        return join(page, form)
    values = (user, hash_password(password, user))
    number = page.execute("INSERT INTO account (user, password, place, about) VALUES (?, ?, '', '')", *values)
    return _finish_sign_in(page, number, user)


@routes.post("/sign-out")
def sign_out(page: Page) -> Response:
    """Sign out."""
    page.delete_session_value("account")
    return page.redirect("/")


@routes.get("/profile")
def profile(page: Page, form: Form | None = None) -> Response:
    """Form to edit the profile of the signed-in account."""
    return page.render(
        "forum/profile.html", account=_require_account(page), form=form, status=422 if form and form.errors else 200
    )


@routes.post("/profile")
def save_profile(page: Page) -> Response:
    """Save the profile."""
    account = _require_account(page)
    form = page.form()
    place = form.text("place", page.site.labels["place"], max_length=60, min_length=0)
    about = form.text("about", "About you", max_length=120, min_length=0)
    if form.errors:
        return profile(page, form)
    page.execute("UPDATE account SET place = ?, about = ? WHERE id = ?", place, about, account["id"])
    page.set_notice("Your profile is saved.")
    return page.redirect("/profile")


def _finish_sign_in(page: Page, number: int, user: str) -> Response:
    page.set_session_value("account", str(number))
    page.set_notice(f"Welcome, {user}.")
    return page.redirect("/")


def _require_account(page: Page) -> Row:
    if page.user is None:
        raise Forbidden("Please sign in first.")
    return page.user


def _get_board(page: Page, number: int) -> Row:
    row = page.row("SELECT * FROM board WHERE id = ?", number)
    if row is None:
        raise NotFound("This board does not exist.")
    return row


def _add_post(page: Page, thread_id: int, account: Row, text: str) -> None:
    page.execute(
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
